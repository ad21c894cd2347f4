"""Judgments as arrays, and which responses hang together."""

from __future__ import annotations

import numpy as np
import pytest

from expound.errors import JudgmentError
from expound.feedback.evidence import MOST_IN_A_BLOCK, Group, Scale, collect
from expound.records import Comparison, Rating


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


def test_ratings_count_from_their_lowest_point() -> None:
    evidence = collect(
        [Rating(rater="r", response="a", value=4), Rating(rater="r", response="b", value=0, scale=(0, 1))]
    )
    assert evidence.category.tolist() == [0, 3]
    assert [scale.categories for scale in evidence.scales] == [2, 5]
    assert evidence.comparisons == 0
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
