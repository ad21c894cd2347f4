"""The tiny models are what they promise: small, real, the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.tiny import END, tiny_gpt2, tiny_llama, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_saved_folder_loads_with_equal_logits_and_tokens(
    kind: str, tiny_llama_folder: Path, tiny_gpt2_folder: Path
) -> None:
    folder = {"llama": tiny_llama_folder, "gpt2": tiny_gpt2_folder}[kind]
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False)
    text = "Because the kitchen was cold. 因为厨房太冷。"
    tokens = tokenizer(text, return_tensors="pt").input_ids
    assert tokens.tolist() == tiny_tokenizer()(text, return_tensors="pt").input_ids.tolist()
    with torch.no_grad():
        difference = model(tokens).logits - tiny_model(kind)(tokens).logits
    assert difference.abs().max().item() == 0.0
    assert [path.suffix for path in folder.glob("*.safetensors")] == [".safetensors"]


def test_decoding_gives_back_every_text() -> None:
    tokenizer = tiny_tokenizer()
    for text in ("A rope tore.\n\n  Twice!", "雪 → water, 3 °C", "naïve façade 😀"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_template_writes_each_turn_and_opens_the_answer() -> None:
    tokenizer = tiny_tokenizer()
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == f"<|system|>Be brief.{END}<|user|>Why?{END}<|assistant|>"
    tokens = tokenizer(text).input_ids
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 0
    assert tokens.count(0) == 2
    assert len(tokenizer) == 512


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    for build in (tiny_llama, tiny_gpt2):
        first, again, other = build(), build(), build(seed=1)
        weights = [model.get_input_embeddings().weight for model in (first, again, other)]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.random.get_rng_state())
