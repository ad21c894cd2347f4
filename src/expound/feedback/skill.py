"""The likelihood of judgments, and its fit: the quality of responses and the ways of raters, learnt together.

A judgment is a category c of a logistic scale around η = d·x + o, where x is the quality of a response, or the
difference of two: P(c) = σ(high − η) − σ(low − η) with high and low the cuts around c, stretched by e^t. A rater's d
says how much quality moves them, o which side or end they lean to, t how wide their middle is. Qualities are
N(0, 1), which fixes the scale; d, o and t have normal priors, whose width is learnt, so that a panel of equal raters
is treated as one. The posterior of quality is normal around its mode (Laplace), block by block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import expit, log_expit

from expound.errors import DidNotConverge
from expound.feedback.evidence import GOLD_DISCRIMINATION, Evidence, Floats, Scale, totals
from expound.records import OVERALL

MOST_ITERATIONS = 500
TOLERANCE = 2e-3
FIRST_STEPS = 6
LONGEST_QUALITY_STEP, LONGEST_STEP, LONGEST_STRETCH_STEP = 2.0, 0.5, 0.3
STRETCH_VARIANCE = 0.09
PRIOR_MEAN, MEAN_WEIGHT = 1.0, 1  # of the mean discrimination: one imagined facet, or few judgments let it run away
PRIOR_VARIANCE, PRIOR_WEIGHT = 0.25, 2  # of the variances of d and o themselves: two imagined facets
NEAREST = 1e-6
LEAST_MEAN = 0.05  # of the discriminations: the panel as a whole is right, which fixes the sign of quality
FEWEST_FACETS = 3
LEAST_SHARED = 0.3
CUTS_EVERY, CUT_RIDGE, LEAST_GAP = 3, 0.1, 1e-3
START_STRETCH, START_GAP = 1.3, 1e-2
NODES = ((-np.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (np.sqrt(3.0), 1 / 6))  # Gauss-Hermite, in standard deviations
THIN = 3


# --- the likelihood -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """The cuts below and above the categories of judgments; −∞ and ∞ at the ends of a scale."""

    low: Floats
    high: Floats

    @cached_property
    def shrinking(self) -> Floats:
        """Return e^(low − high): 0 at the ends, near 1 for a narrow category."""
        return np.exp(self.low - self.high)

    @cached_property
    def finite(self) -> tuple[Floats, Floats]:
        """Return low and high with 0 for infinite, which only ever multiplies a slope of 0."""
        return np.where(np.isfinite(self.low), self.low, 0.0), np.where(np.isfinite(self.high), self.high, 0.0)


@dataclass(frozen=True)
class Ways:
    """How raters judge: discrimination, offset and stretch of each facet, and the cuts of each scale.

    `cuts` is [scales, most categories + 1]; row s holds −∞, the cuts, and ∞ to the end.
    """

    discrimination: Floats
    offset: Floats
    stretch: Floats
    cuts: Floats

    def bounds(self, evidence: Evidence) -> Bounds:
        """Return the stretched cuts around the category of each judgment."""
        stretch = np.exp(self.stretch)[evidence.facet]
        below, above = (self.cuts[evidence.scale, evidence.category + step] for step in (0, 1))
        return Bounds(stretch * below, stretch * above)

    def centre(self, evidence: Evidence, x: Floats) -> Floats:
        """Return η for the qualities or differences x of the judgments."""
        return self.discrimination[evidence.facet] * x + self.offset[evidence.facet]


@dataclass(frozen=True)
class Slopes:
    """First and second derivatives of log P at one η; an infinite cut has none.

    `by_eta` is ∂/∂η and `curvature` −∂²/∂η²; `by_high` and `by_low` are by the cuts; `upper_curvature` and
    `lower_curvature` are σ(1 − σ) at them; `coupling` is ∂²/∂high∂low, which −∂²/∂high² and −∂²/∂low² hold as well.
    """

    by_eta: Floats
    curvature: Floats
    by_high: Floats
    by_low: Floats
    upper_curvature: Floats
    lower_curvature: Floats
    coupling: Floats


def log_probability(eta: Floats, bounds: Bounds) -> Floats:
    """Return log P of the category between two cuts; as a product it is stable far out."""
    inside: Floats = log_expit(bounds.high - eta) + log_expit(eta - bounds.low)
    return inside + np.log1p(-bounds.shrinking)


def slopes(eta: Floats, bounds: Bounds) -> Slopes:
    """Return the derivatives of `log_probability`."""
    closeness = bounds.shrinking / (1 - bounds.shrinking)
    upper, lower = expit(bounds.high - eta), expit(bounds.low - eta)
    upper_curvature, lower_curvature = upper * (1 - upper), lower * (1 - lower)
    return Slopes(
        by_eta=upper + lower - 1,
        curvature=upper_curvature + lower_curvature,
        by_high=1 - upper + closeness,
        by_low=-lower - closeness,
        upper_curvature=upper_curvature,
        lower_curvature=lower_curvature,
        coupling=closeness * (1 + closeness),
    )


# --- quality ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quality:
    """The posterior of quality: of each response, and of what each judgment was about (a response or a difference)."""

    value: Floats
    variance: Floats
    judged: Floats
    judged_variance: Floats


def prior_quality(evidence: Evidence) -> Quality:
    """Return what is known before any judgment."""
    zeros, ones = np.zeros(len(evidence.responses)), np.ones(len(evidence.responses))
    return Quality(zeros, ones, np.zeros(evidence.first.size), np.ones(evidence.first.size))


def quality_given(evidence: Evidence, ways: Ways, before: Quality, *, steps: int) -> Quality:
    """Return the posterior of quality for known ways of the raters, after Newton steps from where it was."""
    for _ in range(steps):
        before = quality_step(evidence, ways, before)
    return before


def quality_step(evidence: Evidence, ways: Ways, before: Quality) -> Quality:
    """Return the posterior after one Newton step, its variance taken where the step began."""
    blocks = evidence.blocks
    eta, bounds = ways.centre(evidence, before.judged), ways.bounds(evidence)
    found = slopes(eta, bounds)
    discrimination = ways.discrimination[evidence.facet]
    weight = evidence.weight * discrimination
    gradient = _to_responses(evidence, weight * found.by_eta, sign=-1) - before.value
    curvature = weight * discrimination * _steady(evidence, found.curvature, eta, bounds)
    compared = curvature[: evidence.pairs]
    precision = totals(blocks.across, -compared, blocks.total) + totals(blocks.back, -compared, blocks.total)
    precision[blocks.diagonal] = 1 + _to_responses(evidence, curvature, sign=1)
    covariance, step = _solve(evidence, precision, gradient)
    value = before.value + np.clip(step, -LONGEST_QUALITY_STEP, LONGEST_QUALITY_STEP)
    variance = covariance[blocks.diagonal]
    padded, padded_variance = np.append(value, 0.0), np.append(variance, 0.0)
    judged_variance = padded_variance[evidence.first] + padded_variance[evidence.second]
    judged_variance[: evidence.pairs] -= 2 * covariance[blocks.across]
    return Quality(value, variance, padded[evidence.first] - padded[evidence.second], judged_variance)


def _steady(evidence: Evidence, curvature: Floats, eta: Floats, bounds: Bounds) -> Floats:
    """Return the curvatures, of what is known those of the bound of Jaakkola and Jordan (2000).

    What is known speaks so sharply that Newton's own steps would leap to and fro across it for ever; along a bound from
    below they cannot. It also tells the spread of so lopsided a posterior better than the curvature at its mode.
    """
    known = evidence.is_gold[evidence.facet]
    if not known.any():
        return curvature
    steady = curvature.copy()
    steady[known] = sum(_bound(np.abs(end[known] - eta[known])) for end in (bounds.low, bounds.high))
    return steady


def _bound(distance: Floats) -> Floats:
    """Return tanh(distance / 2) / (2 · distance): 1/4 at 0, and 0 at ∞."""
    apart = np.maximum(distance, NEAREST)
    curvature: Floats = np.tanh(apart / 2) / (2 * apart)
    return curvature


def _to_responses(evidence: Evidence, values: Floats, *, sign: int) -> Floats:
    """Return for each response the sum over its judgments, those in which it stood right times `sign`."""
    count = len(evidence.responses)
    compared = evidence.pairs
    right = totals(evidence.second[:compared], values[:compared], count)
    return totals(evidence.first, values, count) + sign * right


def _solve(evidence: Evidence, precision: Floats, gradient: Floats) -> tuple[Floats, Floats]:
    """Return the flat inverses of the blocks' matrices, and the inverses times the gradient [responses]."""
    blocks = evidence.blocks
    covariance, step, ordered = np.empty_like(precision), np.empty_like(gradient), gradient[blocks.order]
    for same in blocks.sizes:
        matrices = slice(same.start, same.start + same.count * same.size**2)
        places = slice(same.place, same.place + same.count * same.size)
        inverse = np.linalg.inv(precision[matrices].reshape(same.count, same.size, same.size))
        covariance[matrices] = inverse.ravel()
        step[blocks.order[places]] = (inverse @ ordered[places].reshape(same.count, same.size, 1)).ravel()
    return covariance, step


