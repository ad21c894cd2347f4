"""The fit of raters and responses: that it ends, and how it says that it did not."""

from __future__ import annotations

import numpy as np
import pytest

from expound.errors import DidNotConverge
from expound.feedback.evidence import collect
from expound.feedback.skill import fit, fit_equal
from expound.records import Comparison, Ranking, Rating
from tests.support.raters import logistic_panel


def test_a_fit_that_has_not_ended_raises() -> None:
    evidence = collect(logistic_panel([1, 1, 1], prompts=10, votes=2, seed=0).judgments)
    with pytest.raises(DidNotConverge, match=r"still moved by .* after 1 iterations"):
        fit(evidence, iterations=1)
    with pytest.raises(DidNotConverge, match=r"still moved by .* after 1 iterations"):
        fit_equal(evidence, iterations=1)


def test_the_error_names_a_single_criterion() -> None:
    said = [Rating(rater="r", response="a", criterion="clarity", value=value) for value in (1, 5)]
    with pytest.raises(DidNotConverge, match="the rater model of 'clarity' still moved"):
        fit(collect(said), iterations=1)


def test_the_error_names_what_is_thin() -> None:
    said = [Comparison(rater=f"r{place % 2}", left=f"a{place}", right=f"b{place}", choice=-1) for place in range(3)]
    with pytest.raises(DidNotConverge, match="6 of 6 responses were judged once, 2 raters gave fewer than 3 judgments"):
        fit(collect(said), iterations=1)


@pytest.mark.parametrize("choice", [-2, 0, 2])
def test_raters_who_always_say_the_same_are_fitted(choice: int) -> None:
    said = [
        Comparison(rater=f"r{place % 4}", left=f"{place % 9}a", right=f"{place % 9}b", choice=choice, strength=2)
        for place in range(200)
    ]
    found = fit(collect(said))
    assert np.isfinite(found.ways.cuts[:, 1:-1]).all()
    if choice == 0:
        assert np.abs(found.quality.value).max() < 0.01


def test_cuts_of_comparisons_mirror_each_other_and_cuts_stay_in_order() -> None:
    generator = np.random.default_rng(0)
    quality = generator.normal(size=40)
    ratings = [
        Rating(
            rater=f"r{rater}",
            response=f"{one:02d}",
            value=int(np.clip(np.round(quality[one] + generator.normal()), 0, 4)),
        )
        for one in range(40)
        for rater in range(4)
    ]
    said = [Rating(rater=found.rater, response=found.response, value=found.value, scale=(0, 4)) for found in ratings]
    pairs = [
        Comparison(rater=f"r{rater}", left=f"{one:02d}", right=f"{one + 1:02d}", choice=int(choice), strength=2)
        for one in range(0, 40, 2)
        for rater, choice in enumerate(
            np.clip(np.round(quality[one + 1] - quality[one] + generator.normal(size=4)), -2, 2)
        )
    ]
    found = fit(collect([*said, *pairs]))
    comparisons, levels = found.ways.cuts[:, 1:-1]
    assert comparisons == pytest.approx(-comparisons[::-1])
    assert (np.diff(comparisons) > 0).all()
    assert (np.diff(levels) > 0).all()
    assert np.corrcoef(found.quality.value, quality)[0, 1] > 0.8


def test_what_raters_have_in_common_is_in_the_cuts() -> None:
    """Regression: without this, offsets and cuts of ratings drift or circle, and no fit of few raters ends."""
    generator = np.random.default_rng(1)
    said = [
        Rating(rater=f"r{rater}", response=f"{one}", value=int(np.clip(generator.normal(4 - rater / 2), 1, 5)))
        for one in range(30)
        for rater in range(3)
    ]
    ways = fit(collect(said)).ways
    assert ways.stretch.mean() == pytest.approx(0, abs=1e-12)
    assert (ways.offset * np.exp(ways.stretch)).sum() == pytest.approx(0, abs=1e-12)
    assert ways.offset[0] > ways.offset[1] > ways.offset[2]


def test_a_ranking_has_no_side_to_lean_to() -> None:
    generator = np.random.default_rng(2)
    said = [
        Ranking(rater=f"r{rater}", tiers=tuple((f"{prompt}-{one}",) for one in generator.permutation(4)))
        for prompt in range(10)
        for rater in range(4)
    ]
    found = fit(collect(said))
    assert found.ways.offset.tolist() == [0] * 4
    assert found.ways.discrimination.std() > 0


def test_the_ways_of_what_is_known_are_fixed() -> None:
    said = [
        Rating(rater=f"r{rater}", response=f"{one}", value=1 + (one + rater) % 5, gold=1 + one % 5 if one < 5 else None)
        for one in range(30)
        for rater in range(4)
    ]
    evidence = collect(said)
    found = fit(evidence)
    known = evidence.is_gold
    assert known.sum() == 1
    assert (found.ways.discrimination[known], found.ways.offset[known]) == (6, 0)
    assert np.exp(found.ways.stretch[known]) == pytest.approx(6 / found.priors.mean, rel=0.05)
    assert found.ways.stretch[~known].mean() == pytest.approx(0, abs=1e-12)
