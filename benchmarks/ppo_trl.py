"""TRL 1.12's learning curves, run once and kept in beside_trl/trl.json: a grid of learning rates, then three seeds.

    PYTHONPATH=src python -m benchmarks.ppo_trl

About two and a half hours of one core. What is done is kept run by run, and the same command goes on from there; remove
beside_trl/trl.json to begin again. `python -m benchmarks.ppo --line learning` reads what it left.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from benchmarks.beside_trl.curves import SEEDS, TRL_CURVES, area, best_rate, grid_of, learning_work, looks, run_all
from benchmarks.told import Verdict, tell


def main() -> int:
    """Run what is missing and print the curves."""
    works = grid_of("trl")
    rate = best_rate(run_all("trl", TRL_CURVES, works), works)
    seeds = {f"seed {seed}": replace(learning_work(), rate=rate, seed=seed) for seed in SEEDS}
    curves = run_all("trl", TRL_CURVES, works | seeds)
    for name, lines in curves.items():
        told = "  ".join(f"{reward:+.2f} at {seconds:.0f} s" for seconds, reward in zip(*looks(lines), strict=True))
        sys.stdout.write(f"{name:14} {told}\n")
    figures = {name: round(area(lines), 3) for name, lines in curves.items()}
    return tell("ppo-trl", Verdict({"rate": rate, **figures}, {}, holds=True))


if __name__ == "__main__":
    sys.exit(main())
