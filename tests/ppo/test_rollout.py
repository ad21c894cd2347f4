"""Batches and rewards against rows and tensors written by hand."""

from __future__ import annotations

import math

import pytest
import torch

from expound.errors import TrainingStopped
from expound.ppo.rollout import (
    Normaliser,
    Rollouts,
    batches,
    check_rewards,
    is_response,
    make_batch,
    normalise,
    plan,
    reward_tensor,
    to_flat,
    to_grid,
)


def three_episodes(*, trunk: bool = False) -> Rollouts:
    """Prompts of 2, 1 and 3 tokens (ids 1x), responses of 2, 3 and 1 tokens (ids 2x)."""
    tokens = torch.tensor([11, 12, 21, 22, 13, 23, 24, 25, 14, 15, 16, 26])
    return Rollouts(
        tokens=tokens,
        starts=torch.tensor([0, 4, 8, 12]),
        prompt_lengths=torch.tensor([2, 1, 3]),
        finished=torch.tensor([True, False, True]),
        sampler_logprobs=torch.zeros(6),
        prompts=("a", "b", "b"),
        samples=(0, 0, 1),
        temperature=0.5,
        trunk=tokens[:, None] * torch.tensor([1.0, 0.1]) if trunk else None,
    )


def test_grids_hold_flat_results_and_give_them_back() -> None:
    lengths = three_episodes().response_lengths
    assert lengths.tolist() == [2, 3, 1]
    grid = to_grid(torch.arange(1.0, 7.0), lengths)
    assert grid.tolist() == [[1, 2, 0], [3, 4, 5], [6, 0, 0]]
    assert is_response(lengths).tolist() == [[True, True, False], [True, True, True], [True, False, False]]
    assert to_flat(grid, lengths).tolist() == [1, 2, 3, 4, 5, 6]


def test_a_batch_holds_whole_rows_and_points_at_what_predicts() -> None:
    batch = make_batch(three_episodes(trunk=True), [2, 1])
    assert batch.tokens.tolist() == [[14, 15, 16, 26], [13, 23, 24, 25]]
    assert batch.targets.tolist() == [26, 23, 24, 25]
    assert batch.gather.tolist() == [2, 4, 5, 6]
    assert batch.flat.tolist() == [5, 2, 3, 4]
    assert batch.temperature == 0.5
    assert batch.trunk is not None
    assert batch.trunk[0, :, 0].tolist() == [14, 15, 16, 26]


def test_rows_are_padded_at_the_end_with_zeros() -> None:
    rollouts = three_episodes(trunk=True)
    short = Rollouts(
        tokens=torch.cat([rollouts.tokens, torch.tensor([17, 27])]),
        starts=torch.tensor([0, 4, 8, 12, 14]),
        prompt_lengths=torch.tensor([2, 1, 3, 1]),
        finished=torch.ones(4, dtype=torch.bool),
        sampler_logprobs=torch.zeros(7),
        prompts=("a", "b", "b", "c"),
        samples=(0, 0, 1, 0),
        temperature=1.0,
        trunk=torch.ones(14, 2),
    )
    batch = make_batch(short, [3, 0])
    assert batch.tokens.tolist() == [[17, 27, 0, 0], [11, 12, 21, 22]]
    assert batch.trunk is not None
    assert batch.trunk[0, :, 0].tolist() == [1, 1, 0, 0]


def test_a_plan_cuts_sorted_rows_at_the_budget() -> None:
    assert list(plan([5, 3, 9, 3, 4], 12)) == [(1, 3, 4), (0,), (2,)]
    assert list(plan([5, 3, 9, 3, 4], 1)) == [(1,), (3,), (4,), (0,), (2,)]
    assert list(plan([2, 2], 100)) == [(0, 1)]
    assert list(plan([], 100)) == []


def test_micro_batches_hold_every_episode_once() -> None:
    found = [batch.flat.tolist() for batch in batches(three_episodes(), [2, 0, 1], budget=8)]
    assert sorted(token for part in found for token in part) == list(range(6))


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


def test_a_broken_reward_is_refused_with_its_response() -> None:
    rollouts = three_episodes()
    check_rewards(torch.zeros(3), rollouts)
    with pytest.raises(TrainingStopped, match="response 1 to prompt b is nan"):
        check_rewards(torch.tensor([0.0, 1.0, math.nan]), rollouts)
    with pytest.raises(TrainingStopped, match="2 values for 3 responses"):
        check_rewards(torch.zeros(2), rollouts)
