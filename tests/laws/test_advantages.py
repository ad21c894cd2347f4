"""Advantages against another library's, against a plain sum, and whitening against a published vector."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from expound.ppo.advantages import gae, grpo, rloo, whiten
from expound.ppo.rollout import is_response, to_flat, to_grid


def made(seed: int, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    generator = np.random.default_rng(seed)
    rewards, values = torch.from_numpy(generator.normal(size=(2, sum(lengths))).astype(np.float32))
    return rewards, values, torch.tensor(lengths)


@pytest.mark.parametrize("trace", [0.0, 0.95, 1.0])
def test_advantages_equal_those_of_stable_baselines(trace: float) -> None:
    rewards, values, lengths = made(1, [3, 1, 7, 5])
    buffer = RolloutBuffer(16, spaces.Box(-1, 1, (1,)), spaces.Discrete(2), device="cpu", gae_lambda=trace, gamma=1.0)
    starts = {0, 3, 4, 11}
    for step in range(16):
        begins = np.array([step in starts])
        reward = rewards[step : step + 1].numpy()
        buffer.add(np.zeros((1, 1)), np.zeros((1, 1)), reward, begins, values[step : step + 1], torch.zeros(1))
    buffer.compute_returns_and_advantage(torch.zeros(1), np.array([True]))
    advantages, returns = gae(to_grid(rewards, lengths), to_grid(values, lengths), is_response(lengths), trace)
    assert to_flat(advantages, lengths).numpy() == pytest.approx(buffer.advantages[:, 0], abs=1e-6)
    assert to_flat(returns, lengths).numpy() == pytest.approx(buffer.returns[:, 0], abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(0, 1))
def test_advantages_equal_the_plain_sum(seed: int, lengths: list[int], trace: float) -> None:
    rewards, values, sizes = made(seed, lengths)
    advantages, returns = gae(to_grid(rewards, sizes), to_grid(values, sizes), is_response(sizes), trace)
    begin = 0
    for episode, length in enumerate(lengths):
        r, v = rewards[begin : begin + length].double(), torch.cat([values[begin : begin + length], torch.zeros(1)])
        for t in range(length):
            expected = sum(float(r[s] + v[s + 1] - v[s]) * trace ** (s - t) for s in range(t, length))
            assert float(advantages[episode, t]) == pytest.approx(expected, abs=1e-5)
            assert float(returns[episode, t]) == pytest.approx(expected + float(v[t]), abs=1e-5)
        assert not advantages[episode, length:].any()
        assert not returns[episode, length:].any()
        begin += length


def test_what_lies_behind_the_end_does_not_matter() -> None:
    rewards, values, lengths = made(2, [2, 4])
    where = is_response(lengths)
    clean = gae(to_grid(rewards, lengths), to_grid(values, lengths), where)
    noise = torch.where(where, 0.0, 9.0)
    dirty = gae(to_grid(rewards, lengths) + noise, to_grid(values, lengths) + noise, where)
    assert all(torch.equal(one, other) for one, other in zip(clean, dirty, strict=True))


def test_whitening_gives_the_published_vector() -> None:
    """The test vector of lm-human-preferences and its re-derivations; one inverted flag there centred nothing."""
    values = torch.tensor([1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0])
    published = [0.0508, 0.4381, 0.8254, 1.2127, 1.6000, 1.9873, 2.3746, 2.7619, 3.1492]
    assert whiten(values, center=False).tolist() == pytest.approx(published, abs=1e-4)


def test_whitened_values_have_mean_zero_and_variance_one() -> None:
    values = torch.from_numpy(np.random.default_rng(3).normal(5, 3, 1000)).float()
    white = whiten(values)
    assert float(white.mean()) == pytest.approx(0, abs=1e-6)
    assert float(white.var(correction=0)) == pytest.approx(1, abs=1e-6)
    assert not whiten(torch.full((5,), 0.25)).any()


def test_a_response_is_compared_with_the_others_of_its_prompt() -> None:
    """Against the sum over the others, one by one; what another prompt scores is no matter."""
    scores = torch.tensor([1.0, 4.0, -2.0, 0.5, 0.5, 8.0])
    expected = [
        scores[i] - sum(scores[j] for j in (b, b + 1, b + 2) if j != i) / 2 for b in (0, 3) for i in range(b, b + 3)
    ]
    assert rloo(scores, 3).tolist() == pytest.approx([float(one) for one in expected], abs=1e-6)
    assert rloo(scores, 3).view(2, 3).sum(1).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_group_advantages_are_z_scores_and_flat_groups_are_none() -> None:
    """Against numpy's spread with n - 1; responses that all score the same teach nothing, however long the decimals."""
    scores = torch.tensor([1.0, 4.0, -2.0, 0.5, 0.1, 0.1, 0.1, 0.1, 3.0, 3.0, 3.0, 3.00001])
    advantages, flat = grpo(scores, 4)
    group = scores[:4].numpy()
    assert flat == 1
    assert advantages[:4].numpy() == pytest.approx((group - group.mean()) / (group.std(ddof=1) + 1e-4), abs=1e-6)
    assert not advantages[4:8].any()
    assert advantages[8:].abs().max() < 0.1  # spreads that barely are there are no lever
