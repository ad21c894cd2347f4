"""How often settled labels and pairs agree with independent gold, beside plain counting of the same judgments.

Reads three crowds whose items have independent gold (rte, temporal, adult_ordinal) and the pairs of ukpconvarg1, whose
published labels were computed from the same votes: there, agreement says how near two ways of counting are, not which
is right. An even vote is right by half. The sets are not part of the repository; `--data` names their folder.

    PYTHONPATH=src python benchmarks/settle_plain.py

The last line is JSON; the exit status is 1 where settling loses more than half a point to the best plain count.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Line:
    """One way of counting one set: agreement with gold, and CPU seconds."""

    set: str
    way: str
    accuracy: float
    seconds: float

    def text(self) -> str:
        """Return the row of the table."""
        return f"{self.set:20} {self.way:24} {self.accuracy:7.4f} {self.seconds:8.2f} s"


# --- the sets -----------------------------------------------------------------------------------------------------


def read_lines(path: Path) -> Iterator[dict[str, object]]:
    """Yield the objects of a JSON Lines file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def crowd(folder: Path, name: str) -> tuple[list[Check], Labels]:
    """Return the checks of a crowd and the gold of its items."""
    checks = [
        Check(rater=str(row["worker"]), response=str(row["item"]), value=str(row["label"]), criterion=name)
        for row in read_lines(folder / "crowd_gold" / f"{name}.labels.jsonl")
    ]
    gold = read_lines(folder / "crowd_gold" / f"{name}.gold.jsonl")
    return checks, {str(row["item"]): str(row["gold"]) for row in gold}


def arguments(folder: Path) -> tuple[list[Comparison], list[Check], Labels]:
    """Return the votes on pairs of arguments, as comparisons and as checks of the pair, and the published labels."""
    comparisons: list[Comparison] = []
    checks: list[Check] = []
    gold: dict[str, str] = {}
    for row in read_lines(folder / "ukpconvarg1" / "pairs.jsonl"):
        left, right, votes = str(row["a1"]), str(row["a2"]), row["votes"]
        assert isinstance(votes, list)
        for vote in votes:
            comparisons.append(Comparison(rater=vote["w"], left=left, right=right, choice=CHOICES[vote["v"]]))
            checks.append(Check(rater=vote["w"], response=f"{left} {right}", value=vote["v"], criterion="pairs"))
        if row["gold"] is not None:
            gold[f"{left} {right}"] = str(row["gold"])
    return comparisons, checks, gold


# --- counting -----------------------------------------------------------------------------------------------------


def label_accuracy(verdicts: Sequence[CheckVerdict], gold: Labels) -> float:
    """Return the share of items whose likeliest label is the gold one; labels in a tie share it."""
    best: dict[str, list[CheckVerdict]] = {}
    for verdict in verdicts:
        first = best.setdefault(verdict.response, [verdict])
        if verdict is not first[0] and verdict.p > first[0].p - SAME:
            first.append(verdict)
    right = [(truth in [verdict.label for verdict in best[item]]) / len(best[item]) for item, truth in gold.items()]
    return sum(right) / len(right)


def pair_accuracy(pairs: Sequence[PairVerdict], gold: Labels) -> float:
    """Return the share of decided pairs whose likelier side is the published one."""
    right: list[float] = []
    for pair in pairs:
        for one, two, p_first in ((pair.left, pair.right, pair.p_left), (pair.right, pair.left, 1 - pair.p_left)):
            truth = gold.get(f"{one} {two}", "equal")
            if truth != "equal":
                right.append((p_first > 0.5) == (truth == "a1"))
    return sum(right) / len(right)


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


def check_lines(name: str, checks: Sequence[Check], gold: Labels) -> list[Line]:
    """Return the ways of counting checks."""
    ways: dict[str, Callable[[Sequence[Check]], Sequence[CheckVerdict]]]
    ways = {"majority": majority_labels, "settled": lambda said: settle(said, 1).checks}
    if name in CROWDS:  # on the largest set it takes minutes
        ways["plain Dawid-Skene"] = plain_dawid_skene
    return [timed(name, way, lambda count=count: label_accuracy(count(checks), gold)) for way, count in ways.items()]


def pair_lines(comparisons: Sequence[Comparison], gold: Labels) -> list[Line]:
    """Return the ways of counting comparisons."""
    name = "ukpconvarg1 pairs"
    return [
        timed(name, "majority", lambda: pair_accuracy(vote_shares(comparisons), gold)),
        timed(name, "Bradley-Terry", lambda: pair_accuracy(equal_pairs(comparisons), gold)),
        timed(name, "settled", lambda: pair_accuracy(settle(comparisons, 1).pairs, gold)),
    ]


def measure(folder: Path) -> Iterator[Line]:
    """Yield a line for each set and way of counting."""
    for name in CROWDS:
        yield from check_lines(name, *crowd(folder, name))
    comparisons, checks, gold = arguments(folder)
    yield from check_lines("ukpconvarg1 checks", checks, gold)
    yield from pair_lines(comparisons, gold)


def verdict(lines: Sequence[Line]) -> dict[str, object]:
    """Return what the last line says: figures, targets and whether they hold."""
    figures = {f"{line.set}: {line.way}": round(line.accuracy, 4) for line in lines}
    figures |= {f"{line.set}: seconds": round(line.seconds, 2) for line in lines if line.way == "settled"}
    targets = {
        f"{name}: settled": round(max(line.accuracy for line in lines if line.set == name) - MOST_LOST, 4)
        for name in dict.fromkeys(line.set for line in lines)
    }
    holds = all(figures[name] >= target for name, target in targets.items())
    return {"benchmark": "settle_plain", "figures": figures, "targets": targets, "holds": holds}


def main() -> int:
    """Print the table and the line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    lines: list[Line] = []
    for line in measure(parser.parse_args().data):
        lines.append(line)
        sys.stdout.write(f"{line.text()}\n")
        sys.stdout.flush()
    found = verdict(lines)
    sys.stdout.write(f"{json.dumps(found)}\n")
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