# --- raters -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Priors:
    """Mean and standard deviation of the discriminations and standard deviation of the offsets, of each group."""

    mean: Floats
    spread: Floats
    offset_spread: Floats


@dataclass(frozen=True)
class Information:
    """What is known of discrimination and offset of each facet: the negative second derivatives, priors included."""

    discrimination: Floats
    offset: Floats
    both: Floats

    @property
    def determinant(self) -> Floats:
        """Return the determinant of the 2 x 2 matrix of each facet."""
        return self.discrimination * self.offset - self.both**2

    @property
    def discrimination_variance(self) -> Floats:
        return self.offset / self.determinant

    @property
    def offset_variance(self) -> Floats:
        return self.discrimination / self.determinant


def ways_step(evidence: Evidence, ways: Ways, quality: Quality, priors: Priors) -> tuple[Ways, Information]:
    """Return discriminations, offsets and stretches after one Newton step, in expectation over quality."""
    bounds = ways.bounds(evidence)
    low, high = bounds.finite
    sums = np.zeros((7, len(evidence.facets)))
    for node, share in NODES:
        x = quality.judged + node * np.sqrt(quality.judged_variance)
        at = slopes(ways.centre(evidence, x), bounds)
        weight = share * evidence.weight
        gradient, curvature = weight * at.by_eta, weight * at.curvature
        along = weight * (high * at.by_high + low * at.by_low)
        widening = at.coupling * (high - low) ** 2
        bending = high**2 * at.upper_curvature + low**2 * at.lower_curvature + widening
        terms = (gradient * x, gradient, curvature * x * x, curvature * x, curvature, along, weight * bending)
        sums += np.stack([totals(evidence.facet, term, len(evidence.facets)) for term in terms])
    return _apply(ways, priors, evidence, sums)


