"""Judgments as arrays, and which responses hang together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from expound.errors import JudgmentError
from expound.feedback.evidence import MOST_IN_A_BLOCK, Evidence, Graded, Group, Scale, agreements, collect
from expound.records import DRAWN, SIDES, Comparison, Json, Ranking, Rating


def comparison(left: str, right: str, choice: int = -1, *, strength: int = 1, ties: bool = True) -> Comparison:
    return Comparison(rater="r", left=left, right=right, choice=choice, strength=strength, ties=ties)


@pytest.mark.parametrize(
    ("strength", "ties", "choices"), [(1, True, (1, 0, -1)), (1, False, (1, -1)), (2, False, (2, 1, -1, -2))]
)
def test_categories_rise_with_the_left(strength: int, ties: bool, choices: tuple[int, ...]) -> None:
    said = [comparison("a", f"b{place}", choice, strength=strength, ties=ties) for place, choice in enumerate(choices)]
    evidence = collect(said)
    assert evidence.category.tolist() == list(range(len(choices)))
    assert evidence.scales == (Scale(Group("comparison", "overall"), len(choices)),)


def test_a_comparison_without_sides_is_a_ranking_of_two() -> None:
    """Nobody can lean to a side that a hash has drawn."""
    drawn = [replace(comparison("b", "a", 1, ties=False), meta={SIDES: DRAWN}), comparison("a", "b")]
    evidence = collect([*drawn, Ranking(rater="r", tiers=(("a",), ("b",)))])
    assert {facet.group.kind: bool(side) for facet, side in zip(evidence.facets, evidence.has_sides, strict=True)} == {
        "comparison": True,
        "ranking": False,
    }
    assert [scale.categories for scale in evidence.scales] == [3, 2, 3]
    assert evidence.category[evidence.scale == 1].tolist() == [0]
    assert evidence.weight.tolist() == [1, 1, 1]


def test_ratings_count_from_their_lowest_point() -> None:
    evidence = collect(
        [Rating(rater="r", response="a", value=4), Rating(rater="r", response="b", value=0, scale=(0, 1))]
    )
    assert evidence.category.tolist() == [0, 3]
    assert [scale.categories for scale in evidence.scales] == [2, 5]
    assert evidence.pairs == 0
    assert evidence.second.tolist() == [2, 2], "the place behind the last response, where quality is 0"


def test_blocks_are_what_comparisons_join() -> None:
    said = [comparison("a", "b"), comparison("c", "b"), comparison("x", "y"), Rating(rater="r", response="z", value=1)]
    evidence = collect(said)
    assert [(same.size, same.count) for same in evidence.blocks.sizes] == [(1, 1), (2, 1), (3, 1)]
    assert evidence.blocks.total == 1 + 4 + 9
    names = [evidence.responses[place] for place in evidence.blocks.order]
    assert [set(names[:1]), set(names[1:3]), set(names[3:])] == [{"z"}, {"x", "y"}, {"a", "b", "c"}]


def test_matrices_of_blocks_do_not_overlap() -> None:
    said = [comparison(f"{one}", f"{one + step}") for one in (0, 10, 20, 30) for step in range(1, 2 + one // 10)]
    blocks = collect(said).blocks
    places = np.concatenate([blocks.diagonal, blocks.across, blocks.back])
    assert np.unique(places).size == places.size
    assert places.min() == 0
    assert places.max() == blocks.total - 1


@pytest.mark.parametrize(
    "said",
    [
        comparison("a", "b", 2),
        comparison("a", "b", 0, ties=False),
        Rating(rater="r", response="a", value=6),
        Rating(rater="r", response="a", value=0),
        Rating(rater="r", response="a", value=1, scale=(1, 1)),
    ],
)
def test_what_a_scale_does_not_offer_is_refused(said: Comparison | Rating) -> None:
    with pytest.raises(JudgmentError, match="outside its scale"):
        collect([said])


def test_too_large_a_block_is_refused_before_it_takes_memory() -> None:
    chain = [comparison(f"{one:05d}", f"{one + 1:05d}") for one in range(MOST_IN_A_BLOCK)]
    with pytest.raises(JudgmentError, match="2001 responses are compared"):
        collect(chain)


# --- rankings -----------------------------------------------------------------------------------------------------


def as_pairs(evidence: Evidence) -> dict[str, int]:
    names = evidence.responses
    return {
        names[one] + names[two]: category
        for one, two, category in zip(
            evidence.first.tolist(), evidence.second.tolist(), evidence.category.tolist(), strict=True
        )
    }


def test_a_ranking_is_its_pairs() -> None:
    evidence = collect([Ranking(rater="r", tiers=(("c",), ("b", "a"), ("d",)))])
    assert as_pairs(evidence) == {"ab": 1, "ac": 0, "ad": 2, "bc": 0, "bd": 2, "cd": 2}
    assert evidence.scales == (Scale(Group("ranking", "overall"), 3),)
    assert evidence.pairs == 6
    assert evidence.weight == pytest.approx(np.full(6, np.sqrt(2 / 4)))
    assert not evidence.has_sides.any()


def test_a_ranking_is_one_judgment_of_each_of_its_responses() -> None:
    said: list[Graded] = [
        Ranking(rater="r", tiers=(("c",), ("b", "a"), ("d",))),
        Ranking(rater="r", tiers=(("e", "a"),)),
        Rating(rater="r", response="a", value=2),
        comparison("a", "b"),
    ]
    evidence = collect(said)
    assert dict(zip(evidence.responses, evidence.judged.tolist(), strict=True)) == {
        "a": 4,
        "b": 2,
        "c": 1,
        "d": 1,
        "e": 1,
    }
    assert {facet.group.kind: n for facet, n in zip(evidence.facets, evidence.told.tolist(), strict=True)} == {
        "comparison": 1,
        "ranking": 2,
        "rating": 1,
    }


@pytest.mark.parametrize("tiers", [(("a",),), (), (("a",), ("b", "a"))])
def test_what_is_no_ranking_is_refused(tiers: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(JudgmentError, match="rater r ranked fewer than two responses, or one of them twice"):
        collect([Ranking(rater="r", tiers=tiers)])


# --- what is known ------------------------------------------------------------------------------------------------


def gold(rater: str, choice: int, known: Json, *, left: str = "a", right: str = "b") -> Comparison:
    return Comparison(rater=rater, left=left, right=right, choice=choice, gold=known)


def test_what_is_known_of_a_pair_is_known_once() -> None:
    said = [gold("r1", 1, -1), gold("r2", -1, -1), gold("r3", 1, 1, left="b", right="a"), comparison("a", "b")]
    evidence = collect(said)
    known = evidence.is_gold[evidence.facet]
    assert evidence.facet.size == 5
    assert known.sum() == 1
    assert evidence.category[known].tolist() == [2], "a, the left one, is the better"
    assert evidence.judged.tolist() == [4, 4]
    assert evidence.start[evidence.is_gold].tolist() == [6]
    assert evidence.raters_in.tolist() == [4]


def test_a_rater_may_be_called_gold() -> None:
    evidence = collect([gold("gold", -1, -1)])
    assert evidence.is_gold.tolist() == [False, True]


def test_discriminations_start_at_agreement_with_what_is_known() -> None:
    said: list[Graded] = [
        *(gold("right", -1, -1, left=f"a{place}") for place in range(3)),
        *(gold("wrong", 1, -1, left=f"a{place}") for place in range(6)),
        gold("tied", 0, -1),
        Rating(rater="rates", response="a", value=4, gold=5),
        Rating(rater="rates", response="b", value=2, gold=4),
        Rating(rater="rates", response="c", value=5, gold=3),
        Ranking(rater="ranks", tiers=(("a",), ("b",), ("c",)), gold=[["a"], ["c"], ["b"]]),
        comparison("a", "b"),
    ]
    weight = np.sqrt(2 / 3)
    expected = {"right": 6 / 5, "wrong": -12 / 8, "tied": 0, "rates": 0, "ranks": 2 * weight / (3 * weight + 2)}
    assert agreements(said) == pytest.approx(expected)
    evidence = collect(said)
    begins = {facet.rater: start for facet, start in zip(evidence.facets, evidence.start.tolist(), strict=True)}
    assert begins == pytest.approx({**expected, "gold": 6, "r": 0})


def test_without_anything_known_discriminations_start_at_one() -> None:
    assert collect([comparison("a", "b"), Rating(rater="r", response="a", value=1)]).start.tolist() == [1, 1]


@pytest.mark.parametrize("known", ["left", True, 0.5, ["a"]])
def test_a_known_value_of_another_kind_is_refused(known: Json) -> None:
    with pytest.raises(JudgmentError, match="of a judgment of rater r is no whole number"):
        collect([gold("r", -1, known)])


def test_a_known_value_outside_the_scale_is_refused() -> None:
    with pytest.raises(JudgmentError, match="rater gold gave a judgment outside its scale"):
        collect([gold("r", -1, 2)])
    with pytest.raises(JudgmentError, match="rater gold ranked fewer than two"):
        collect([Ranking(rater="r", tiers=(("a", "b"),), gold=3)])


def test_known_tiers_of_one_need_no_brackets() -> None:
    evidence = collect([Ranking(rater="r", tiers=(("a", "b"),), gold=["b", "a"])])
    assert evidence.category[evidence.is_gold[evidence.facet]].tolist() == [0]
