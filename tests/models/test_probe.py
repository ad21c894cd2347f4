"""What a trial measures, by hand where a tiny model's numbers are known."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from expound.models.cache import ROOM
from expound.models.decoding import ROWS
from expound.models.loading import Loaded, load, prompt_ids
from expound.models.probe import Memory, Tried, memory, resident, spread, try_out
from expound.records import Conversation, Prompt
from expound.settings import PpoSettings, ProjectSettings, SamplingSettings, Settings
from tests.support.tabular import make_prompt

PROMPTS = tuple(make_prompt("Why " + "so " * number + "late?") for number in range(12))
SETTINGS = Settings(
    project=ProjectSettings(name="a", task="answer", model="m"),
    sampling=SamplingSettings(max_new_tokens=6, responses_per_prompt=2),
    ppo=PpoSettings(live_layers=1),
)


def render(prompt: Prompt) -> Conversation:
    return Conversation("You answer questions.", prompt.text)


@pytest.fixture(scope="module")
def loaded(tiny_llama_folder: Path) -> Loaded:
    return load(str(tiny_llama_folder))


@pytest.fixture(scope="module")
def tried(loaded: Loaded) -> Tried:
    return try_out(loaded, render, PROMPTS, SETTINGS, 6)


def test_prompts_of_all_lengths_are_tried_whatever_their_order(loaded: Loaded) -> None:
    shuffled = random.Random(3).sample(PROMPTS, len(PROMPTS))
    assert spread(loaded, render, shuffled, 3) == [PROMPTS[2], PROMPTS[6], PROMPTS[10]]
    assert spread(loaded, render, PROMPTS[:2], 3) == list(PROMPTS[:2])


def test_a_trial_times_every_part_and_leaves_the_model_as_it_was(loaded: Loaded) -> None:
    before = {name: tensor.clone() for name, tensor in loaded.model.named_parameters()}
    tried = try_out(loaded, render, PROMPTS, SETTINGS, 6)
    assert min(tried.sample, tried.read, tried.prepare, tried.epoch) > 0
    assert len(tried.responses) == 12
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.model.named_parameters())


def test_memory_counts_weights_and_keys_and_values_by_hand(loaded: Loaded, tried: Tried) -> None:
    """Two layers with two key heads of width 16, in four bytes."""
    found = memory(loaded, render, PROMPTS, SETTINGS, tried, program=1000)
    longest = len(prompt_ids(loaded, render(PROMPTS[-1]), "longest", 0))
    assert found.program == 1000
    assert found.weights == 4 * loaded.model.num_parameters()
    assert found.cache == ROWS * (longest + 6 + ROOM) * 2 * 2 * 2 * 16 * 4
    assert 0 < found.copies < found.weights
    assert found.activations > 0


def test_more_live_layers_hold_more(loaded: Loaded, tried: Tried) -> None:
    both = SETTINGS.model_copy(update={"ppo": PpoSettings(live_layers=2)})
    more = try_out(loaded, render, PROMPTS, both, 6)
    assert more.saved > 1.5 * tried.saved
    assert (
        memory(loaded, render, PROMPTS, both, more, 0).copies
        > memory(loaded, render, PROMPTS, SETTINGS, tried, 0).copies
    )


def test_a_whole_policy_holds_itself_its_value_gradients_and_moments(loaded: Loaded, tried: Tried) -> None:
    full = SETTINGS.model_copy(update={"ppo": PpoSettings(mode="full")})
    lora = SETTINGS.model_copy(update={"ppo": PpoSettings(mode="lora")})
    whole, low_rank = (memory(loaded, render, PROMPTS, one, tried, 0).copies for one in (full, lora))
    head = 0 if loaded.model.config.tie_word_embeddings else loaded.model.get_output_embeddings().weight.nbytes
    weights = 4 * loaded.model.num_parameters()
    assert whole == 4 * (2 * weights - head)
    assert low_rank < weights


def test_the_peak_is_the_larger_of_what_never_is_at_once() -> None:
    held = Memory(1, 10, 100, 1000, 5000)
    assert held.peak == 5111
    assert replace(held, cache=9000).peak == 9111


def test_a_process_holds_more_with_more_in_it() -> None:
    before = resident()
    filled = torch.ones(20_000_000)
    assert resident() - before > 40_000_000
    del filled