def _apply(ways: Ways, priors: Priors, evidence: Evidence, sums: Floats) -> tuple[Ways, Information]:
    group = evidence.group_of_facet
    variance, offset_variance = priors.spread[group] ** 2, priors.offset_spread[group] ** 2
    by_d = sums[0] - (ways.discrimination - priors.mean[group]) / variance
    by_o = np.where(evidence.has_sides, sums[1] - ways.offset / offset_variance, 0.0)
    both = np.where(evidence.has_sides, sums[3], 0.0)
    known = Information(sums[2] + 1 / variance, sums[4] + 1 / offset_variance, both)
    step_d = (known.offset * by_d - known.both * by_o) / known.determinant
    step_o = (known.discrimination * by_o - known.both * by_d) / known.determinant
    step_t = (sums[5] - ways.stretch / STRETCH_VARIANCE) / (sums[6] + 1 / STRETCH_VARIANCE)
    moved = replace(
        ways,
        discrimination=ways.discrimination + _clipped(step_d, evidence, LONGEST_STEP),
        offset=ways.offset + _clipped(step_o, evidence, LONGEST_STEP),
        stretch=ways.stretch + _clipped(step_t, evidence, LONGEST_STRETCH_STEP),
    )
    centred = _centred(moved, evidence)
    return replace(centred, stretch=np.where(evidence.is_gold, gold_stretch(evidence, priors), centred.stretch)), known


def gold_stretch(evidence: Evidence, priors: Priors) -> Floats:
    """Return [facets] the stretch of what is known: of ratings such that it has the cuts of an average rater.

    A cut at quality q is one of η = μ·q for an average rater; for what is known, at d = 6, it must be 6·q. Pairs need
    none: their middle is where nothing is better.
    """
    mean = np.maximum(np.abs(priors.mean), LEAST_SHARED)[evidence.group_of_facet]
    is_rating = np.array([facet.group.kind == "rating" for facet in evidence.facets])
    return np.where(evidence.is_gold & is_rating, np.log(GOLD_DISCRIMINATION / mean), 0.0)


def _clipped(step: Floats, evidence: Evidence, longest: float) -> Floats:
    """Return steps of bounded length, and none where the ways are known."""
    return np.where(evidence.is_gold, 0.0, np.clip(step, -longest, longest))


