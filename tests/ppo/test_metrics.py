"""Figures of an update by hand."""

from __future__ import annotations

import math

import pytest
import torch

from expound.ppo.metrics import explained_variance, repeated_share, response_kl
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
    assert repeated_share(rollouts, run=4) == 0.0
    rollouts.tokens[6:8] = rollouts.tokens[5]
    assert repeated_share(rollouts, run=1) == pytest.approx((0 + 2 / 3 + 0) / 3)


def test_the_kl_of_a_response_is_the_sum_over_its_tokens() -> None:
    _, prepared, _ = begun(1)
    log_ratio = prepared.old_logprobs - prepared.reference_logprobs
    first = int(prepared.rollouts.response_lengths[0])
    assert float(response_kl(prepared)[0]) == pytest.approx(float(log_ratio[:first].sum()), abs=1e-6)
