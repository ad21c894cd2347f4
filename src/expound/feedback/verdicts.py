"""What the panel thinks of every response, and how far each rater is to be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri

from expound.errors import NothingToLearn
from expound.feedback.evidence import Evidence, Floats, Ints, collect
from expound.feedback.skill import Fit, fit
from expound.records import OVERALL, Comparison, Judgment, PairVerdict, Rating, Settlement, Skill, Verdict

FEWEST_TO_ACCUSE = 10
SURE = 0.9
RANDOM_BELOW, RANDOM_SHARE = 0.4, 0.7
LEAST_TO_PLACE = 0.2  # discrimination below which a severity is a quotient of noise

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
DEVIATIONS = 4 * (_NODES + 1)  # of a half-normal variable, out to eight
DENSITY = 4 * _WEIGHTS * np.sqrt(2 / np.pi) * np.exp(-(DEVIATIONS**2) / 2)


def settle(judgments: Sequence[Judgment], round_: int) -> Settlement:
    """Return verdicts and skills from the newest revision of every judgment; skips say nothing.

    Every kind and criterion speaks of one quality, `overall`, each with its own discrimination.
    Errors: NothingToLearn without judgments; JudgmentError; DidNotConverge.
    """
    told = [found for found in judgments if isinstance(found, Comparison | Rating)]
    if not told:
        raise NothingToLearn(
            f"round {round_} has no judgment to settle.", "Run 'expound serve' and have its ballots answered."
        )
    evidence = collect(told)
    found = fit(evidence)
    return Settlement(
        round=round_,
        verdicts=_verdicts(evidence, found),
        pairs=_pairs(evidence, found),
        skills=_skills(evidence, found),
        iterations=found.iterations,
        judgments_hash=judgments_hash(told),
    )


def judgments_hash(judgments: Sequence[Comparison | Rating]) -> str:
    """Return 20 hex digits of what was said, whatever the order."""
    lines = sorted(repr(_said(judgment)) for judgment in judgments)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20]


def _said(judgment: Comparison | Rating) -> tuple[object, ...]:
    about = (judgment.rater, judgment.ballot, judgment.criterion, judgment.revision)
    if isinstance(judgment, Comparison):
        return (*about, judgment.left, judgment.right, judgment.choice, judgment.strength, judgment.ties)
    return (*about, judgment.response, judgment.value, judgment.scale)


def _verdicts(evidence: Evidence, found: Fit) -> tuple[Verdict, ...]:
    count = len(evidence.responses)
    right = np.bincount(evidence.second, minlength=count + 1)[:count]
    judged = (np.bincount(evidence.first, minlength=count) + right).tolist()
    values, sds = found.quality.value.tolist(), np.sqrt(found.quality.variance).tolist()
    rows = zip(evidence.responses, values, sds, judged, strict=True)
    return tuple(Verdict(response, OVERALL, value, sd, n) for response, value, sd, n in rows)


def _pairs(evidence: Evidence, found: Fit) -> tuple[PairVerdict, ...]:
    """Return each compared pair once, the smaller id left."""
    compared = slice(evidence.comparisons)
    left, right = evidence.first[compared], evidence.second[compared]
    low, high = np.minimum(left, right), np.maximum(left, right)
    _, places = np.unique(low * len(evidence.responses) + high, return_index=True)
    difference = found.quality.judged[places] * np.where(left[places] == low[places], 1, -1)
    likely = ndtr(difference / np.sqrt(found.quality.judged_variance[places])).tolist()
    names = evidence.responses
    rows = zip(low[places].tolist(), high[places].tolist(), likely, strict=True)
    return tuple(PairVerdict(names[one], names[two], OVERALL, p) for one, two, p in rows)


def skill_of(discrimination: Floats) -> tuple[Floats, Floats]:
    """Return the skill for each discrimination d, and its slope.

    Skill is 2a − 1 with the sign of d, a the chance to order a typical pair of responses right: the mean of
    tanh(d|Δ|/2) over Δ ~ N(0, 2), by quadrature.
    """
    half = DEVIATIONS / np.sqrt(2)
    height = np.tanh(np.multiply.outer(discrimination, half))
    return height @ DENSITY, (1 - height**2) @ (DENSITY * half)


def _skills(evidence: Evidence, found: Fit) -> tuple[Skill, ...]:
    facets_of: dict[str, list[int]] = {}
    for number, facet in enumerate(evidence.facets):
        facets_of.setdefault(facet.rater, []).append(number)
    counts = np.bincount(evidence.facet)
    lines = [_skill(evidence, found, counts, facets) for _, facets in sorted(facets_of.items())]
    median = float(np.median([line.skill for line in lines]))
    return tuple(replace(line, alarm=_alarm(line, median)) for line in lines)


def _skill(evidence: Evidence, found: Fit, counts: Ints, facets: Sequence[int]) -> Skill:
    """Return one rater's line: facets averaged by their judgments, the error by the delta method."""
    n = counts[facets]
    skill, slope = skill_of(found.ways.discrimination[facets])
    error = slope * np.sqrt(found.information.discrimination_variance[facets])
    share = n / n.sum()
    is_comparison = np.array([evidence.facets[facet].group.kind == "comparison" for facet in facets])
    decisive = is_comparison if is_comparison.any() else ~is_comparison
    discrimination, offset = found.ways.discrimination[facets], found.ways.offset[facets]
    can_place = ~is_comparison & (np.abs(discrimination) >= LEAST_TO_PLACE)
    severity = -offset / np.where(can_place, discrimination, 1.0)
    return Skill(
        rater=evidence.facets[facets[0]].rater,
        skill=float(share @ skill),
        skill_se=float(np.sqrt(share**2 @ error**2)),
        discrimination=float(np.average(discrimination[decisive], weights=n[decisive])),
        severity=float(np.average(severity[can_place], weights=n[can_place])) if can_place.any() else None,
        side_bias=float(np.average(offset[is_comparison], weights=n[is_comparison])) if is_comparison.any() else None,
        n=int(n.sum()),
    )


def _alarm(line: Skill, median: float) -> str | None:
    """Return what is wrong with a rater; ordering raters is easy, so an accusation waits until it is nearly sure."""
    if line.n < FEWEST_TO_ACCUSE:
        return None
    if ndtr(-line.skill / line.skill_se) > SURE:
        return (
            f"inverted: in {line.n} judgments this rater prefers what the others think worse "
            f"(skill {line.skill:.2f}). They are turned round; ask whether the rater reads the question as meant."
        )
    highest = line.skill + float(ndtri(SURE)) * line.skill_se
    if highest < min(RANDOM_BELOW, RANDOM_SHARE * median):
        return (
            f"random: {line.n} judgments of this rater tell next to nothing (skill {line.skill:.2f}, at most "
            f"{highest:.2f}; the panel's middle is {median:.2f}). They weigh little; ask whether the task is clear."
        )
    return None
