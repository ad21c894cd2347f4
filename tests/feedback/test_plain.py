"""What simple counting says."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean, stdev

import pytest

from expound.feedback.plain import beside, count_plainly, equal_pairs, majority_labels, mean_ratings
from expound.feedback.verdicts import settle
from expound.records import Check, Comparison, Rating
from tests.support.raters import logistic_panel


def rating(response: str, value: int, criterion: str = "clarity") -> Rating:
    return Rating(rater="r", response=response, value=value, criterion=criterion)


def test_the_majority_is_a_share_of_votes_by_criterion() -> None:
    said = [("a", "yes", "faithful"), ("a", "no", "faithful"), ("a", "yes", "faithful"), ("a", "no", "kind")]
    verdicts = majority_labels(
        [
            Check(rater=f"r{place}", response=one, value=value, criterion=criterion)
            for place, (one, value, criterion) in enumerate(said)
        ]
    )
    assert [(one.criterion, one.label, one.p) for one in verdicts] == [
        ("faithful", "yes", pytest.approx(2 / 3)),
        ("faithful", "no", pytest.approx(1 / 3)),
        ("kind", "no", 1),
    ]


def test_a_mean_has_the_error_of_the_spread_within_responses() -> None:
    verdicts = mean_ratings([rating("b", 1), rating("a", 2), rating("a", 4), rating("a", 3), rating("c", 5, "depth")])
    by_name = {(one.response, one.criterion): one for one in verdicts}
    assert by_name["a", "clarity"].value == fmean([2, 4, 3])
    assert by_name["a", "clarity"].sd == pytest.approx(stdev([2, 4, 3]) / 3**0.5)
    assert by_name["b", "clarity"].sd == pytest.approx(stdev([2, 4, 3]))
    assert (by_name["c", "depth"].value, by_name["c", "depth"].sd, by_name["c", "depth"].n) == (5, 0, 1)


def test_equal_raters_let_an_adversary_count_like_anybody() -> None:
    """Bradley-Terry goes with the votes where the settlement turns the adversary round."""
    said = [
        Comparison(
            rater=f"r{place % 4}", left=f"a{place // 4}", right=f"b{place // 4}", choice=(-1) ** (place % 4 == 3)
        )
        for place in range(40)
    ]
    pair, *_ = equal_pairs(said)
    alone, *_ = equal_pairs([one for one in said if one.rater != "r3"])
    assert alone.p_left < pair.p_left < 0.5
    assert pair.criterion == "overall"


def test_pairs_are_those_of_the_settlement() -> None:
    panel = logistic_panel([1, 1, 2], prompts=10, votes=2, seed=0)
    said = [*panel.judgments, rating("p0000-0", 3), rating("p0000-1", 2)]
    pairs = settle(said, 1).pairs
    assert [(one.left, one.right, one.criterion) for one in equal_pairs(said)] == [
        (one.left, one.right, one.criterion) for one in pairs
    ]


def test_labels_unlike_the_majority_are_named_and_a_tie_of_votes_is_not() -> None:
    """Twenty responses show that two raters know nothing; on the last, they outvote the one who does."""
    said = [Check(rater="knows", response=f"a{item:02}", value="yn"[item % 2]) for item in range(20)]
    said += [Check(rater="agrees", response=f"a{item:02}", value="yn"[item % 2]) for item in range(19)]
    for rater in ("one", "two"):
        said += [Check(rater=rater, response=f"a{item:02}", value="y") for item in range(20)]
    settlement = settle(said, 1)
    (found,) = beside(settlement, count_plainly(said))
    assert found.sentence == "20 labels of 'overall': 19 (95 %) as plain counting, which takes all raters alike."
    (other,) = found.differences
    assert (other.about, other.settled[0], other.plain) == ("a19", "n", "y by the majority")


def test_ratings_that_are_all_alike_have_no_order() -> None:
    said = [Rating(rater=rater, response=response, value=3) for rater in "rs" for response in "ab"]
    (found,) = beside(settle(said, 1), count_plainly(said))
    assert found.sentence == "2 responses rated by 'overall': all alike, by the fit or by the mean."
    assert found.differences == ()


def test_places_of_rated_responses() -> None:
    said = [rating("a", 1), rating("b", 3), rating("c", 5)]
    settlement = settle(said, 1)
    assert [one.differences for one in beside(settlement, count_plainly(said))] == [()]
    turned = replace(settlement, verdicts=tuple(replace(one, value=-one.value) for one in settlement.verdicts))
    (found,) = beside(turned, count_plainly(said))
    assert found.sentence.endswith("a rank correlation of -1.00.")
    assert {(one.about, one.settled, one.plain) for one in found.differences} == {
        ("a", "place 1", "place 3 by the mean"),
        ("c", "place 3", "place 1 by the mean"),
    }
