"""How often settled labels and pairs are right, beside plain counting of the same judgments.

Three crowds have independent gold (rte, temporal, adult_ordinal). The published labels of ukpconvarg1 were computed
from the same votes: agreement with them tells how alike two ways of counting are, not which is right, and is shown
without a target. There, every pair's votes but one in five settle, and the left-out votes judge. What is even is right
by half. The sets are not part of the repository; `--data` names their folder.

    PYTHONPATH=src python -m benchmarks.settle_plain

The last line is JSON; the exit status is 1 where settling loses more than half a point to the best plain count.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from statistics import fmean

from benchmarks.told import Verdict, tell
from expound.feedback.categories import collect_votes, fit_confusions, label_verdicts
from expound.feedback.plain import equal_pairs, majority_labels
from expound.feedback.verdicts import settle
from expound.records import Check, CheckVerdict, Comparison, PairVerdict

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CROWDS = ("rte", "temporal", "adult_ordinal")
CHOICES = {"a1": -1, "equal": 0, "a2": 1}
MOST_LOST = 0.005
ALMOST_NONE = 0.01  # strength with which plain Dawid-Skene draws raters together
SAME = 1e-9
FOLDS = 5
SETTLED, PUBLISHED = "settled", "published labels"

Truths = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Line:
    """One way of counting one set: agreement with gold, and CPU seconds."""

    set: str
    way: str
    accuracy: float
    seconds: float

    def text(self) -> str:
        """Return the row of the table."""
        return f"{self.set:26} {self.way:20} {self.accuracy:7.4f} {self.seconds:8.2f} s"


# --- the sets -----------------------------------------------------------------------------------------------------


def read_lines(path: Path) -> Iterator[dict[str, object]]:
    """Yield the objects of a JSON Lines file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def crowd(folder: Path, name: str) -> tuple[list[Check], Truths]:
    """Return the checks of a crowd and the gold of its items."""
    checks = [
        Check(rater=str(row["worker"]), response=str(row["item"]), value=str(row["label"]), criterion=name)
        for row in read_lines(folder / "crowd_gold" / f"{name}.labels.jsonl")
    ]
    gold = read_lines(folder / "crowd_gold" / f"{name}.gold.jsonl")
    return checks, [(str(row["item"]), str(row["gold"])) for row in gold]


@dataclass(frozen=True)
class Arguments:
    """Votes on pairs of arguments, as comparisons and as checks of the pair, and what is published of the pairs."""

    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]
    published: Truths

    def without(self) -> tuple[Arguments, Truths]:
        """Return all but the left-out votes of each pair, and those: one in five, the first to the fifth by name."""
        place: Counter[str] = Counter()
        kept: list[bool] = []
        for check in self.checks:
            kept.append(place[check.response] % FOLDS != zlib.crc32(check.response.encode()) % FOLDS)
            place[check.response] += 1
        left_out = [(check.response, check.value) for check, stays in zip(self.checks, kept, strict=True) if not stays]
        comparisons, checks = tuple(compress(self.comparisons, kept)), tuple(compress(self.checks, kept))
        return Arguments(comparisons, checks, self.published), left_out


def read_arguments(folder: Path) -> Arguments:
    """Return the votes and the published labels of ukpconvarg1."""
    comparisons: list[Comparison] = []
    checks: list[Check] = []
    published: list[tuple[str, str]] = []
    for row in read_lines(folder / "ukpconvarg1" / "pairs.jsonl"):
        left, right, votes = str(row["a1"]), str(row["a2"]), row["votes"]
        assert isinstance(votes, list)
        for vote in votes:
            comparisons.append(Comparison(rater=vote["w"], left=left, right=right, choice=CHOICES[vote["v"]]))
            checks.append(Check(rater=vote["w"], response=f"{left} {right}", value=vote["v"], criterion="pairs"))
        if row["gold"] is not None:
            published.append((f"{left} {right}", str(row["gold"])))
    return Arguments(tuple(comparisons), tuple(checks), published)


# --- counting -----------------------------------------------------------------------------------------------------


def label_accuracy(verdicts: Sequence[CheckVerdict], truths: Truths) -> float:
    """Return the share of truths whose item has them for its likeliest label; labels in a tie share it."""
    best: dict[str, list[CheckVerdict]] = {}
    for verdict in verdicts:
        first = best.setdefault(verdict.response, [verdict])
        if verdict is not first[0] and verdict.p > first[0].p - SAME:
            first.append(verdict)
    labels = {item: [verdict.label for verdict in first] for item, first in best.items()}
    return fmean((truth in labels[item]) / len(labels[item]) for item, truth in truths if item in labels)


