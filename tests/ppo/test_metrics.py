"""Figures of an update by hand."""

from __future__ import annotations

import math

import pytest
import torch

from expound.ppo.metrics import explained_variance, length_pull, most_repeating, repeated_shares, response_kl
from expound.ppo.rollout import Rollouts
from tests.laws.test_update import begun
from tests.ppo.test_rollout import three_episodes


def test_explained_variance_is_one_for_the_truth_zero_for_a_constant_and_negative_for_worse() -> None:
    returns = torch.tensor([1.0, 2.0, 4.0, 5.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((4,), 3.0), returns) == 0.0
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert math.isnan(explained_variance(returns, torch.ones(4)))


def test_repeated_runs_are_counted_in_responses_only() -> None:
    rollouts = three_episodes()
    assert repeated_shares(rollouts, run=4) == [0.0] * 3
    rollouts.tokens[6:8] = rollouts.tokens[5]
    assert repeated_shares(rollouts, run=1) == pytest.approx([0, 2 / 3, 0])


def test_the_worst_repeaters_are_found() -> None:
    rows = [[7, 8, 9, 7, 8, 9], [1, 2, 1, 2, 1, 2, 1, 2], [5] * 9, [1, 2, 3, 4]]
    rollouts = said_alone(rows, [True] * 4)
    assert most_repeating(rollouts, 2) == [rows[2], rows[1]]


def test_reward_and_length_are_compared_over_finished_responses() -> None:
    """The cut ones are the longest and always the worst; they would hide a reward that likes length."""
    rows = [[1] * length for length in [*range(1, 17), 30, 30, 30]]
    z = torch.tensor([0.1 * length for length in range(1, 17)] + [-2.0] * 3)
    finished = [True] * 16 + [False] * 3
    assert length_pull(z, said_alone(rows, finished)) == pytest.approx(1.0)
    assert length_pull(z, said_alone(rows, [True] * 19)) < 0
    assert math.isnan(length_pull(z, said_alone(rows, [True] * 15 + [False] * 4)))
    assert math.isnan(length_pull(torch.ones(19), said_alone(rows, finished)))


def said_alone(rows: list[list[int]], finished: list[bool]) -> Rollouts:
    """Give responses without prompts."""
    lengths = torch.tensor([0, *(len(row) for row in rows)])
    return Rollouts(
        tokens=torch.tensor([token for row in rows for token in row]),
        starts=lengths.cumsum(0),
        prompt_lengths=torch.zeros(len(rows), dtype=torch.int64),
        finished=torch.tensor(finished),
        sampler_logprobs=torch.zeros(int(lengths.sum())),
        prompts=tuple(map(str, range(len(rows)))),
        samples=(0,) * len(rows),
        temperature=1.0,
    )


def test_the_kl_of_a_response_is_the_sum_over_its_tokens() -> None:
    _, prepared, _ = begun(1)
    log_ratio = prepared.old_logprobs - prepared.reference_logprobs
    first = int(prepared.rollouts.response_lengths[0])
    assert float(response_kl(prepared)[0]) == pytest.approx(float(log_ratio[:first].sum()), abs=1e-6)
