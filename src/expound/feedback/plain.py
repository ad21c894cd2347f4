"""What simple counting says of the same judgments, every rater alike: to be read beside the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from expound.feedback.categories import collect_votes, label_verdicts
from expound.feedback.evidence import Graded, by_criterion, collect, totals
from expound.feedback.skill import fit_equal
from expound.feedback.verdicts import by_view, pair_verdicts
from expound.records import AnyVerdict, Check, CheckVerdict, PairVerdict, Rating, Settlement, Verdict

EVEN = 1e-9


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


# --- beside the verdicts ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    """What plain counting says: p_left of pairs, shares of votes of labels, mean ratings."""

    pairs: Mapping[tuple[str, str, str], float]
    labels: Mapping[tuple[str, str, str], float]
    means: Mapping[tuple[str, str], float]

    def of(self, verdict: AnyVerdict) -> float | None:
        """Return the number that stands where the verdict's own does, or None where plain counting has none."""
        match verdict:
            case PairVerdict(left, right, criterion):
                return self.pairs.get((left, right, criterion))
            case CheckVerdict(response, criterion, label):
                return self.labels.get((response, criterion, label))
            case Verdict(response, criterion):
                return self.means.get((response, criterion))


def count_plainly(judgments: Sequence[Graded | Check]) -> Plain:
    """Return what plain counting says of judgments. Errors: JudgmentError; DidNotConverge."""
    pairs = equal_pairs([one for one in judgments if not isinstance(one, Check)])
    labels = majority_labels([one for one in judgments if isinstance(one, Check)])
    means = mean_ratings([one for one in judgments if isinstance(one, Rating)])
    return Plain(
        {(one.left, one.right, one.criterion): one.p_left for one in pairs},
        {(one.response, one.criterion, one.label): one.p for one in labels},
        {(one.response, one.criterion): one.value for one in means},
    )


@dataclass(frozen=True)
class Difference:
    """What is judged otherwise than plain counting would, and what either says."""

    about: str
    settled: str
    plain: str


@dataclass(frozen=True)
class Beside:
    """How the verdicts of a kind and criterion go with plain counting; where they do not, the most telling first."""

    sentence: str
    differences: tuple[Difference, ...]


def beside(settlement: Settlement, plain: Plain) -> tuple[Beside, ...]:
    """Return how the verdicts of a settlement differ from plain counting, for each kind and criterion.

    Pairs differ in the side that is likelier, labels in the likeliest one, rated responses in their place in the order.
    """
    pairs = by_criterion(settlement.pairs)
    found = [_beside_pairs(criterion, told, plain) for criterion, told in pairs.items()]
    found += [_beside_labels(criterion, told, plain) for criterion, told in by_criterion(settlement.checks).items()]
    rated = [one for one in settlement.verdicts if one.criterion not in pairs and plain.of(one) is not None]
    return (*found, *(_beside_means(criterion, told, plain) for criterion, told in by_criterion(rated).items()))


def _beside_pairs(criterion: str, pairs: Sequence[PairVerdict], plain: Plain) -> Beside:
    sides = [(pair, plain.pairs[pair.left, pair.right, pair.criterion]) for pair in pairs]
    other = [(pair, p) for pair, p in sides if _side(pair.p_left) != _side(p)]
    other.sort(key=lambda one: -abs(one[0].p_left - one[1]))
    return _counted(f"pairs by '{criterion}'", len(pairs), [_turned(one, p) for one, p in other])


def _turned(pair: PairVerdict, plain: float) -> Difference:
    """Return what differs of a pair, the preferred response first."""
    first, second, ours, theirs = pair.left, pair.right, pair.p_left, plain
    if ours < 0.5:
        first, second, ours, theirs = second, first, 1 - ours, 1 - theirs
    return Difference(f"{first} before {second}", f"{ours:.2f}", f"{theirs:.2f} with equal raters")


def _beside_labels(criterion: str, checks: Sequence[CheckVerdict], plain: Plain) -> Beside:
    best: dict[str, CheckVerdict] = {}
    most: dict[str, tuple[float, str]] = {}
    for one in checks:
        best.setdefault(one.response, one)
        share = plain.labels[one.response, criterion, one.label]
        most[one.response] = max(most.get(one.response, (0.0, "")), (share, one.label))
    other = [one for one in best.values() if plain.labels[one.response, criterion, one.label] < most[one.response][0]]
    told = [
        Difference(one.response, f"{one.label} ({one.p:.2f})", f"{most[one.response][1]} by the majority")
        for one in sorted(other, key=lambda one: -one.p)
    ]
    return _counted(f"labels of '{criterion}'", len(best), told)


def _beside_means(criterion: str, verdicts: Sequence[Verdict], plain: Plain) -> Beside:
    means = [plain.means[one.response, criterion] for one in verdicts]
    ours, theirs = (rankdata([-value for value in values]) for values in ([one.value for one in verdicts], means))
    moved = sorted(zip(verdicts, ours.tolist(), theirs.tolist(), strict=True), key=lambda one: -abs(one[1] - one[2]))
    told = [Difference(one.response, f"place {ours:g}", f"place {theirs:g} by the mean") for one, ours, theirs in moved]
    count = f"{len(verdicts)} responses rated by '{criterion}'"
    if len(set(ours)) < 2 or len(set(theirs)) < 2:
        return Beside(f"{count}: all alike, by the fit or by the mean.", ())
    alike = float(np.corrcoef(ours, theirs)[0, 1])
    sentence = f"{count}: their order and that of the mean ratings go together with a rank correlation of {alike:.2f}."
    return Beside(sentence, tuple(one for one, (_, ours, theirs) in zip(told, moved, strict=True) if ours != theirs))


def _counted(what: str, total: int, told: Sequence[Difference]) -> Beside:
    same = total - len(told)
    sentence = f"{total} {what}: {same} ({100 * same // total} %) as plain counting, which takes all raters alike."
    return Beside(sentence, tuple(told))


def _side(p: float) -> int:
    return 0 if abs(p - 0.5) < EVEN else 1 if p > 0.5 else -1
