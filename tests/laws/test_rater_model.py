"""Laws of the judgment likelihood and its fit, and second opinions on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise, product

import choix
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy.special import ndtr
from scipy.stats import spearmanr

from expound.feedback.evidence import Evidence, Floats, Graded, collect
from expound.feedback.skill import (
    Bounds,
    Fit,
    Ways,
    first_cuts,
    fit,
    fit_equal,
    log_probability,
    prior_quality,
    quality_given,
    slopes,
)
from expound.feedback.verdicts import settle
from expound.records import Comparison, Judgment, Ranking, Rating, Settlement
from tests.support.raters import demonstration_panel

EXACT = 1e-9
NEAR = some.floats(-8, 8)


def bounds(low: float, high: float) -> Bounds:
    return Bounds(np.array([low]), np.array([high]))


def told(seed: int = 3) -> list[Graded]:
    """Return comparisons and ratings of the demonstration's panel, and rankings and known values beside them."""
    said = [found for found in demonstration_panel(seed, prompts=8)[0] if isinstance(found, Comparison | Rating)]
    return [*said, *ranked(seed), *(replace(found, gold=found.choice) for found in said[:20:4] if found.choice)]


def ranked(seed: int) -> list[Graded]:
    """Return rankings of four of a prompt's six responses, some tied, by raters who know quality by its name."""
    generator = np.random.default_rng(seed)
    return [
        Ranking(
            rater=rater, tiers=((f"p{prompt:02d}-{order[0]}",), tuple(f"p{prompt:02d}-{one}" for one in order[1:3]))
        )
        for prompt in range(8)
        for rater in ("careful", "harsh")
        for order in [generator.permutation(6)]
    ]


def values(settlement: Settlement) -> dict[tuple[str, str], tuple[float, float]]:
    return {(verdict.criterion, verdict.response): (verdict.value, verdict.sd) for verdict in settlement.verdicts}


def assert_same(one: dict[str, tuple[float, float]], two: dict[str, tuple[float, float]]) -> None:
    assert one.keys() == two.keys()
    assert np.allclose([one[name] for name in one], [two[name] for name in one], rtol=0, atol=EXACT)


# --- the likelihood -----------------------------------------------------------------------------------------------


@given(eta=NEAR, gaps=some.lists(some.floats(0.01, 4), min_size=1, max_size=6), first=NEAR)
def test_the_chances_of_all_categories_sum_to_one(eta: float, gaps: list[float], first: float) -> None:
    cuts = [-np.inf, *(first + np.cumsum([0.0, *gaps])), np.inf]
    chances = [np.exp(log_probability(np.array([eta]), bounds(*ends)))[0] for ends in pairwise(cuts)]
    assert sum(chances) == pytest.approx(1, abs=1e-12)


ENDS = [(-1.2, 0.7), (-np.inf, 0.3), (0.4, np.inf), (2.0, 2.05)]


def differences(of: Callable[[float], float], at: float, step: float) -> tuple[float, float]:
    """Return the first and second derivative by finite differences of fourth order."""
    low2, low, middle, high, high2 = (of(at + place * step) for place in (-2, -1, 0, 1, 2))
    first = (low2 - 8 * low + 8 * high - high2) / (12 * step)
    second = (-low2 + 16 * low - 30 * middle + 16 * high - high2) / (12 * step * step)
    return first, second


@pytest.mark.parametrize(("low", "high"), ENDS)
@pytest.mark.parametrize("eta", [-3.0, 0.1, 2.4])
def test_derivatives_by_eta(low: float, high: float, eta: float) -> None:
    at = slopes(np.array([eta]), bounds(low, high))
    first, second = differences(lambda x: float(log_probability(np.array([x]), bounds(low, high))[0]), eta, 1e-2)
    assert at.by_eta[0] == pytest.approx(first, abs=1e-8)
    assert at.curvature[0] == pytest.approx(-second, abs=1e-6)


