"""Settling judgments: verdicts, pairs, skills, alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from expound.errors import NothingToLearn
from expound.feedback.verdicts import judgments_hash, settle, skill_of
from expound.records import OVERALL, Check, Comparison, Judgment, Ranking, Rating, Settlement, Skip
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
    assert judgments_hash([*SAID[:-1], replace(SAID[-1], gold=-1)]) != first
    assert judgments_hash([*SAID[:-1], replace(SAID[-1], both_bad=True, seconds=3.0)]) == first
    others: list[Ranking | Check] = [
        Ranking(rater="r", tiers=(("a",), ("b",))),
        Check(rater="r", response="a", value="yes"),
    ]
    assert len({first, *(judgments_hash([*SAID, other]) for other in others)}) == 3
    assert settle(SAID, 1).judgments_hash == first


# --- criteria -----------------------------------------------------------------------------------------------------


def rated(seed: int = 0, *, lowest: int = 1) -> list[Judgment]:
    """Return ratings of clarity and depth by five raters, who see the quality of clarity well."""
    generator = np.random.default_rng(seed)
    return [
        Rating(
            rater=f"r{rater}",
            response=f"a{one:02d}",
            criterion=criterion,
            value=lowest + int(np.clip(round(2 + spread * (one - 14.5) / 8 + generator.normal(0, 0.7)), 0, 4)),
            scale=(lowest, lowest + 4),
        )
        for one in range(30)
        for rater in range(5)
        for criterion, spread in (("clarity", 1.0), ("depth", 0.3))
    ]


def of(settlement: Settlement, criterion: str) -> dict[str, tuple[float, float]]:
    return {one.response: (one.value, one.sd) for one in settlement.verdicts if one.criterion == criterion}


def test_every_criterion_is_settled_from_its_own_judgments_and_overall_from_all() -> None:
    settlement = settle([*SAID, *rated()], 1)
    assert [criterion for criterion in (OVERALL, "clarity", "depth") if of(settlement, criterion)] == [
        OVERALL,
        "clarity",
        "depth",
    ]
    assert len(settlement.verdicts) == 32 + 30 + 30
    clarity = [one for one in rated() if one.criterion == "clarity"]
    assert of(settle(clarity, 1), "clarity") == of(settlement, "clarity")
    assert {one.n for one in settlement.verdicts if one.response == "a03"} == {5, 10}


def test_overall_of_one_criterion_is_its_quality() -> None:
    clarity = [one for one in rated() if one.criterion == "clarity"]
    renamed = [replace(one, criterion=OVERALL) for one in clarity]
    assert of(settle(clarity, 1), OVERALL) == of(settle(renamed, 1), OVERALL)


def test_a_rated_criterion_is_on_its_own_scale_and_near_the_mean_rating() -> None:
    verdicts, shifted = (of(settle(rated(lowest=lowest), 1), "clarity") for lowest in (1, -2))
    for response in ("a00", "a15", "a29"):
        said = [one for one in rated() if isinstance(one, Rating) and one.criterion == "clarity"]
        value, sd = verdicts[response]
        assert value == pytest.approx(np.mean([one.value for one in said if one.response == response]), abs=0.45)
        assert 0.05 < sd < 0.6
        assert shifted[response] == pytest.approx((value - 3, sd), abs=1e-9)


def test_the_scale_used_most_is_the_one_of_the_verdicts() -> None:
    few = [Rating(rater="r9", response="a00", criterion="clarity", value=0, scale=(0, 1))]
    verdicts = of(settle([*rated(), *few], 1), "clarity")
    assert 1 < verdicts["a00"][0] < verdicts["a29"][0] < 5


def test_a_compared_criterion_stays_in_standard_deviations_and_has_pairs() -> None:
    compared = [replace(said, criterion="clarity") for said in SAID]
    settlement = settle([*compared, *rated()], 1)
    verdicts = of(settlement, "clarity")
    assert np.mean([value for value, _ in verdicts.values()]) == pytest.approx(0, abs=0.3)
    assert [pair.criterion for pair in settlement.pairs] == [OVERALL, "clarity"]


# --- rankings and checks ------------------------------------------------------------------------------------------


def test_rankings_order_and_give_a_skill_without_a_side() -> None:
    names = [f"a{place}" for place in range(4)]
    said: list[Judgment] = [
        Ranking(rater=f"r{rater}", tiers=tuple((f"{name}p{prompt}",) for name in names))
        for prompt in range(6)
        for rater in range(3)
    ]
    settlement = settle(said, 1)
    values = of(settlement, OVERALL)
    assert values["a0p0"] > values["a1p0"] > values["a2p0"] > values["a3p0"]
    assert {one.n for one in settlement.verdicts} == {3}
    assert len(settlement.pairs) == 6 * 6
    skill = settlement.skills[0]
    assert (skill.side_bias, skill.severity, skill.n) == (None, None, 6)
    assert skill.discrimination > 1


def checks(wrong: str = "r9") -> list[Judgment]:
    return [
        Check(
            rater=f"r{rater}",
            response=f"a{place:02d}",
            value="yes" if (place % 3 == 0) != (f"r{rater}" == wrong) else "no",
            criterion="faithful",
        )
        for place in range(30)
        for rater in range(4)
    ]


def test_checks_settle_alone_and_beside_other_judgments() -> None:
    alone = settle(checks(), 1)
    assert not alone.verdicts
    assert not alone.pairs
    assert alone.iterations > 1
    likely = {(one.response, one.label): one.p for one in alone.checks}
    assert len(likely) == 60
    assert likely["a00", "yes"] > 0.9 > 0.1 > likely["a01", "yes"]
    beside = settle([*SAID, *checks()], 1)
    assert beside.checks == alone.checks
    assert beside.verdicts == settle(SAID, 1).verdicts
    assert next(skill.n for skill in beside.skills if skill.rater == "r0") == 32


def test_a_rater_who_checks_the_other_way_round_is_inverted() -> None:
    *others, last = settle(checks(wrong="r3"), 1).skills
    assert last.skill < -0.5
    assert last.discrimination < 0
    assert (last.alarm or "").startswith("inverted:")
    assert all(one.alarm is None and one.skill > 0.7 for one in others)


def test_the_discrimination_of_a_checker_has_their_skill() -> None:
    said = [
        replace(one, value="yes") if isinstance(one, Check) and place % 5 == 0 else one
        for place, one in enumerate(checks())
    ]
    skill = settle(said, 1).skills[0]
    assert 0.3 < skill.skill < 0.85
    assert skill_of(np.array([skill.discrimination]))[0][0] == pytest.approx(skill.skill, abs=1e-3)


def test_two_bad_responses_are_a_tie() -> None:
    tied = [replace(said, choice=0) for said in SAID]
    assert settle([replace(said, both_bad=True) for said in tied], 1) == settle(tied, 1)


# --- what is known ------------------------------------------------------------------------------------------------


def test_what_is_known_counts_as_no_judgment_and_no_rater() -> None:
    settlement = settle([replace(said, gold=1) for said in SAID], 1)
    assert [skill.rater for skill in settlement.skills] == ["r0", "r1", "r2"]
    assert {one.n for one in settlement.verdicts} == {6}
    value = of(settlement, OVERALL)
    assert value["a"] > value["b"], "known, though all six raters prefer b"
