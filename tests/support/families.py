"""Tiny random models of more families, and models in memory as `load` would give them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM as Auto
from transformers import (
    BloomConfig,
    Gemma2Config,
    GPTNeoXConfig,
    GraniteConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from expound.models.loading import Loaded
from expound.records import Conversation, Prompt, Text
from tests.support.tiny import CONTEXT, tiny_gpt2, tiny_llama, tiny_tokenizer

VOCABULARY, WIDTH, LAYERS = 512, 64, 3
QUESTIONS = (
    "Why?",
    "Why was the train late? A tree lay on the rails, and the driver had to wait until it was sawn apart.",
    "The pump ran dry at 14:05",
    "Why did the bread not rise in the cold kitchen?",
)


def _shared() -> dict[str, int | None]:
    return {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}


def _grouped() -> dict[str, int | None]:
    sizes = {"intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    return _shared() | sizes | {"num_key_value_heads": 2, "max_position_embeddings": CONTEXT}


def _neox() -> PreTrainedConfig:
    sizes = {"intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    return GPTNeoXConfig(**_shared(), **sizes, max_position_embeddings=CONTEXT)


CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "gpt-neox": _neox,
    "qwen2": lambda: Qwen2Config(**_grouped()),
    "qwen3": lambda: Qwen3Config(**_grouped(), head_dim=16),
    "mistral": lambda: MistralConfig(**_grouped(), sliding_window=8),
    "gemma2": lambda: Gemma2Config(**_grouped(), head_dim=16, sliding_window=8),
    "granite": lambda: GraniteConfig(**_grouped(), embedding_multiplier=3.0, logits_scaling=2.0),
    "bloom": lambda: BloomConfig(**_shared(), n_layer=LAYERS, n_head=4),
}


def family(kind: str, *, seed: int = 0) -> PreTrainedModel:
    """Build a tiny random model of a family, in evaluation mode and without gradients."""
    if kind == "llama":
        model: PreTrainedModel = tiny_llama(layers=LAYERS, seed=seed)
    elif kind == "gpt2":
        model = tiny_gpt2(layers=LAYERS, seed=seed)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Auto.from_config(
                CONFIGS[kind](), attn_implementation="eager" if kind in ("gemma2", "bloom") else "sdpa"
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        for parameter in model.parameters():
            # Fresh weights are so small that a tiny model says the same whatever it reads.
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.tie_weights()
    return model.eval().requires_grad_(requires_grad=False)


def as_loaded(model: PreTrainedModel, *, end_tokens: tuple[int, ...] = (0,), context: int | None = CONTEXT) -> Loaded:
    """Give a model in memory the shape in which `load` returns one."""
    return Loaded(model, tiny_tokenizer(VOCABULARY), "identity", end_tokens, 0, context)


def render(prompt: Prompt) -> Conversation:
    return Conversation("You answer questions about a text and give the reasons.", prompt.text)


def prompts(count: int = len(QUESTIONS)) -> list[Prompt]:
    """Give prompts of different lengths."""
    return [Prompt(f"p{index}", (Text("question", QUESTIONS[index]),), name=f"name-{index}") for index in range(count)]