def _centred(ways: Ways, evidence: Evidence) -> Ways:
    """Return the same ways with mean stretch 0 and, of ratings, mean offset 0: the cuts take what all have in common.

    The shift is the likeliest under the priors, offsets weighed by their stretch. Without it offsets and cuts drift
    for hundreds of iterations; with the plain mean they circle around the solution.
    """
    group, scale_group = evidence.group_of_facet, evidence.group_of_scale
    common = evidence.per_group(ways.stretch) / evidence.raters_in
    stretch = np.where(evidence.is_gold, ways.stretch, ways.stretch - common[group])
    cuts = ways.cuts * np.exp(common)[scale_group][:, None]
    widening = np.exp(stretch)
    is_rating = np.array([found.kind == "rating" for found in evidence.groups])
    shift = is_rating * evidence.per_group(ways.offset * widening) / evidence.per_group(widening**2)
    offset = np.where(evidence.is_gold, 0.0, ways.offset - shift[group] * widening)
    return Ways(ways.discrimination, offset, stretch, cuts - shift[scale_group][:, None])


def learn_priors(evidence: Evidence, ways: Ways, known: Information) -> Priors:
    """Return the priors that the facets of each group suggest; fewer than three say nothing of their mean.

    What is known (gold) fixes the sign of quality; then the panel as a whole may be wrong.
    """
    group, facets = evidence.group_of_facet, evidence.raters_in
    total = evidence.per_group(ways.discrimination) + MEAN_WEIGHT * PRIOR_MEAN
    least = -np.inf if evidence.is_gold.any() else LEAST_MEAN
    mean = np.maximum(total / (facets + MEAN_WEIGHT), least)
    mean = np.where(facets < FEWEST_FACETS, PRIOR_MEAN, mean)
    spread = evidence.per_group((ways.discrimination - mean[group]) ** 2 + known.discrimination_variance)
    offset_spread = evidence.per_group(ways.offset**2 + known.offset_variance)
    return Priors(mean, _spread(spread, facets), _spread(offset_spread, facets))


def _spread(squares: Floats, facets: Floats) -> Floats:
    spread: Floats = np.sqrt((squares + PRIOR_WEIGHT * PRIOR_VARIANCE) / (facets + PRIOR_WEIGHT))
    return spread


# --- cuts ---------------------------------------------------------------------------------------------------------


def first_cuts(evidence: Evidence) -> Floats:
    """Return cuts that fit the shares of the categories, mirrored for pairs."""
    width = max(scale.categories for scale in evidence.scales) + 1
    counts = totals(evidence.scale * width + evidence.category, evidence.raters_weight, len(evidence.scales) * width)
    cuts = np.full((len(evidence.scales), width), np.inf)
    cuts[:, 0] = -np.inf
    for number, scale in enumerate(evidence.scales):
        seen = counts[number * width : number * width + scale.categories] + 0.5
        below = np.cumsum(seen)[:-1]
        inner = START_STRETCH * np.log(below / (seen.sum() - below))
        inner = inner[0] + np.append(0.0, np.cumsum(np.maximum(np.diff(inner), START_GAP)))
        cuts[number, 1 : scale.categories] = (inner - inner[::-1]) / 2 if scale.is_mirrored else inner
    return cuts


def cuts_step(evidence: Evidence, ways: Ways, quality: Quality) -> Ways:
    """Return the cuts after one Newton step with the whole, tridiagonal, second derivative."""
    bounds = ways.bounds(evidence)
    stretch, weight = np.exp(ways.stretch)[evidence.facet], evidence.raters_weight
    width, total = ways.cuts.shape[1], ways.cuts.size
    below = evidence.scale * width + evidence.category
    gradient, diagonal, beside = np.zeros(total), np.zeros(total), np.zeros(total)
    for node, share in NODES:
        x = quality.judged + node * np.sqrt(quality.judged_variance)
        at = slopes(ways.centre(evidence, x), bounds)
        first, second = share * weight * stretch, share * weight * stretch**2
        gradient += totals(below, first * at.by_low, total) + totals(below + 1, first * at.by_high, total)
        diagonal += totals(below, second * (at.lower_curvature + at.coupling), total)
        diagonal += totals(below + 1, second * (at.upper_curvature + at.coupling), total)
        beside += totals(below, -second * at.coupling, total)
    cuts = ways.cuts.copy()
    for number, scale in enumerate(evidence.scales):
        inner = slice(number * width + 1, number * width + scale.categories)
        matrix = np.diag(diagonal[inner]) + np.diag(beside[inner][:-1], 1) + np.diag(beside[inner][:-1], -1)
        cuts[number, 1 : scale.categories] = _moved(cuts[number, 1 : scale.categories], gradient[inner], matrix, scale)
    return replace(ways, cuts=cuts)


