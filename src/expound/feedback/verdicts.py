"""What the panel thinks of every response, and how far each rater is to be trusted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import expit, ndtr, ndtri

from expound.errors import NothingToLearn
from expound.feedback.categories import Confusions, Votes, collect_votes, fit_confusions, kappas, label_verdicts
from expound.feedback.evidence import Evidence, Floats, Graded, by_criterion, collect
from expound.feedback.skill import Fit, Quality, fit
from expound.records import (
    OVERALL,
    BallotKind,
    Check,
    Comparison,
    Judgment,
    PairVerdict,
    Ranking,
    Rating,
    Settlement,
    Skill,
    Verdict,
)

FEWEST_TO_ACCUSE = 10
SURE = 0.9
RANDOM_BELOW, RANDOM_SHARE = 0.4, 0.7
LEAST_TO_PLACE = 0.2  # discrimination below which a severity is a quotient of noise
KINDS = ("comparison", "ranking", "rating", "check")  # whose discrimination a rater's line shows: the first there is
DISCRIMINATIONS = np.linspace(-8, 8, 321)

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
DEVIATIONS = 4 * (_NODES + 1)  # of a half-normal variable, out to eight
DENSITY = 4 * _WEIGHTS * np.sqrt(2 / np.pi) * np.exp(-(DEVIATIONS**2) / 2)


@dataclass(frozen=True)
class View:
    """The fit of a criterion to the judgments that speak of it: of `overall`, all of them."""

    criterion: str
    judgments: Sequence[Graded]
    evidence: Evidence
    found: Fit


@dataclass(frozen=True)
class Checked:
    """The fit of the checks of one criterion."""

    votes: Votes
    found: Confusions


def settle(judgments: Sequence[Judgment], round_: int) -> Settlement:
    """Return verdicts and skills from the newest revision of every judgment; what neither orders nor checks is unread.

    Comparisons, rankings and ratings of every criterion speak of one quality, `overall`, each kind and criterion with
    its own discrimination; besides, each criterion is settled from its own. Verdicts are in prior standard deviations
    or, of a criterion that was only rated, the rating to expect. Skills are those of `overall` and the checks.
    Errors: NothingToLearn without judgments; JudgmentError; DidNotConverge.
    """
    graded = [found for found in judgments if isinstance(found, Comparison | Ranking | Rating)]
    checks = [found for found in judgments if isinstance(found, Check)]
    if not graded and not checks:
        raise NothingToLearn(
            f"round {round_} has no judgment to settle.", "Run 'expound serve' and have its ballots answered."
        )
    views = _views(graded)
    checked = [Checked(votes, fit_confusions(votes)) for votes in map(collect_votes, by_criterion(checks).values())]
    return Settlement(
        round=round_,
        verdicts=tuple(verdict for view in views for verdict in _verdicts(view)),
        pairs=tuple(
            pair for view in views for pair in pair_verdicts(view.criterion, view.evidence, view.found.quality)
        ),
        skills=_skills(views[:1], checked),
        iterations=views[0].found.iterations if views else max(one.found.iterations for one in checked),
        judgments_hash=judgments_hash([*graded, *checks]),
        checks=tuple(label for one in checked for label in label_verdicts(one.votes, one.found.posterior)),
    )


def judgments_hash(judgments: Sequence[Graded | Check]) -> str:
    """Return 20 hex digits of what was said, whatever the order."""
    lines = sorted(repr(_said(judgment)) for judgment in judgments)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20]


def _said(judgment: Graded | Check) -> tuple[object, ...]:
    about: tuple[object, ...] = (judgment.rater, judgment.ballot, judgment.criterion, judgment.revision)
    known = () if judgment.gold is None else ("gold", judgment.gold)
    match judgment:
        case Comparison():
            side = (judgment.left, judgment.right, judgment.choice, judgment.strength, judgment.ties)
            return (*about, *side, *(() if judgment.has_sides else ("no sides",)), *known)
        case Ranking():
            return (*about, judgment.tiers, *known)
        case Rating():
            return (*about, judgment.response, judgment.value, judgment.scale, *known)
        case Check():
            return (*about, judgment.response, judgment.value, *known)


# --- verdicts -----------------------------------------------------------------------------------------------------


def by_view(judgments: Sequence[Graded]) -> list[tuple[str, Sequence[Graded]]]:
    """Return `overall` with all judgments, and every other criterion with its own; nothing without judgments."""
    others = [(criterion, own) for criterion, own in by_criterion(judgments).items() if criterion != OVERALL]
    return [(OVERALL, judgments), *others] if judgments else []


def _views(judgments: Sequence[Graded]) -> tuple[View, ...]:
    views: list[View] = []
    for criterion, own in by_view(judgments):
        if views and len(own) == len(judgments):  # the only criterion there is: overall is its fit
            views.append(replace(views[0], criterion=criterion))
        else:
            evidence = collect(own)
            views.append(View(criterion, own, evidence, fit(evidence)))
    return tuple(views)


def _verdicts(view: View) -> Iterator[Verdict]:
    quality = view.found.quality
    value, sd = quality.value, np.sqrt(quality.variance)
    if view.criterion != OVERALL and not view.evidence.pairs:
        value, sd = _expected_rating(view, sd)
    rows = zip(view.evidence.responses, value.tolist(), sd.tolist(), view.evidence.judged.tolist(), strict=True)
    for response, mean, error, n in rows:
        yield Verdict(response, view.criterion, mean, error, n)


def _expected_rating(view: View, sd: Floats) -> tuple[Floats, Floats]:
    """Return the rating that an average rater is expected to give, on the scale used most, and its error."""
    scales = Counter(found.scale for found in view.judgments if isinstance(found, Rating))
    (lowest, highest), _ = max(scales.items(), key=lambda found: (found[1], found[0]))
    number = [scale.categories for scale in view.evidence.scales].index(highest - lowest + 1)
    mean = float(view.found.priors.mean[0])
    cuts = view.found.ways.cuts[number, 1 : highest - lowest + 1]
    reached = expit(mean * view.found.quality.value[:, None] - cuts)
    return lowest + reached.sum(axis=1), abs(mean) * (reached * (1 - reached)).sum(axis=1) * sd


def pair_verdicts(criterion: str, evidence: Evidence, quality: Quality) -> tuple[PairVerdict, ...]:
    """Return each compared pair once, the smaller id left."""
    compared = slice(evidence.pairs)
    left, right = evidence.first[compared], evidence.second[compared]
    low, high = np.minimum(left, right), np.maximum(left, right)
    _, places = np.unique(low * len(evidence.responses) + high, return_index=True)
    difference = quality.judged[places] * np.where(left[places] == low[places], 1, -1)
    likely = ndtr(difference / np.sqrt(quality.judged_variance[places])).tolist()
    names = evidence.responses
    rows = zip(low[places].tolist(), high[places].tolist(), likely, strict=True)
    return tuple(PairVerdict(names[one], names[two], criterion, p) for one, two, p in rows)


# --- skills -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """How one rater does in one kind of judgment about one criterion: `n` judgments, skill and its standard error."""

    rater: str
    kind: BallotKind | Literal["check"]
    n: int
    skill: float
    error: float
    discrimination: float
    offset: float = 0.0


def skill_of(discrimination: Floats) -> tuple[Floats, Floats]:
    """Return the skill for each discrimination d, and its slope.

    Skill is 2a − 1 with the sign of d, a the chance to order a typical pair of responses right: the mean of
    tanh(d|Δ|/2) over Δ ~ N(0, 2), by quadrature.
    """
    half = DEVIATIONS / np.sqrt(2)
    height = np.tanh(np.multiply.outer(discrimination, half))
    return height @ DENSITY, (1 - height**2) @ (DENSITY * half)


def _skills(views: Sequence[View], checked: Sequence[Checked]) -> tuple[Skill, ...]:
    lines_of: dict[str, list[Line]] = {}
    for line in (line for found in (*map(_graded_lines, views), *map(_check_lines, checked)) for line in found):
        lines_of.setdefault(line.rater, []).append(line)
    skills = [_skill(lines) for _, lines in sorted(lines_of.items())]
    median = float(np.median([found.skill for found in skills]))
    return tuple(replace(found, alarm=_alarm(found, median)) for found in skills)


def _graded_lines(view: View) -> Iterator[Line]:
    ways = view.found.ways
    skill, slope = skill_of(ways.discrimination)
    error = slope * np.sqrt(view.found.information.discrimination_variance)
    columns = (view.evidence.told, skill, error, ways.discrimination, ways.offset)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for facet, row in zip(view.evidence.facets, rows, strict=True):
        if not facet.is_gold:
            yield Line(facet.rater, facet.group.kind, *row)


def _check_lines(checked: Checked) -> Iterator[Line]:
    """Yield a line of each rater; in it the discrimination is that which has the skill."""
    skill, error = kappas(checked.found)
    n = np.bincount(checked.votes.rater)
    discrimination = np.interp(skill, skill_of(DISCRIMINATIONS)[0], DISCRIMINATIONS)
    rows = zip(n.tolist(), skill.tolist(), error.tolist(), discrimination.tolist(), strict=True)
    for rater, row in zip(checked.votes.raters, rows, strict=True):
        yield Line(rater, "check", *row)


def _skill(lines: Sequence[Line]) -> Skill:
    """Return one rater's line: all kinds averaged by their judgments, the error by the delta method."""
    n, skill, error, discrimination, offset = np.array(
        [(line.n, line.skill, line.error, line.discrimination, line.offset) for line in lines]
    ).T
    kind = np.array([line.kind for line in lines])
    share = n / n.sum()
    decisive = kind == min((line.kind for line in lines), key=KINDS.index)
    is_comparison = kind == "comparison"
    can_place = (kind == "rating") & (np.abs(discrimination) >= LEAST_TO_PLACE)
    severity = -offset / np.where(can_place, discrimination, 1.0)
    return Skill(
        rater=lines[0].rater,
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