@pytest.mark.parametrize(("low", "high"), [(-1.2, 0.7), (0.5, 1.1)])
@pytest.mark.parametrize("eta", [-3.0, 0.1, 2.4])
def test_derivatives_by_the_cuts(low: float, high: float, eta: float) -> None:
    at, x = slopes(np.array([eta]), bounds(low, high)), np.array([eta])
    by_high = differences(lambda cut: float(log_probability(x, bounds(low, cut))[0]), high, 1e-2)
    by_low = differences(lambda cut: float(log_probability(x, bounds(cut, high))[0]), low, 1e-2)
    both = differences(lambda cut: float(slopes(x, bounds(cut, high)).by_high[0]), low, 1e-2)[0]
    assert at.by_high[0] == pytest.approx(by_high[0], abs=1e-5)
    assert at.by_low[0] == pytest.approx(by_low[0], abs=1e-5)
    assert at.upper_curvature[0] + at.coupling[0] == pytest.approx(-by_high[1], abs=1e-3)
    assert at.lower_curvature[0] + at.coupling[0] == pytest.approx(-by_low[1], abs=1e-3)
    assert at.coupling[0] == pytest.approx(both, abs=1e-3)


def test_an_infinite_cut_has_no_slope() -> None:
    assert slopes(np.array([0.3]), bounds(-np.inf, 0.5)).by_low[0] == 0
    assert slopes(np.array([0.3]), bounds(0.5, np.inf)).by_high[0] == 0


# --- symmetries ---------------------------------------------------------------------------------------------------


def swapped(said: Graded) -> Graded:
    if not isinstance(said, Comparison):
        return said
    gold = -said.gold if isinstance(said.gold, int) else None
    return replace(said, left=said.right, right=said.left, choice=-said.choice, gold=gold)


def test_swapping_sides_negates_the_side_bias_and_nothing_else() -> None:
    before, after = (settle(list(map(turn, told())), 1) for turn in (lambda said: said, swapped))
    assert_same(values(before), values(after))
    for one, two in zip(before.skills, after.skills, strict=True):
        assert one.side_bias is not None
        assert two.side_bias == pytest.approx(-one.side_bias, abs=EXACT)
        assert two.discrimination == pytest.approx(one.discrimination, abs=EXACT)
        assert two.severity == pytest.approx(one.severity, abs=EXACT)


def test_the_order_of_judgments_is_nothing() -> None:
    shuffled = told()
    random.Random(0).shuffle(shuffled)
    assert settle(shuffled, 1) == settle(told(), 1)


def renamed(said: Graded, name: Callable[[str], str], rater: Callable[[str], str]) -> Graded:
    if isinstance(said, Rating):
        return replace(said, rater=rater(said.rater), response=name(said.response))
    if isinstance(said, Ranking):
        return replace(said, rater=rater(said.rater), tiers=tuple(tuple(map(name, tier)) for tier in said.tiers))
    return replace(said, rater=rater(said.rater), left=name(said.left), right=name(said.right))


def test_names_are_nothing() -> None:
    def backwards(name: str) -> str:
        return name[::-1]

    before = settle(told(), 1)
    after = settle([renamed(said, backwards, backwards) for said in told()], 1)
    assert_same(values(before), {(of, backwards(name)): value for (of, name), value in values(after).items()})
    skills = {backwards(skill.rater): skill.skill for skill in after.skills}
    assert all(skills[skill.rater] == pytest.approx(skill.skill, abs=EXACT) for skill in before.skills)


def test_a_shifted_rating_scale_changes_no_verdict() -> None:
    moved = [
        replace(said, value=said.value + 6, scale=(7, 11)) if isinstance(said, Rating) else said for said in told()
    ]
    assert_same(values(settle(told(), 1)), values(settle(moved, 1)))


def prompt_of(said: Graded) -> str:
    name = (
        said.left if isinstance(said, Comparison) else said.tiers[0][0] if isinstance(said, Ranking) else said.response
    )
    return name[:3]


def test_the_order_inside_a_tier_is_nothing() -> None:
    turned = [
        replace(said, tiers=tuple(tier[::-1] for tier in said.tiers)) if isinstance(said, Ranking) else said
        for said in told()
    ]
    assert_same(values(settle(told(), 1)), values(settle(turned, 1)))


