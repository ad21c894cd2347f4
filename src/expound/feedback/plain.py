"""What simple counting says of the same judgments, every rater alike: to be read beside the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expound.feedback.categories import collect_votes, label_verdicts
from expound.feedback.evidence import Graded, by_criterion, collect, totals
from expound.feedback.skill import fit_equal
from expound.feedback.verdicts import by_view, pair_verdicts
from expound.records import Check, CheckVerdict, PairVerdict, Rating, Verdict


def majority_labels(checks: Sequence[Check]) -> tuple[CheckVerdict, ...]:
    """Return the share of votes of every category of every response, the most frequent of a response first."""
    found: list[CheckVerdict] = []
    for own in by_criterion(checks).values():
        votes = collect_votes(own)
        counts = votes.counts()
        found += label_verdicts(votes, counts / counts.sum(axis=1, keepdims=True))
    return tuple(found)


def equal_pairs(judgments: Sequence[Graded]) -> tuple[PairVerdict, ...]:
    """Return each compared pair as Bradley and Terry would judge it: the same fit with equal raters.

    Errors: JudgmentError; DidNotConverge.
    """
    found: list[PairVerdict] = []
    for criterion, own in by_view(judgments):
        if not all(isinstance(one, Rating) for one in own):
            evidence = collect(own)
            found += pair_verdicts(criterion, evidence, fit_equal(evidence))
    return tuple(found)


def mean_ratings(ratings: Sequence[Rating]) -> tuple[Verdict, ...]:
    """Return the mean rating of each response by each criterion, its standard error from the spread within responses.

    Where no response has two ratings, the spread of all stands in.
    """
    return tuple(verdict for criterion, own in by_criterion(ratings).items() for verdict in _means(criterion, own))


def _means(criterion: str, ratings: Sequence[Rating]) -> tuple[Verdict, ...]:
    names, place = np.unique([rating.response for rating in ratings], return_inverse=True)
    values = np.array([rating.value for rating in ratings], dtype=np.float64)
    n = np.bincount(place)
    mean = totals(place, values, n.size) / n
    spare = values.size - n.size
    spread = float(np.sqrt(((values - mean[place]) ** 2).sum() / spare)) if spare else float(values.std())
    rows = zip(names.tolist(), mean.tolist(), (spread / np.sqrt(n)).tolist(), n.tolist(), strict=True)
    return tuple(Verdict(response, criterion, value, sd, count) for response, value, sd, count in rows)
