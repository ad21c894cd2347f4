"""Walk the demonstration for seeds 0, 1 and 2 and print what the hidden utility says of each.

Resumes by seed: a finished seed is not run again. The last line is JSON; the exit code is 0 when on every seed the
difference to the reference after round 2 has a 95 % interval above zero, as sampled, with unfinished tails cut and
greedy, responses neither copy nor repeat too much, and a rater is found who prefers what the others think worse.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from expound import demonstration
from expound.project import Project, open_project
from expound.records import Round
from expound.reporting.progress import progress_for

MOST_COPIED = 0.25
MOST_REPEATED = 0.05


def walk(folder: Path, seed: int) -> dict[str, object]:
    """Walk one seed and return its figures."""
    progress = progress_for(sys.stderr)
    begun = time.monotonic()
    shown = demonstration.walk(folder, seed, progress)
    sys.stdout.write(f"\nseed {seed}{shown.text}\n")
    with open_project(folder, progress) as project:
        skills = {skill.rater: skill.discrimination for skill in project.require_settlement(last_round(project)).skills}
        told = told_of(project, shown)
    return {"seed": seed, "seconds": time.monotonic() - begun, **told, "discriminations": skills}


def last_round(project: Project) -> Round:
    """Return the round with which the walk ended."""
    return project.round(demonstration.ROUNDS)


def told_of(project: Project, shown: demonstration.Shown) -> dict[str, object]:
    """Return the last round's differences of hidden utility with their intervals, and the form of its responses."""
    last = last_round(project)
    differences = {
        line.how: (line.difference, *(line.interval or ())) for line in shown.gold if line.round == last.number
    }
    return {"differences": differences, "form": demonstration.form_of(project, project.require_tuned(last).id)}


def holds(figures: dict[str, object]) -> bool:
    """Return whether a seed reached what the demonstration promises."""
    differences, form = figures["differences"], figures["form"]
    raters = figures["discriminations"]
    assert isinstance(differences, dict)
    assert isinstance(raters, dict)
    assert isinstance(form, dict)
    above = len(differences) == 3 and all(low > 0 for _, low, _ in differences.values())
    is_found = min(raters.values()) < 0
    return above and is_found and form["copied"] <= MOST_COPIED and form["repeated"] <= MOST_REPEATED


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("expound-demo-seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    found = [walk(given.folder / f"seed-{seed}", seed) for seed in given.seeds]
    good = all(holds(figures) for figures in found)
    sys.stdout.write(json.dumps({"benchmark": "demo-seeds", "figures": found, "holds": good}) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
