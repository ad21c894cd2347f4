"""Learning curves of both sides on short questions: what is run, what is kept, and what is read from them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from benchmarks.beside_trl.our_side import product_rate
from benchmarks.beside_trl.sides import Line, Side
from benchmarks.beside_trl.task import HELD_OUT, HERE, SHORT, TRAIN, Work
from benchmarks.beside_trl.work import ids_of, questions, say, weights_folder
from expound.models.loading import load

TRL_CURVES = HERE / "trl.json"
RATES = {"trl": (3e-6, 1e-5, 3e-5), "ours": (2e-4, 6e-4, 2e-3)}
"""Learning rates among which each side chooses: its default, about three times and ten times it."""
TUNING_SEED, SEEDS = 100, (0, 1, 2)
TUNING_UPDATES, UPDATES = 8, 12
LEVELS = (0.1, 0.2, 0.3)
"""Held-out rewards whose first crossing counts; the reference is at zero, one is a spread of its rewards."""
DRAWS = 2000

Curves = dict[str, list[Line]]


def learning_work() -> Work:
    """Return the work of a curve; rate, seed and number of updates are still to be set."""
    folder = weights_folder()
    loaded = load(str(folder))
    train, held_out = (ids_of(loaded, questions(SHORT, topics)) for topics in (TRAIN, HELD_OUT))
    return Work(
        weights=str(folder),
        wording=SHORT,
        train=train,
        held_out=held_out,
        rate=0.0,
        seed=0,
        updates=UPDATES,
        episodes=16,
        new_tokens=24,
        epochs=4,
        minibatches=2,
        ends=True,
        look=2,
        held_responses=4,
    )


def curve(side: str, work: Work, progress: Callable[[Line], None]) -> list[Line]:
    """Return all lines of a run, one thread, its held-out looks among them."""
    lines = []
    with Side(side, work, options={"OMP_NUM_THREADS": "1"}) as process:
        while not lines or lines[-1]["update"] < work.updates:
            lines.append(process.read())
            progress(lines[-1])
    return lines


def run_all(side: str, kept: Path, works: Mapping[str, Work]) -> Curves:
    """Return the curves of some works by name; each is kept when it is done and not run again."""
    held: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"curves": {}}
    for name, work in works.items():
        if name not in held["curves"]:
            say(f"{side}: {name}, {work.updates} updates")
            held["curves"][name] = curve(side, work, lambda line: say(f"  {line['update']}: {line.get('held_reward')}"))
            held |= {"machine": machine(), "rate": product_rate()}
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    return {name: held["curves"][name] for name in works}


def all_of(kept: Path) -> Curves:
    """Return all curves that are kept in a file."""
    curves: Curves = json.loads(kept.read_text())["curves"]
    return curves


def machine() -> dict[str, str]:
    """Return what a kept time depends on."""
    return {"machine": platform.machine(), "cores": str(os.cpu_count()), "torch": torch.__version__}


def grid_of(side: str) -> dict[str, Work]:
    """Return the runs among which a side chooses its learning rate."""
    base = replace(learning_work(), seed=TUNING_SEED, updates=TUNING_UPDATES, held_responses=2)
    return {f"rate {rate:g}": replace(base, rate=rate) for rate in RATES[side]}


def best_rate(curves: Curves, works: Mapping[str, Work]) -> float:
    """Return the learning rate whose held-out rewards are the highest on the mean of the looks."""
    return works[max(curves, key=lambda name: fmean(looks(curves[name])[1]))].rate


def looks(lines: Sequence[Line], field: str = "held_reward") -> tuple[list[float], list[float]]:
    """Return CPU seconds and a field at the held-out looks of a curve."""
    seen = [line for line in lines if field in line]
    return [line["cpu_total"] for line in seen], [line[field] for line in seen]


def area(lines: Sequence[Line]) -> float:
    """Return the mean held-out reward over the updates of a curve, by trapezoids."""
    updates = [line["update"] for line in lines if "held_reward" in line]
    return float(np.trapezoid(looks(lines)[1], updates) / updates[-1])


def crossing(lines: Sequence[Line], level: float) -> tuple[float, float]:
    """Return CPU seconds and KL where the held-out reward first reaches a level, in a line between two looks.

    Infinite and not a number when it never does.
    """
    seconds, rewards = looks(lines)
    kls = looks(lines, "held_kl")[1]
    for place, reward in enumerate(rewards):
        if reward >= level:
            before = max(0, place - 1)
            gone = 1.0 if place == before else (level - rewards[before]) / (reward - rewards[before])
            return tuple(one[before] + gone * (one[place] - one[before]) for one in (seconds, kls))  # type: ignore[return-value]
    return float("inf"), float("nan")


def ratio_interval(theirs: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Return the ratio of means and its 95 % bootstrap interval over seeds, both sides drawn by themselves."""
    generator = np.random.default_rng(0)
    draws = [
        np.mean(generator.choice(theirs, len(theirs))) / np.mean(generator.choice(ours, len(ours)))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(draws, (0.025, 0.975))
    return fmean(theirs) / fmean(ours), float(low), float(high)
