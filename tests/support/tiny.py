"""Real models that are tiny: random Llama and GPT-2 with a byte-level tokenizer trained on a few texts of ours.

The same arguments always give the same weights and the same tokens. The end token is the padding token too, as
in the default model, so that code which confuses the two is found.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

END = "<|end|>"
TURNS = ("<|system|>", "<|user|>", "<|assistant|>")
CONTEXT = 256

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}" + END + "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

TEXTS = (
    "The ferry stopped because the wind tore the rope from the pier.",
    "The bread did not rise, because the kitchen was cold and yeast is slow when it is cold.",
    "Why was the train late? A tree lay on the rails, and the driver had to wait until it was sawn apart.",
    "The lamp flickers when the lift starts: both hang on the same old cable, and the lift takes most of it.",
    "The bees left the hive in May, since it had become too small and a second queen had hatched.",
    "Answer in two sentences: say the reason and what in the text shows it.",
    "You answer questions about a text and give the reasons.",
    "The pump ran dry at 14:05; the log shows a closed valve, error 37, and a restart 12 seconds later.",
    "Summarise the report in three lines. Which of the two plans do you recommend, and why?",
    "河水上涨，是因为山上的雪在三天内融化了。面包没有发起来，因为厨房太冷。",
)


@cache
def tiny_tokenizer(vocabulary: int = 512) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer of exactly `vocabulary` tokens (at least 300) with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, *TURNS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=list(TURNS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def tiny_llama(vocabulary: int = 512, layers: int = 2, width: int = 64, *, seed: int = 0) -> LlamaForCausalLM:
    """Build a random Llama with grouped keys (two query heads share one), untrained, in evaluation mode."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def tiny_gpt2(vocabulary: int = 512, layers: int = 2, width: int = 64, *, seed: int = 0) -> GPT2LMHeadModel:
    """Build a random GPT-2 without dropout, untrained, in evaluation mode."""
    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        n_positions=CONTEXT,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config).eval()


def tiny_model(kind: str = "llama", *, seed: int = 0) -> PreTrainedModel:
    """Build the tiny model of a kind, `llama` or `gpt2`, in its usual size."""
    builders = {"llama": tiny_llama, "gpt2": tiny_gpt2}
    return builders[kind](seed=seed)


def save_tiny(folder: Path, kind: str = "llama", *, seed: int = 0, sharpness: float = 1.0) -> Path:
    """Write model and tokenizer as a plain Hugging Face folder (safetensors) and return it: a model reference.

    `sharpness` multiplies the embeddings. At 1 all tokens are nearly equally likely and can hardly become anything
    else, since no logit of so small a model gets far from 0; from about 6 on it can learn to prefer some.
    """
    model = tiny_model(kind, seed=seed)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(sharpness)
    model.generation_config = GenerationConfig(eos_token_id=0, pad_token_id=0)
    model.save_pretrained(folder, safe_serialization=True)
    tiny_tokenizer(model.config.vocab_size).save_pretrained(folder)
    return folder