def test_a_ranking_turned_upside_down_turns_quality() -> None:
    turned = [replace(said, tiers=said.tiers[::-1]) for said in ranked(3) if isinstance(said, Ranking)]
    before, after = values(settle(ranked(3), 1)), values(settle(turned, 1))
    assert_same(before, {name: (-value, sd) for name, (value, sd) in after.items()})


def test_weight_two_is_the_same_said_twice() -> None:
    once, twice = collect(told()), collect([*told(), *told()])
    ways = fit(once).ways
    known = once.is_gold[once.facet]  # known once, however often it is told
    heavy = replace(once, weight=np.where(known, 1.0, 2.0) * once.weight, start=twice.start)
    assert once.facets == twice.facets
    assert first_cuts(heavy)[:, 1:3] == pytest.approx(first_cuts(twice)[:, 1:3], abs=EXACT)
    assert posterior(heavy, ways) == pytest.approx(posterior(twice, ways), abs=EXACT)
    one, two = fit(heavy), fit(twice)
    assert one.quality.value == pytest.approx(two.quality.value, abs=EXACT)
    assert one.ways.discrimination == pytest.approx(two.ways.discrimination, abs=EXACT)
    assert one.ways.cuts[:, 1:3] == pytest.approx(two.ways.cuts[:, 1:3], abs=EXACT)


def test_a_ranking_of_two_is_a_comparison_without_a_side() -> None:
    ranking = collect([Ranking(rater="r", tiers=(("a",), ("b",))), Ranking(rater="r", tiers=(("b", "c"),))])
    compared = collect(
        [Comparison(rater="r", left="a", right="b", choice=-1), Comparison(rater="r", left="c", right="b", choice=0)]
    )
    cuts = [-0.4, 0.4]
    assert posterior(ranking, equal_ways(ranking, cuts)) == pytest.approx(
        posterior(compared, equal_ways(compared, cuts)), abs=EXACT
    )


def test_prompts_are_judged_alike_together_and_apart_by_the_same_ways() -> None:
    everything = collect(told())
    ways = fit(everything).ways
    whole = posterior(everything, ways)
    part = [said for said in told() if prompt_of(said) < "p04"]
    some_evidence = collect(part)
    assert some_evidence.facets == everything.facets
    assert some_evidence.scales == everything.scales
    alone = posterior(some_evidence, ways)
    assert all(whole[name] == pytest.approx(value, abs=EXACT) for name, value in alone.items())


# --- second opinions ----------------------------------------------------------------------------------------------


def posterior(evidence: Evidence, ways: Ways) -> dict[str, float]:
    quality = quality_given(evidence, ways, prior_quality(evidence), steps=40)
    return dict(zip(evidence.responses, quality.value.tolist(), strict=True))


def equal_ways(evidence: Evidence, cuts: Sequence[float], discrimination: float = 1.0) -> Ways:
    zeros = np.zeros(len(evidence.facets))
    table: Floats = np.array([[-np.inf, *cuts, np.inf]])
    return Ways(zeros + discrimination, zeros, zeros, table)


