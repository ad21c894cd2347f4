"""Settling judgments: verdicts, pairs, skills, alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from expound.errors import NothingToLearn
from expound.feedback.verdicts import judgments_hash, settle, skill_of
from expound.records import Comparison, Judgment, Rating, Skip
from tests.support.raters import logistic_panel

SAID: tuple[Comparison, ...] = tuple(
    Comparison(rater=f"r{place % 3}", left="b", right="a", choice=-1, ballot=f"ballot{place}") for place in range(6)
)


def test_without_judgments_there_is_nothing_to_learn() -> None:
    with pytest.raises(NothingToLearn, match="round 4 has no judgment"):
        settle([Skip(rater="r", reason="not my field")], 4)


def test_every_judged_response_has_a_verdict_with_its_count() -> None:
    ratings: list[Judgment] = [Rating(rater="r0", response="b", value=5), Rating(rater="r0", response="c", value=2)]
    settlement = settle([*SAID, *ratings, Skip(rater="r1", reason="no")], 2)
    counts = {verdict.response: verdict.n for verdict in settlement.verdicts}
    assert counts == {"a": 6, "b": 7, "c": 1}
    values = {verdict.response: verdict.value for verdict in settlement.verdicts}
    assert values["b"] > 0 > values["a"]
    assert settlement.round == 2
    assert settlement.iterations > 1
    assert all(0 < verdict.sd < 1 for verdict in settlement.verdicts)


def test_a_compared_pair_has_one_chance_whatever_the_side() -> None:
    turned = [replace(said, left=said.right, right=said.left, choice=1) for said in SAID[:3]]
    pair, *others = settle([*SAID, *turned], 1).pairs
    assert not others
    assert (pair.left, pair.right) == ("a", "b")
    assert pair.p_left < 0.2


def test_skill_is_the_chance_to_order_a_typical_pair_with_chance_taken_out() -> None:
    for discrimination in (-1.3, 0.0, 0.4, 3.0):
        chance = chance_to_order(abs(discrimination))
        skill, _ = skill_of(np.array([discrimination]))
        assert skill[0] == pytest.approx(np.sign(discrimination) * (2 * chance - 1), abs=1e-7)


def chance_to_order(discrimination: float) -> float:
    def density(gap: float) -> float:
        return float(2 * stats.norm.pdf(gap, scale=np.sqrt(2)) / (1 + np.exp(-discrimination * gap)))

    return float(integrate.quad(density, 0, 15)[0])


def test_the_slope_of_skill_is_its_derivative() -> None:
    at = np.array([-2.0, 0.0, 0.7])
    step = 1e-5
    numerical = (skill_of(at + step)[0] - skill_of(at - step)[0]) / (2 * step)
    assert skill_of(at)[1] == pytest.approx(numerical, abs=1e-8)


def test_a_line_of_a_rater_averages_kinds_by_their_judgments() -> None:
    ratings: list[Judgment] = [Rating(rater="r0", response=name, value=v) for name, v in (("a", 1), ("b", 5), ("c", 3))]
    with_ratings = settle([*SAID, *ratings], 1)
    by_name = {skill.rater: skill for skill in with_ratings.skills}
    assert by_name["r0"].n == 5
    assert by_name["r0"].severity is not None
    assert by_name["r1"].severity is None
    assert by_name["r1"].side_bias is not None
    only_ratings = settle(ratings, 1).skills[0]
    assert only_ratings.side_bias is None
    assert only_ratings.discrimination > 0


def test_nobody_is_accused_after_a_few_judgments() -> None:
    panel = logistic_panel([2, 2, 2, 2, -2], prompts=40, votes=3, seed=0)
    few = [said for said in panel.judgments if said.rater == "r04"][:9]
    most = [said for said in panel.judgments if said.rater != "r04"]
    assert settle([*most, *few], 1).skills[4].alarm is None
    assert (settle(panel.judgments, 1).skills[4].alarm or "").startswith("inverted:")


def test_the_hash_depends_on_what_was_said_and_not_on_the_order() -> None:
    first = judgments_hash(SAID)
    assert judgments_hash(SAID[::-1]) == first
    assert judgments_hash([*SAID[:-1], replace(SAID[-1], choice=0)]) != first
    assert judgments_hash([*SAID, Rating(rater="r", response="a", value=3)]) != first
    assert settle(SAID, 1).judgments_hash == first
