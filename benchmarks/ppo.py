"""An update of PPO beside TRL 1.12's PPOTrainer: the same weights, prompts, batch, epochs, mini-batches and reward.

    PYTHONPATH=src python -m benchmarks.ppo --line four

SmolLM2-135M in fp32, 32 episodes of prompts of 53 to 58 tokens and 48 new ones, 4 epochs of 4 mini-batches. Each side
is a process of its own that does an update when it is its turn; the first update of each is not counted. Target-KL stop
and alarms are off. Lines, one at a time, each within half an hour on two cores:

four     deltas on the upper third, four responses to a prompt: at least 6 times TRL's episodes a CPU-second, at most a
         quarter of its memory, and the update at 65 % or more of the machine's rate of matrix products
one      the same with one response to a prompt: at least 4.5 times
ends     the same as four with responses that end by themselves: at least 6 times
lora     deltas on all layers, four responses: at least 2.5 times
full     the whole model, four responses: at least 1.3 times
tricks   what each of our savings is worth, without TRL
learning CPU seconds to the same held-out reward, three seeds, beside TRL's curves that `benchmarks.ppo_trl` left
live     the same for 6, 10 and 30 live layers, without TRL
whole    the area under the curve of mode full beside TRL's
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from benchmarks.beside_trl.curves import (
    LEVELS,
    SEEDS,
    TRL_CURVES,
    Curves,
    all_of,
    area,
    best_rate,
    crossing,
    grid_of,
    learning_work,
    ratio_interval,
    run_all,
)
from benchmarks.beside_trl.our_side import product_rate
from benchmarks.beside_trl.sides import ROOT, Line, Side
from benchmarks.beside_trl.task import LONG, TRAIN, Work
from benchmarks.beside_trl.work import ids_of, questions, weights_folder
from benchmarks.told import Verdict, tell
from expound.models.loading import load

REPEATS = 2
MEMORY, LIMIT, SOONER, PERPLEXITY = 0.25, 0.65, 5.0, 1.5
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
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


# --- learning -----------------------------------------------------------------------------------------------------


def our_curves(name: str, **changes: object) -> Curves:
    """Return our curves of three seeds, at the rate that our grid chose."""
    kept, grid = ROOT / ".bench" / f"{name}.json", grid_of("ours")
    rate = best_rate(run_all("ours", ROOT / ".bench" / "grid.json", grid), grid)
    base = replace(learning_work(), **{"rate": rate, **changes})
    return run_all("ours", kept, {f"seed {seed}": replace(base, seed=seed) for seed in SEEDS})


def their_curves() -> tuple[Curves, float]:
    """Return TRL's kept curves of three seeds, and by what its kept seconds are to be multiplied on this machine.

    One update is run again: where it is off by more than a share of 15 %, the comparison is refused.
    """
    if not TRL_CURVES.exists():
        raise SystemExit("There are no curves of TRL's yet; run: make bench NAME=ppo-trl")
    held = json.loads(TRL_CURVES.read_text())
    kept = {name: lines for name, lines in held["curves"].items() if name.startswith("seed")}
    with Side("trl", replace(learning_work(), look=0, updates=2, paced=True), options=ONE_THREAD) as side:
        now = [side.update()["cpu"] for _ in range(2)][-1]
    scale = held["rate"] / product_rate()
    known = median(line["cpu"] for lines in kept.values() for line in lines if "cpu" in line)
    if not abs(now / (known * scale) - 1) <= STEADY:
        raise SystemExit(
            f"An update of TRL's took {now:.0f} CPU seconds and not about {known * scale:.0f}: not compared."
        )
    return kept, scale


def quality(curves: Curves) -> tuple[float, float]:
    """Return perplexity under the reference, last look over first, and the last look's share of repetition."""
    last, first = (
        [[line for line in lines if "held_kl" in line][place] for lines in curves.values()] for place in (-1, 0)
    )
    shares = [fmean(line[key] for line in last) / fmean(line[key] for line in first) for key in ("held_perplexity",)]
    return shares[0], fmean(line["held_repeated"] for line in last)


def learning() -> int:
    """Compare the CPU seconds to levels of held-out reward."""
    theirs, scale = their_curves()
    ours, figures, holds = our_curves("branches"), {}, True
    for level in LEVELS:
        mine, other = ([crossing(lines, level) for lines in curves.values()] for curves in (ours, theirs))
        found = ratio_interval([scale * seconds for seconds, _ in other], [seconds for seconds, _ in mine])
        kl = fmean(kl for _, kl in mine) / fmean(kl for _, kl in other)
        never = [sum(seconds == float("inf") for seconds, _ in some) for some in (mine, other)]
        sys.stdout.write(f"reward {level:.1f}: {found[0]:.1f} times sooner [{found[1]:.1f}, {found[2]:.1f}], ")
        sys.stdout.write(f"{kl:.2f} of TRL's KL; never: {never[0]} and {never[1]} of {len(SEEDS)}\n")
        figures |= {f"sooner_{level}": found[0], f"sooner_{level}_low": found[1], f"kl_{level}": kl}
        holds = holds and found[0] >= SOONER and kl <= 1.0
    figures["perplexity"], figures["repeated"] = quality(ours)
    figures["trl_perplexity"], figures["trl_repeated"] = quality(theirs)
    holds = holds and figures["perplexity"] <= PERPLEXITY
    rounded = {name: round(value, 3) for name, value in figures.items()}
    return tell("ppo learning", Verdict(rounded, {"sooner": SOONER, "perplexity": PERPLEXITY}, holds))


def live() -> int:
    """Compare live layers by the time to reward."""
    figures = {}
    for layers in (6, 10, 30):
        curves = our_curves(f"live-{layers}", live=layers)
        for level in LEVELS:
            found = [crossing(lines, level) for lines in curves.values()]
            seconds, kl = (fmean(one[place] for one in found) for place in (0, 1))
            sys.stdout.write(f"{layers:2} live layers, reward {level:.1f}: {seconds:6.0f} CPU s, KL {kl:.2f}\n")
            figures[f"{layers} layers, {level}"] = round(seconds, 1)
        sys.stdout.write(f"{layers:2} live layers: mean held-out reward {fmean(map(area, curves.values())):+.3f}\n")
        figures[f"{layers} layers, area"] = round(fmean(map(area, curves.values())), 3)
    return tell("ppo live", Verdict(figures, {}, holds=True))


def whole() -> int:
    """Compare the area under the curves of mode full and of TRL, at TRL's learning rate."""
    theirs, _ = their_curves()
    grid = grid_of("trl")
    rate = best_rate({name: lines for name, lines in all_of(TRL_CURVES).items() if name in grid}, grid)
    ours = our_curves("full", mode="full", rate=rate)
    mine, other = (fmean(map(area, curves.values())) for curves in (ours, theirs))
    sys.stdout.write(f"mean held-out reward {mine:+.3f}, TRL's {other:+.3f}\n")
    off = mine / other - 1
    return tell(
        "ppo whole", Verdict({"ours": round(mine, 3), "trl": round(other, 3)}, {"off": STEADY}, abs(off) <= STEADY)
    )


def main() -> int:
    """Measure the line that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    others = {"tricks": tricks, "learning": learning, "live": live, "whole": whole}
    parser.add_argument("--line", choices=(*LINES, *others), default="four")
    line = parser.parse_args().line
    return others[line]() if line in others else beside_trl(line, LINES[line])


if __name__ == "__main__":
    sys.exit(main())
