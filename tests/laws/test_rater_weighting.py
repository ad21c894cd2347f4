"""Weighing raters pays when they differ and costs nothing when they do not."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from expound.feedback.verdicts import settle
from expound.records import Skill
from tests.support.raters import demonstration_panel, logistic_panel

SEEDS = (0, 1, 2)


def test_one_adversary_of_five_is_turned_round() -> None:
    gains = []
    for seed in SEEDS:
        panel = logistic_panel([2, 1, 1, 1, -1], prompts=150, votes=5, seed=seed)
        settlement = settle(panel.judgments, 1)
        gains.append(panel.pair_accuracy(settlement) - panel.majority_accuracy())
        *others, adversary = settlement.skills
        assert adversary.discrimination < 0
        assert adversary.skill < 0
        assert (adversary.alarm or "").startswith("inverted:")
        assert all(skill.alarm is None for skill in others)
    assert fmean(gains) >= 0.05
    assert min(gains) >= 0.04


@pytest.mark.parametrize("raters", [5, 20])
def test_equal_raters_lose_nothing(raters: int) -> None:
    losses = []
    for seed in range(5):
        panel = logistic_panel([1] * raters, prompts=100, votes=5, seed=seed)
        losses.append(panel.majority_accuracy() - panel.pair_accuracy(settle(panel.judgments, 1)))
    assert fmean(losses) <= 0.005


def test_raters_who_guess_are_told_apart_from_those_who_know() -> None:
    panel = logistic_panel([1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 0, 0], prompts=150, votes=4, seed=1)
    skills = settle(panel.judgments, 1).skills
    assert [skill.alarm is not None and skill.alarm.startswith("random:") for skill in skills] == [False] * 6 + [
        True
    ] * 2


def test_pair_chances_mean_what_they_say() -> None:
    panel = logistic_panel([2, 1.5, 1, 1, 0.5, -1], prompts=600, votes=3, seed=2)
    pairs = settle(panel.judgments, 1).pairs
    chance = np.array([pair.p_left for pair in pairs])
    is_right = np.array([panel.quality[pair.left] > panel.quality[pair.right] for pair in pairs])
    bins = np.minimum((chance * 10).astype(int), 9)
    gaps = [abs(chance[bins == one].mean() - is_right[bins == one].mean()) * (bins == one).mean() for one in set(bins)]
    assert sum(gaps) <= 0.04


@pytest.mark.parametrize("seed", SEEDS)
def test_the_demonstrations_raters_are_recovered(seed: int) -> None:
    told, utility = demonstration_panel(seed)
    settlement = settle(told, 1)
    skills = {skill.rater: skill for skill in settlement.skills}
    value = {verdict.response: verdict.value for verdict in settlement.verdicts}
    assert np.corrcoef([value[name] for name in utility], list(utility.values()))[0, 1] > 0.93
    assert skills["adversarial"].discrimination < -1
    assert skills["noisy"].skill < min(skills[name].skill for name in ("careful", "harsh", "side-biased"))
    biases = {name: skill.side_bias or 0.0 for name, skill in skills.items()}
    assert biases.pop("side-biased") > 0.8
    assert max(map(abs, biases.values())) < 0.7
    assert severity(skills["harsh"]) > 0.4 + max(severity(skills[name]) for name in ("careful", "noisy", "side-biased"))


def severity(skill: Skill) -> float:
    assert skill.severity is not None
    return skill.severity