def pair_accuracy(pairs: Sequence[PairVerdict], truths: Truths) -> float:
    """Return the share of decided truths whose side is the likelier one; an even pair is half right."""
    first = {f"{pair.left} {pair.right}": pair.p_left for pair in pairs}
    first |= {f"{pair.right} {pair.left}": 1 - pair.p_left for pair in pairs}
    decided = [(first[item] - 0.5, truth) for item, truth in truths if truth != "equal" and item in first]
    return fmean(0.5 if abs(lead) < SAME else (lead > 0) == (truth == "a1") for lead, truth in decided)


def vote_shares(comparisons: Sequence[Comparison]) -> tuple[PairVerdict, ...]:
    """Return for each pair the share of the decided votes for its left."""
    counts: dict[tuple[str, str], int] = {}
    for said in comparisons:
        key = (said.left, said.right)
        counts[key] = counts.get(key, 0) - said.choice
    return tuple(PairVerdict(one, two, "overall", (n > 0) + (n == 0) / 2) for (one, two), n in counts.items())


def plain_dawid_skene(checks: Sequence[Check]) -> tuple[CheckVerdict, ...]:
    """Return the labels of plain Dawid-Skene, raters not drawn together."""
    votes = collect_votes(checks)
    return label_verdicts(votes, fit_confusions(votes, strength=ALMOST_NONE, iterations=5000).posterior)


def timed(set_: str, way: str, accuracy: Callable[[], float]) -> Line:
    """Return the accuracy with the CPU seconds that it took."""
    begin = time.process_time()
    value = accuracy()
    return Line(set_, way, value, time.process_time() - begin)


def check_lines(name: str, checks: Sequence[Check], truths: Truths) -> Iterator[Line]:
    """Yield the ways of counting checks."""
    yield timed(name, "majority", lambda: label_accuracy(majority_labels(checks), truths))
    if name in CROWDS:  # on the largest set it takes minutes
        yield timed(name, "plain Dawid-Skene", lambda: label_accuracy(plain_dawid_skene(checks), truths))
    yield timed(name, SETTLED, lambda: label_accuracy(settle(checks, 1).checks, truths))


def pair_lines(name: str, comparisons: Sequence[Comparison], truths: Truths) -> Iterator[Line]:
    """Yield the ways of counting comparisons."""
    yield timed(name, "majority", lambda: pair_accuracy(vote_shares(comparisons), truths))
    yield timed(name, "Bradley-Terry", lambda: pair_accuracy(equal_pairs(comparisons), truths))
    yield timed(name, SETTLED, lambda: pair_accuracy(settle(comparisons, 1).pairs, truths))


def measure(folder: Path) -> Iterator[Line]:
    """Yield a line for each set and way of counting."""
    for name in CROWDS:
        yield from check_lines(name, *crowd(folder, name))
    arguments = read_arguments(folder)
    kept, left_out = arguments.without()
    yield from check_lines("checks, left-out votes", kept.checks, left_out)
    yield from pair_lines("pairs, left-out votes", kept.comparisons, left_out)
    yield from check_lines(f"checks, {PUBLISHED}", arguments.checks, arguments.published)
    yield from pair_lines(f"pairs, {PUBLISHED}", arguments.comparisons, arguments.published)


def verdict(lines: Sequence[Line]) -> Verdict:
    """Return what the last line says."""
    figures = {f"{line.set}: {line.way}": round(line.accuracy, 4) for line in lines}
    figures |= {f"{line.set}: seconds": round(line.seconds, 2) for line in lines if line.way == SETTLED}
    targets = {
        f"{name}: {SETTLED}": round(max(line.accuracy for line in lines if line.set == name) - MOST_LOST, 4)
        for name in dict.fromkeys(line.set for line in lines if PUBLISHED not in line.set)
    }
    return Verdict(figures, targets, all(figures[name] >= target for name, target in targets.items()))


def main() -> int:
    """Print the table and the line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    lines: list[Line] = []
    for line in measure(parser.parse_args().data):
        lines.append(line)
        sys.stdout.write(f"{line.text()}\n")
        sys.stdout.flush()
    return tell("settle_plain", verdict(lines))


if __name__ == "__main__":
    sys.exit(main())
