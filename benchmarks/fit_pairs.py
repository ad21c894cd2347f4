"""How well `expound fit` learns to prefer a right reason, on frozen states of SmolLM2-135M and two cores.

The set is ComVE (SemEval-2020 task 4; Wang et al. 2020): a sentence that makes no sense, three right reasons and two
confusing ones. Every right reason is preferred to every confusing one: 6 pairs a sentence, of 2,000 train sentences
drawn by the seed, and of all of dev, which is read once and never fitted to. Beside the reward stand chance (a majority
knows nothing of other sentences), length, and the words that a reason shares with the sentence. The published task is
to choose the right one of three; published accuracies of tuned large models are 93.7 to 95.0.

    PYTHONPATH=src python -m benchmarks.fit_pairs [--seeds 3] [--sentences 2000] [--dev 997] [--data FOLDER]

Measured, seed 0: of all pairs of dev .852 (of 200 of its sentences), .866 and .877 after 300, 700 and 2,000 train
sentences, one of three .700, .730 and .744; of pairs about equally long .889 after 2,000; about 570 CPU seconds to
read the train texts and fit, 250 to read dev. Longest .590, most shared words .631. The longer reason is right in .590
of dev's pairs and in .490 of train's: length learnt on train would be below chance, so its direction is dev's own.

Texts that were read before take no time: seconds are those of an empty cache folder (EXPOUND_CACHE names one). On
cores that others kept busy two spinning threads took .3 CPU seconds a text, with OMP_WAIT_POLICY=passive .04.

The set is not part of the repository; `--data` names its folder. The last line is JSON; the exit status is 1 where the
reward loses more than half a point to the best simple way, or reading and fitting take more CPU time than two cores
have in 20 minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean

import expound
from benchmarks.told import Verdict, tell
from expound.fitting import TextReward, counted
from expound.models.texts import Said
from expound.reporting.progress import progress_for
from expound.reward.calibration import PairAccuracy, accuracy_of
from expound.text import words

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SENTENCES = 2000
MOST_LOST, MOST_SECONDS = 0.005, 2 * 20 * 60
ASKED = "Why does this sentence make no sense? {}"

Score = Callable[[Said], float]


@dataclass(frozen=True)
class Sentence:
    """A sentence that makes no sense, its right and its confusing reasons, and of dev the published three to choose of.

    `right` is the one of the three that is right.
    """

    text: str
    reasons: tuple[str, ...]
    confusing: tuple[str, ...]
    right: str

    def said(self, reason: str) -> Said:
        """Return a reason as an answer."""
        return Said(ASKED.format(self.text), reason)

    def lines(self) -> Iterator[str]:
        """Yield the preference pairs."""
        for chosen, rejected in product(self.reasons, self.confusing):
            yield json.dumps({"prompt": ASKED.format(self.text), "chosen": chosen, "rejected": rejected})


def read_sentences(path: Path) -> list[Sentence]:
    """Return the sentences of a file of the set."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Sentence(row["nonsense"], _given(row["reasons"]), _given(row["confusing"]), row["right"]) for row in rows]


def _given(reasons: Sequence[str]) -> tuple[str, ...]:
    """Return the reasons but the few that are empty."""
    return tuple(reason for reason in reasons if reason.strip())


def write_pairs(path: Path, sentences: Sequence[Sentence]) -> Path:
    """Write the preference pairs of the sentences and return the file."""
    path.write_text("".join(f"{line}\n" for one in sentences for line in one.lines()), encoding="utf-8")
    return path


# --- the ways -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One way of choosing: of pairs, and of one in three."""

    way: str
    pairs: PairAccuracy
    of_three: float

    def text(self) -> str:
        """Return the row of the table."""
        found = self.pairs
        return f"{self.way:22} {found.share:.4f} [{found.low:.4f}, {found.high:.4f}]    {self.of_three:.4f}"


def shared_words(said: Said) -> float:
    """Return how many words a reason shares with its prompt."""
    return len(set(words(said.text.lower())) & set(words(said.prompt.lower())))