def test_equal_raters_are_bradley_terry() -> None:
    """choix penalises ½·Σθ² with alpha = .5, which is our prior."""
    generator = np.random.default_rng(4)
    truth, pairs = generator.normal(size=12), generator.integers(12, size=(150, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    wins = [
        pair if generator.random() < 1 / (1 + np.exp(truth[pair[1]] - truth[pair[0]])) else pair[::-1] for pair in pairs
    ]
    said = [
        Comparison(rater="all", left=f"{one:02d}", right=f"{two:02d}", choice=-1, ties=False)
        if generator.random() < 0.5
        else Comparison(rater="all", left=f"{two:02d}", right=f"{one:02d}", choice=1, ties=False)
        for one, two in wins
    ]
    evidence = collect(said)
    ours = dict(zip(evidence.responses, fit_equal(evidence).value.tolist(), strict=True))
    assert ours == pytest.approx(posterior(evidence, equal_ways(evidence, [0.0])), abs=1e-4)
    theirs = choix.opt_pairwise(12, [tuple(pair) for pair in wins], alpha=0.5, tol=1e-10)
    assert [ours[f"{number:02d}"] for number in range(12)] == pytest.approx(list(theirs), abs=1e-4)


@pytest.mark.parametrize("length", [3, 5, 7])
def test_rankings_order_as_plackett_and_luce_do(length: int) -> None:
    generator = np.random.default_rng(length)
    truth = generator.normal(size=20)
    rankings = []
    for _ in range(200):
        shown = generator.choice(20, length, replace=False)
        rankings.append(shown[np.argsort(-(truth[shown] + generator.gumbel(size=length)))])
    said = [Ranking(rater="all", tiers=tuple((f"{one:02d}",) for one in ranking)) for ranking in rankings]
    ours = fit_equal(collect(said)).value
    theirs = choix.opt_rankings(20, [tuple(ranking.tolist()) for ranking in rankings], alpha=0.5)
    assert np.corrcoef(ours, theirs)[0, 1] >= 0.99
    assert spearmanr(ours, theirs).statistic >= (0.99 if length == 5 else 0.98), "near ones change places"
    assert np.corrcoef(ours, truth)[0, 1] >= np.corrcoef(theirs, truth)[0, 1] - 0.01


@pytest.mark.parametrize(("discrimination", "tie"), [*product([0.7, 1.0, -1.0, 1.5], [0.3, 1.0])])
@pytest.mark.parametrize("choices", [(-1, -1, -1, -1, -1), (-1, -1, 0, 1, -1), (0, 0, 1, 1, 0), (1, -1, 1, 1, 1)])
def test_a_small_block_is_what_integration_says(discrimination: float, tie: float, choices: tuple[int, ...]) -> None:
    said = [Comparison(rater="r", left="a", right="b", choice=choice) for choice in choices]
    evidence = collect(said)
    ways = equal_ways(evidence, [-tie, tie], discrimination)
    quality = quality_given(evidence, ways, prior_quality(evidence), steps=30)
    likely = ndtr(quality.judged[0] / np.sqrt(quality.judged_variance[0]))
    grid = np.linspace(-6, 6, 601)
    one, two = np.meshgrid(grid, grid, indexing="ij")
    log_density = -(one**2 + two**2) / 2
    ends = {-1: (tie, np.inf), 0: (-tie, tie), 1: (-np.inf, -tie)}
    for choice in choices:
        low, high = (np.full(one.shape, end) for end in ends[choice])
        log_density += log_probability(discrimination * (one - two), Bounds(low, high))
    density = np.exp(log_density - log_density.max())
    truth = float(density[one > two].sum() + density[one == two].sum() / 2) / float(density.sum())
    assert likely == pytest.approx(truth, abs=0.02 if abs(discrimination) <= 1 else 0.03)


def test_the_fit_has_no_slope_left() -> None:
    """The posterior mode of quality and of the raters' ways, checked on the log density, not on its derivatives."""
    evidence = collect(told())
    found = fit(evidence)
    settled = replace(found, quality=quality_given(evidence, found.ways, found.quality, steps=20))
    best = log_density(evidence, settled, settled.quality.value)
    for response in range(0, len(evidence.responses), 7):
        for step in (-0.01, 0.01):
            moved = settled.quality.value.copy()
            moved[response] += step
            assert log_density(evidence, settled, moved) < best


def log_density(evidence: Evidence, found: Fit, value: Floats) -> float:
    padded = np.append(value, 0.0)
    eta = found.ways.centre(evidence, padded[evidence.first] - padded[evidence.second])
    likely = log_probability(eta, found.ways.bounds(evidence))
    return float((evidence.weight * likely).sum() - (value**2).sum() / 2)


def test_judgments_of_one_rater_settle_too() -> None:
    alone: list[Judgment] = [Comparison(rater="r", left="a", right="b", choice=-1)]
    settlement = settle(alone, 1)
    assert settlement.pairs[0].p_left > 0.5
    assert settlement.skills[0].alarm is None
