"""States of texts against those that transformers gives, and the cache in which an interrupted reading goes on."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from expound.errors import PromptError
from expound.models.conversion import cache_folder
from expound.models.loading import Loaded, load
from expound.models.texts import KEPT_TOGETHER, Said, read_texts
from expound.reporting.progress import PlainProgress
from expound.reward.fit import Floats

QUIET = PlainProgress(io.StringIO())


def texts(count: int, about: str) -> list[Said]:
    """Return texts of many lengths, a prompt's apart from one another."""
    prompts = max(1, count // 3)
    return [
        Said(f"Why {about} {place % prompts}?", "because " * (1 + place % 7) + str(place)) for place in range(count)
    ]


def kept() -> int:
    return len(list((cache_folder() / "states").glob("*.npy")))


@torch.no_grad()
def by_transformers(loaded: Loaded, said: Sequence[Said], layer: int) -> Floats:
    """Return mean states one text at a time, from all hidden states of the whole model."""
    found = []
    for one in said:
        asked = loaded.tokenizer.apply_chat_template([{"role": "user", "content": one.prompt}], tokenize=False)
        before = loaded.tokenizer.encode(f"{asked}<|assistant|>")
        ids = [*before, *loaded.tokenizer.encode(one.text), loaded.end_tokens[0]]
        states = loaded.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[layer]
        found.append(states[0, len(before) :].mean(dim=0).double().numpy())
    return np.stack(found)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_text_is_the_mean_of_what_goes_into_the_last_third(kind: str, request: pytest.FixtureRequest) -> None:
    loaded = load(str(request.getfixturevalue(f"tiny_{kind}_folder")))
    said = texts(70, kind)
    assert read_texts(loaded, said, QUIET) == pytest.approx(by_transformers(loaded, said, layer=1), abs=1e-5)


def test_what_was_read_is_kept(tiny_llama_folder: str) -> None:
    loaded, said = load(str(tiny_llama_folder)), texts(KEPT_TOGETHER + 10, "kept")
    before = kept()
    some = read_texts(loaded, said[:KEPT_TOGETHER], QUIET)
    assert kept() == before + 1
    all_ = read_texts(loaded, said, QUIET)
    assert kept() == before + 2, "the first part was read already"
    assert np.array_equal(all_[:KEPT_TOGETHER], some)
    assert np.array_equal(read_texts(loaded, said, QUIET), all_)
    assert kept() == before + 2


def test_a_text_beyond_the_context_is_refused_by_its_prompt(tiny_llama_folder: str) -> None:
    long = Said("Why is it long?", "because " * 300)
    with pytest.raises(PromptError, match="Why is it long"):
        read_texts(load(str(tiny_llama_folder)), [long], QUIET)