def line_of(way: str, dev: Sequence[Sentence], score: Score) -> Line:
    """Return how a score orders all pairs of dev, and how often it chooses the right one of three."""
    pairs = [(one.said(good), one.said(bad)) for one in dev for good, bad in product(one.reasons, one.confusing)]
    scores = {said: score(said) for pair in pairs for said in pair}
    return Line(way, accuracy_of(counted(pairs, scores)), fmean(_chosen(one, scores) for one in dev))


def _chosen(one: Sentence, scores: Mapping[Said, float]) -> float:
    """Return 1 where the right reason is the best of three, its share where others are as good, else 0."""
    right, others = scores[one.said(one.right)], [scores[one.said(reason)] for reason in one.confusing]
    return (right >= max(others)) / (1 + others.count(right))


def drawn(train: Sequence[Sentence], seed: int, count: int) -> list[Sentence]:
    """Return some sentences; fewer of a seed are the first of more."""
    taken = [*train]
    random.Random(seed).shuffle(taken)
    return taken[:count]


def learnt(taken: Sequence[Sentence], held_out: Path, folder: Path) -> TextReward:
    """Return the reward of some train sentences, by the command itself."""
    file = write_pairs(folder / "train.jsonl", taken)
    return expound.fit_file(file, held_out=held_out, progress=progress_for(sys.stderr))


# --- the verdict --------------------------------------------------------------------------------------------------


def verdict(simple: Sequence[Line], fitted: Sequence[Line], rewards: Sequence[TextReward], seconds: float) -> Verdict:
    """Return what the last line says; `seconds` of CPU time took seed 0."""
    best = max(line.pairs.share for line in simple)
    figures: dict[str, float] = {f"pairs: {line.way}": round(line.pairs.share, 4) for line in (*simple, *fitted)}
    figures |= {f"one of three: {line.way}": round(line.of_three, 4) for line in (*simple, *fitted)}
    for seed, reward in enumerate(rewards):
        alike = {"share": reward.alike.share, "low": reward.alike.low, "high": reward.alike.high}
        figures |= {f"about equally long, seed {seed}: {name}": round(value, 4) for name, value in alike.items()}
        figures |= {f"pairs, seed {seed}: low": round(reward.accuracy.low, 4)}
        figures |= {f"pairs, seed {seed}: high": round(reward.accuracy.high, 4)}
        figures |= {f"penalty, seed {seed}": reward.penalty}
        figures |= {f"seconds to fit, seed {seed}": round(reward.seconds_fitting, 1)}
    figures |= {"seconds to read, seed 0": round(rewards[0].seconds_reading), "CPU seconds, seed 0": round(seconds)}
    targets = {"pairs, at least": round(best - MOST_LOST, 4), "CPU seconds, seed 0, at most": MOST_SECONDS}
    holds = min(line.pairs.share for line in fitted) >= best - MOST_LOST and seconds <= MOST_SECONDS
    return Verdict(figures, targets, holds)


def main() -> int:
    """Print the table and the line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sentences", type=int, default=SENTENCES)
    parser.add_argument("--dev", type=int, default=None, help="of dev this many sentences, for a quick look")
    given = parser.parse_args()
    train, dev = (read_sentences(given.data / "comve" / f"{name}.jsonl") for name in ("train", "dev"))
    dev = dev[: given.dev]
    simple = [
        line_of("chance", dev, lambda _said: 0.0),
        line_of("longest", dev, lambda said: len(said.text)),
        line_of("most shared words", dev, shared_words),
    ]
    sys.stdout.write("way                    pairs                        one of three\n")
    sys.stdout.writelines(f"{line.text()}\n" for line in simple)
    fitted, rewards, seconds = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        held_out = write_pairs(Path(folder) / "dev.jsonl", dev)
        for seed in range(given.seeds):
            begun = time.process_time()
            reward = learnt(drawn(train, seed, given.sentences), held_out, Path(folder))
            seconds.append(time.process_time() - begun)
            rewards.append(reward)
            fitted.append(line_of(f"reward, seed {seed}", dev, reward.scores.__getitem__))
            sys.stdout.write(f"{fitted[-1].text()}\n{reward}\n")
            sys.stdout.flush()
    return tell("fit_pairs", verdict(simple, fitted, rewards, seconds[0]))


if __name__ == "__main__":
    sys.exit(main())
