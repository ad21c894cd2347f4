"""The linear reward against Newton's method, and what choosing its penalty sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from expound.errors import DidNotConverge, NothingToLearn
from expound.reward.fit import Floats, predict
from expound.reward.linear import PENALTIES, UNTRIED, fit_judged
from expound.reward.losses import LEVEL, Judged, preferences


def made(prompts: int, noise: float, seed: int = 0) -> tuple[Floats, Judged, list[str]]:
    """Return features of two responses a prompt, and pairs that follow the first three features."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(2 * prompts, 12)) * np.geomspace(0.1, 10, 12)
    value = (features / np.geomspace(0.1, 10, 12))[:, :3].sum(axis=1)
    left, right = np.arange(0, 2 * prompts, 2), np.arange(1, 2 * prompts, 2)
    felt = value[left] - value[right] + noise * generator.logistic(size=prompts)
    better, worse = np.where(felt > 0, left, right), np.where(felt > 0, right, left)
    ones = torch.ones(prompts, dtype=torch.float64)
    judged = preferences(torch.from_numpy(better), torch.from_numpy(worse), ones, ones)
    return features, judged, [f"p{row // 2}" for row in range(2 * prompts)]


def by_newton(features: Floats, judged: Judged, penalty: float) -> Floats:
    """Return the rewards of penalised logistic regression on differences."""
    x = (features - features.mean(axis=0)) / features.std(axis=0) / np.sqrt(features.shape[1])
    told = judged.weight.numpy() > 0
    d = x[judged.first.numpy()[told]] - x[judged.second.numpy()[told]]
    weights = np.zeros(x.shape[1])
    for _ in range(30):
        chance = expit(-d @ weights)
        slope = -d.T @ chance / len(d) + 2 * penalty * weights + 2 * LEVEL * x.T @ (x @ weights) / len(x)
        bend = (d.T * (chance * (1 - chance))) @ d / len(d) + 2 * penalty * np.eye(x.shape[1])
        weights -= np.linalg.solve(bend + 2 * LEVEL * x.T @ x / len(x), slope)
    return np.asarray(x @ weights)


def test_it_is_penalised_logistic_regression_on_differences() -> None:
    features, judged, prompts = made(150, noise=1.0)
    learnt = fit_judged(features, judged, prompts, seed=0)
    found, spread = predict(learnt.heads, features)
    assert found == pytest.approx(by_newton(features, judged, learnt.penalty), abs=1e-3)
    assert found.mean() == pytest.approx(0, abs=1e-3), "the constant is where rewards are small"
    assert not spread.any()


def test_what_is_pure_noise_is_held_small_and_what_is_clear_is_not() -> None:
    generator = np.random.default_rng(1)
    features, judged, prompts = made(80, noise=0.2)
    clear = fit_judged(features, judged, prompts, seed=0)
    noise = fit_judged(generator.normal(size=(160, 60)), judged, prompts, seed=0)
    assert clear.penalty < noise.penalty == PENALTIES[0]


def test_the_penalty_is_chosen_with_whole_prompts_left_out() -> None:
    """Every pair stands ten times in the file: left out by pair instead, noise would look learnable."""
    generator = np.random.default_rng(2)
    _, judged, prompts = made(60, noise=1.0)
    again = Judged(**{name: column.repeat(10) for name, column in vars(judged).items()})
    assert fit_judged(generator.normal(size=(120, 80)), again, prompts, seed=0).penalty == PENALTIES[0]


def test_one_prompt_has_nothing_to_leave_out() -> None:
    features, judged, _ = made(20, noise=1.0)
    assert fit_judged(features, judged, ["p"] * 40, seed=0).penalty == UNTRIED


def test_a_fit_that_is_not_at_its_end_is_none() -> None:
    features, judged, prompts = made(60, noise=1.0)
    with pytest.raises(DidNotConverge, match=r"slope of .* after 2 steps"):
        fit_judged(features, judged, prompts, seed=0, steps=2)


def test_judgments_that_weigh_nothing_teach_nothing() -> None:
    features, judged, prompts = made(5, noise=1.0)
    nothing = Judged(**{**vars(judged), "weight": judged.weight * 0})
    with pytest.raises(NothingToLearn, match="No judgment prefers"):
        fit_judged(features, nothing, prompts, seed=0)
