"""Groups of episodes and rewards written by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from expound.errors import TrainingStopped
from expound.ppo.rollout import (
    Normaliser,
    Rollouts,
    check_rewards,
    flat_index,
    is_response,
    micro_batches,
    normalise,
    reward_tensor,
    to_flat,
    to_grid,
)


def three_episodes() -> Rollouts:
    """Prompts of 2, 1 and 3 tokens (ids 1x), responses of 2, 3 and 1 tokens (ids 2x)."""
    return Rollouts(
        tokens=torch.tensor([11, 12, 21, 22, 13, 23, 24, 25, 14, 15, 16, 26]),
        starts=torch.tensor([0, 4, 8, 12]),
        prompt_lengths=torch.tensor([2, 1, 3]),
        finished=torch.tensor([True, False, True]),
        sampler_logprobs=torch.zeros(6),
        prompts=("a", "b", "b"),
        samples=(0, 0, 1),
        temperature=0.5,
    )


def test_grids_hold_flat_results_and_give_them_back() -> None:
    lengths = three_episodes().response_lengths
    assert lengths.tolist() == [2, 3, 1]
    grid = to_grid(torch.arange(1.0, 7.0), lengths)
    assert grid.tolist() == [[1, 2, 0], [3, 4, 5], [6, 0, 0]]
    assert is_response(lengths).tolist() == [[True, True, False], [True, True, True], [True, False, False]]
    assert to_flat(grid, lengths).tolist() == [1, 2, 3, 4, 5, 6]


def test_response_tokens_stand_end_to_end() -> None:
    rollouts = three_episodes()
    assert rollouts.response_tokens.tolist() == [21, 22, 23, 24, 25, 26]
    assert flat_index(rollouts, [2, 0]).tolist() == [5, 0, 1]


@pytest.mark.parametrize(
    ("budget", "parts"),
    [
        (100, [(1, 0, 2)]),
        (3, [(1,), (0,), (2,)]),
        (10, [(1, 0), (2,)]),
    ],
)
def test_micro_batches_hold_every_episode_once_within_the_budget(budget: int, parts: list[tuple[int, ...]]) -> None:
    rollouts = replace(three_episodes(), prompts=("a", "b", "c"))
    assert list(micro_batches(rollouts, [2, 0, 1], budget)) == parts


def test_responses_to_one_prompt_count_it_once() -> None:
    """Four episodes of a four-token prompt with one token each: 4 + 4 tokens go together, 4 + 3 when eight are many."""
    rollouts = Rollouts(
        tokens=torch.zeros(20, dtype=torch.long),
        starts=torch.arange(0, 21, 5),
        prompt_lengths=torch.full((4,), 4),
        finished=torch.ones(4, dtype=torch.bool),
        sampler_logprobs=torch.zeros(4),
        prompts=("a",) * 4,
        samples=(0, 1, 2, 3),
        temperature=1.0,
    )
    assert list(micro_batches(rollouts, range(4), 8)) == [(0, 1, 2, 3)]
    assert list(micro_batches(rollouts, range(4), 7)) == [(0, 1, 2), (3,)]


def test_rewards_are_normalised_by_hand() -> None:
    """By hand: (mean - caution sd - mu) / sigma, at most 10 away; a cut response at most -1, and one spread less."""
    mean = torch.tensor([3.0, 3.0, 2.0, 2.0, 100.0])
    sd = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    finished = torch.tensor([True, False, True, False, True])
    z = normalise(mean, sd, finished, Normaliser(mean=1.0, sd=0.5), caution=0.5)
    assert z.tolist() == [3.0, -1.0, 2.0, -1.0, 10.0]
    worse = normalise(torch.tensor([0.0]), torch.zeros(1), torch.tensor([False]), Normaliser(1.0, 0.5), 1.0)
    assert worse.tolist() == [-3.0]


def test_the_reward_tensor_by_hand() -> None:
    lengths = torch.tensor([2, 3, 1])
    log_ratio = torch.tensor([[0.5, -1.0, 0.0], [1.0, 2.0, 3.0], [-4.0, 0.0, 0.0]])
    rewards = reward_tensor(torch.tensor([1.0, -2.0, 0.0]), log_ratio, lengths, kl_weight=0.1)
    expected = torch.tensor([[-0.05, 0.1 + 1.0, 0.0], [-0.1, -0.2, -0.3 - 2.0], [0.4, 0.0, 0.0]])
    assert torch.allclose(rewards, expected, atol=1e-7)


def test_rewards_of_tokens_are_added_where_they_are() -> None:
    """By hand: z on the last token, the KL and what a token gets on each."""
    lengths, nothing = torch.tensor([2, 3, 1]), torch.zeros(3, 3)
    tokens = torch.tensor([0.5, 0.0, -1.0, 2.0, 0.25, 3.0])
    rewards = reward_tensor(torch.tensor([1.0, -2.0, 0.0]), nothing, lengths, 0.1, tokens)
    assert rewards.tolist() == [[0.5, 1.0, 0.0], [-1.0, 2.0, -1.75], [3.0, 0.0, 0.0]]
    assert three_episodes().responses == 1
    assert replace(three_episodes(), prompts=("a",) * 3).responses == 3


def test_a_broken_reward_is_refused_with_its_response() -> None:
    rollouts = three_episodes()
    check_rewards(torch.zeros(3), rollouts)
    with pytest.raises(TrainingStopped, match="response 1 to prompt b is nan"):
        check_rewards(torch.tensor([0.0, 1.0, math.nan]), rollouts)
    with pytest.raises(TrainingStopped, match="2 values for 3 responses"):
        check_rewards(torch.zeros(2), rollouts)
