"""Weighing raters pays when they differ and costs nothing when they do not."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from expound.feedback.verdicts import settle
from expound.records import Comparison, Ranking, Rating, Skill
from tests.support.raters import Simulated, calibration_error, demonstration_panel, logistic_panel

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
    assert calibration_error(chance, is_right) <= 0.04


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


# --- what is known ------------------------------------------------------------------------------------------------


def taught(panel: Simulated, pairs: int) -> list[Comparison]:
    """Return the panel's judgments, the first pairs' with what is true of them."""
    names = sorted({(min(said.left, said.right), max(said.left, said.right)) for said in panel.judgments})[:pairs]
    quality = panel.quality
    return [
        replace(said, gold=-1 if quality[said.left] > quality[said.right] else 1)
        if (min(said.left, said.right), max(said.left, said.right)) in names
        else said
        for said in panel.judgments
    ]


def test_ten_known_pairs_turn_a_panel_round_of_which_three_in_five_are_inverted() -> None:
    """Regression: from a start at 1 the fit ends in the wrong optimum, whatever is known."""
    found = []
    for seed in range(5):
        panel = logistic_panel([1.5, 1.5, -1.5, -1.5, -1.5], prompts=150, votes=5, seed=seed)
        without = panel.pair_accuracy(settle(panel.judgments, 1))
        found.append((without, panel.pair_accuracy(settle(taught(panel, 10), 1))))
    assert fmean(before for before, _ in found) < 0.2
    assert fmean(after for _, after in found) >= 0.85


def test_a_few_known_pairs_do_a_good_panel_no_harm() -> None:
    for seed in SEEDS:
        panel = logistic_panel([2, 1, 1, 1, -1], prompts=150, votes=5, seed=seed)
        plain, known = (panel.pair_accuracy(settle(said, 1)) for said in (panel.judgments, taught(panel, 10)))
        assert known >= plain - 0.005


# --- rankings -----------------------------------------------------------------------------------------------------


def test_rankings_by_unequal_raters_are_weighed() -> None:
    """Regression: the weight √(2/k) holds the chances of pairs to what they say; at 1 they are too sure."""
    generator = np.random.default_rng(5)
    habits = np.array([2, 1.5, 1, 1, 1, 1, 0.5, 0.5, 0, -1])
    quality = {f"p{prompt:03d}-{one}": float(generator.normal()) for prompt in range(150) for one in range(5)}
    said = []
    for prompt in range(150):
        names = [f"p{prompt:03d}-{one}" for one in range(5)]
        for rater in generator.choice(habits.size, 3, replace=False):
            felt = habits[rater] * np.array([quality[name] for name in names]) + generator.gumbel(size=5)
            said.append(Ranking(rater=f"r{rater}", tiers=tuple((names[one],) for one in np.argsort(-felt))))
    settlement = settle(said, 1)
    skills = {skill.rater: skill for skill in settlement.skills}
    assert (skills["r9"].alarm or "").startswith("inverted:")
    assert skills["r0"].skill > skills["r6"].skill > skills["r9"].skill
    chance = np.array([pair.p_left for pair in settlement.pairs])
    is_right = np.array([quality[pair.left] > quality[pair.right] for pair in settlement.pairs])
    assert np.mean((chance > 0.5) == is_right) > 0.75
    assert calibration_error(chance, is_right) <= 0.04


# --- criteria -----------------------------------------------------------------------------------------------------


def test_a_criterion_that_goes_with_the_rest_weighs_more_in_overall_than_one_that_does_not() -> None:
    generator = np.random.default_rng(6)
    quality = generator.normal(size=150)
    said = [
        Rating(
            rater=f"r{rater}", response=f"a{one:03d}", criterion=criterion, value=int(np.clip(round(3 + felt), 1, 5))
        )
        for one in range(150)
        for rater in range(3)
        for criterion, share in (("clarity", 1.0), ("truth", 1.0), ("length", 0.0))
        for felt in [share * quality[one] + generator.normal(0, 0.8)]
    ]
    overall = [one.value for one in settle(said, 1).verdicts if one.criterion == "overall"]
    mean = np.array([found.value for found in said], dtype=float).reshape(150, -1).mean(axis=1)
    assert np.corrcoef(overall, quality)[0, 1] > np.corrcoef(mean, quality)[0, 1] + 0.005
