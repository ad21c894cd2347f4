"""An update of PPO beside TRL 1.12's PPOTrainer: the same weights, prompts, batch, epochs, mini-batches and reward.

    PYTHONPATH=src python -m benchmarks.ppo --line four

SmolLM2-135M in fp32, 32 episodes of prompts of 53 to 58 tokens and 48 new ones, 4 epochs of 4 mini-batches. Each side is
a process of its own that does an update when it is its turn; the first update of each is not counted. Target-KL stop
and alarms are off. Lines, one at a time, each within half an hour on two cores:

four     deltas on the upper third, four responses to a prompt: at least 6 times TRL's episodes a CPU-second, at most a
         quarter of its memory, and the update at 65 % or more of the machine's rate of matrix products
one      the same with one response to a prompt: at least 4.5 times
ends     the same as four with responses that end by themselves: at least 6 times
lora     deltas on all layers, four responses: at least 2.5 times
full     the whole model, four responses: at least 1.3 times
tricks   what each of our savings is worth, without TRL
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.beside_trl.sides import Line, Side
from benchmarks.beside_trl.task import LONG, TRAIN, Work
from benchmarks.beside_trl.work import ids_of, questions, weights_folder
from benchmarks.told import Verdict, tell
from expound.models.loading import load

REPEATS = 2
MEMORY, LIMIT = 0.25, 0.65
STEADY = 0.15
"""A ratio counts when its range over the repetitions is within this share of it."""


@dataclass(frozen=True)
class Contest:
    """A line: what we do, and how many times TRL's pace it is to reach."""

    pace: float
    responses: int = 4
    mode: str = "branches"
    ends: bool = False


LINES = {
    "four": Contest(6.0),
    "one": Contest(4.5, responses=1),
    "ends": Contest(6.0, ends=True),
    "lora": Contest(2.5, mode="lora"),
    "full": Contest(1.3, mode="full"),
}

TRICKS = {
    "all of them": {},
    "the trunk is run again, not captured": {"WITHOUT": "capture"},
    "no trunk: every pass runs the whole model": {"WITHOUT": "cut"},
    "each response reads its own prompt": {"WITHOUT": "sharing"},
    "log-probabilities of all logits at once": {"WITHOUT": "head"},
}


def work_of(contest: Contest) -> Work:
    """Return the work of a line, with as many updates as are done."""
    folder = weights_folder()
    prompts = ids_of(load(str(folder)), questions(LONG, TRAIN))
    return Work(
        weights=str(folder),
        wording=LONG,
        train=prompts[: 32 // contest.responses],
        held_out=(),
        rate=1e-5,
        seed=0,
        updates=REPEATS + 1,
        responses=contest.responses,
        ends=contest.ends,
        mode=contest.mode,
        paced=True,
    )


def interleaved(sides: Sequence[Side], repeats: int) -> list[list[Line]]:
    """Return the counted updates of each side, done in turn."""
    for side in sides:
        side.update()
    rounds = [[side.update() for side in sides] for _ in range(repeats)]
    return [list(lines) for lines in zip(*rounds, strict=True)]


def row(name: str, lines: Sequence[Line]) -> str:
    """Return a row of the table."""
    cpu, wall = ([line[key] for line in lines] for key in ("cpu", "wall"))
    return (
        f"{name:42} {median(cpu):7.1f} [{min(cpu):6.1f}, {max(cpu):6.1f}] {median(wall):7.1f} "
        f"{median(cpu) / median(wall):5.2f} {max(line['peak_gib'] for line in lines):6.2f} "
        f"{lines[0]['tokens']:6} {lines[0]['steps']:6}\n"
    )


HEADER = f"{'':42} {'CPU s an update':>24} {'wall':>7} {'cores':>5} {'GiB':>6} {'tokens':>6} {'steps':>6}\n"


def beside_trl(name: str, contest: Contest) -> int:
    """Measure a line and return the exit status."""
    work = work_of(contest)
    with Side("ours", work) as ours, Side("trl", work) as trl:
        mine, theirs = interleaved((ours, trl), REPEATS)
    ratios = [other["cpu"] / own["cpu"] for own, other in zip(mine, theirs, strict=True)]
    # With responses of their own length the sides sample different ones: what counts is the time of a token.
    if contest.ends:
        ratios = [
            (other["cpu"] / other["tokens"]) / (own["cpu"] / own["tokens"])
            for own, other in zip(mine, theirs, strict=True)
        ]
    pace, steadiness = median(ratios), max(ratios) / min(ratios) - 1
    memory = max(line["peak_gib"] for line in mine) / max(line["peak_gib"] for line in theirs)
    share = median(line["share"] for line in mine)
    same = [(line["tokens"], line["steps"]) for line in (mine[0], theirs[0])]
    is_same = contest.ends or same[0] == same[1]
    sys.stdout.write(HEADER + row(f"expound, {contest.mode}", mine) + row("TRL 1.12, full", theirs))
    sys.stdout.write(
        f"{pace:.2f} times TRL's pace [{min(ratios):.2f}, {max(ratios):.2f}]; {memory:.2f} of its memory; "
    )
    sys.stdout.write(f"the update at {share:.0%} of the rate of matrix products; load {os.getloadavg()[0]:.1f}\n")
    figures = {"pace": pace, "pace_low": min(ratios), "pace_high": max(ratios), "memory": memory, "limit_share": share}
    targets = {"pace": contest.pace}
    holds = pace >= contest.pace and is_same and steadiness <= STEADY
    if name == "four":
        targets |= {"memory": MEMORY, "limit_share": LIMIT}
        holds = holds and memory <= MEMORY and share >= LIMIT
    return tell(f"ppo {name}", Verdict({one: round(value, 3) for one, value in figures.items()}, targets, holds))


def tricks() -> int:
    """Measure our side with and without each saving."""
    work, figures = replace(work_of(LINES["four"]), updates=REPEATS + 1), {}
    sys.stdout.write(HEADER)
    for name, options in TRICKS.items():
        with Side("ours", work, options={}) as whole, Side("ours", work, options=options) as less:
            lines = interleaved((whole, less), REPEATS)
        figures[name] = round(median(b["cpu"] / a["cpu"] for a, b in zip(*lines, strict=True)), 3)
        sys.stdout.write(row(name, lines[1]).rstrip() + f"   {figures[name]:.2f} times the whole\n")
    for live in (6, 30):
        with Side("ours", work) as whole, Side("ours", replace(work, live=live)) as other:
            lines = interleaved((whole, other), REPEATS)
        figures[f"{live} live layers"] = round(median(b["cpu"] / a["cpu"] for a, b in zip(*lines, strict=True)), 3)
        sys.stdout.write(row(f"{live} live layers instead of 10", lines[1]))
    return tell("ppo tricks", Verdict(figures, {}, holds=True))


def main() -> int:
    """Measure the line that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--line", choices=(*LINES, "tricks"), default="four")
    line = parser.parse_args().line
    return tricks() if line == "tricks" else beside_trl(line, LINES[line])


if __name__ == "__main__":
    sys.exit(main())