def _moved(cuts: Floats, gradient: Floats, matrix: Floats, scale: Scale) -> Floats:
    """Return the cuts of one scale after a step that keeps them mirrored, in order and apart."""
    free = _mirror(cuts.size) if scale.is_mirrored else np.eye(cuts.size)
    step = np.linalg.solve(free.T @ matrix @ free + CUT_RIDGE * np.eye(free.shape[1]), free.T @ gradient)
    change = free @ np.clip(step, -LONGEST_STEP, LONGEST_STEP)
    while (np.diff(cuts + change) < LEAST_GAP).any() and np.abs(change).max() > 0:
        change = np.where(np.abs(change) > LEAST_GAP**2, change / 2, 0.0)
    return np.asarray(cuts + change, dtype=np.float64)


def _mirror(size: int) -> Floats:
    """Return the matrix from the positive cuts to all of them; a middle cut is 0."""
    half = size // 2
    positive, zeros = np.eye(half), np.zeros((size % 2, half))
    free: Floats = np.concatenate([-positive[::-1], zeros, positive])
    return free


# --- the fit ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """Quality, the raters' ways, what is known of them and expected of others, and in how many iterations."""

    quality: Quality
    ways: Ways
    information: Information
    priors: Priors
    iterations: int


def fit(evidence: Evidence, *, iterations: int = MOST_ITERATIONS) -> Fit:
    """Return the fit of quality and raters to the evidence.

    Errors: DidNotConverge when discriminations, offsets and half the qualities still move by more than 2e-3.
    """
    groups, zeros = len(evidence.groups), np.zeros(len(evidence.facets))
    priors = Priors(np.ones(groups), np.full(groups, PRIOR_VARIANCE**0.5), np.full(groups, PRIOR_VARIANCE**0.5))
    ways = Ways(evidence.start, zeros, gold_stretch(evidence, priors), first_cuts(evidence))
    quality, change = prior_quality(evidence), np.inf
    for iteration in range(1, iterations + 1):
        before, ways_before = quality, ways
        quality = quality_given(evidence, ways, quality, steps=FIRST_STEPS if iteration == 1 else 1)
        ways, known = ways_step(evidence, ways, quality, priors)
        priors = learn_priors(evidence, ways, known)
        if iteration % CUTS_EVERY == 0:
            ways = cuts_step(evidence, ways, quality)
        change = _change(before, quality, ways_before, ways)
        if change < TOLERANCE:
            return Fit(quality, ways, known, priors, iteration)
    raise _unfinished(evidence, change, iterations)


def fit_equal(evidence: Evidence, *, iterations: int = MOST_ITERATIONS) -> Quality:
    """Return the quality if all raters judged alike: Bradley-Terry with ties, or a graded scale.

    Only the cuts are learnt beside it. Errors: DidNotConverge as above.
    """
    zeros = np.zeros(len(evidence.facets))
    alike = np.where(evidence.is_gold, GOLD_DISCRIMINATION, 1.0)
    ways, quality, change = Ways(alike, zeros, zeros, first_cuts(evidence)), prior_quality(evidence), np.inf
    for iteration in range(1, iterations + 1):
        before, ways_before = quality, ways
        quality = quality_given(evidence, ways, quality, steps=FIRST_STEPS if iteration == 1 else 1)
        ways = cuts_step(evidence, ways, quality)
        inner = np.isfinite(ways.cuts)
        moved = float(np.abs(ways.cuts[inner] - ways_before.cuts[inner]).max())
        change = max(moved, _change(before, quality, ways_before, ways))
        if change < TOLERANCE:
            return quality
    raise _unfinished(evidence, change, iterations)


def _change(before: Quality, after: Quality, ways_before: Ways, ways: Ways) -> float:
    moved = (
        ways.discrimination - ways_before.discrimination,
        ways.offset - ways_before.offset,
        (after.value - before.value) / 2,
    )
    return max(float(np.abs(part).max()) for part in moved)


def _unfinished(evidence: Evidence, change: float, iterations: int) -> DidNotConverge:
    criteria = {found.criterion for found in evidence.groups}
    of = f" of '{next(iter(criteria))}'" if len(criteria) == 1 and OVERALL not in criteria else ""
    return DidNotConverge(
        f"the rater model{of} still moved by {change:.1e} after {iterations} iterations (tolerance {TOLERANCE:.0e})"
        f"{_thin(evidence)}.",
        "Run again: the next round asks more, and all judgments so far still count.",
    )


def _thin(evidence: Evidence) -> str:
    facets = zip(evidence.facets, evidence.told.tolist(), strict=True)
    few = {facet.rater for facet, n in facets if n < THIN and not facet.is_gold}
    count, once = len(evidence.responses), int((evidence.judged == 1).sum())
    raters = f", {len(few)} raters gave fewer than {THIN} judgments of a kind" if few else ""
    return f": {once} of {count} responses were judged once{raters}" if once or few else ""
