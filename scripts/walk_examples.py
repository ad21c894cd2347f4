"""Walk the four examples through two rounds with the simulated panel, sizes lowered, and show what came of each.

Resumes by example: a finished one is not run again. Prints of each what the hidden utility says and three pairs of
before and after, drawn by seed, and at the end a table. The last line is JSON; the exit code is 0 when all examples
reached their report and none got worse: no difference to the reference has a 95 % interval below zero.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap

from demo_seeds import last_round, told_of

import expound
from expound import demonstration
from expound.creation import examples
from expound.files import write_file
from expound.panel.simulated import gold_of
from expound.project import Project, open_project
from expound.reporting.progress import progress_for
from expound.reporting.report import Pair, Side, draw_pairs

SETTINGS = {
    "asking.criteria": '["overall"]',
    "ppo.updates": "5",
    "ppo.learning_rate": "1.2e-3",  # five updates go about as far as eight with the examples' own
    "measuring.responses": "2",
}
FEWER_PROMPTS = {"answer": {"project.prompts": '"prompts/[ew]*"'}}  # of three files two, as the other examples have
PAIRS, WIDTH = 3, 58


def walk(folder: Path, example: str) -> dict[str, object]:
    """Walk one example and return its figures."""
    if not (folder / "project.toml").exists():
        expound.init(folder, example=example)
    change(folder / "project.toml", SETTINGS | FEWER_PROMPTS.get(example, {}))
    progress = progress_for(sys.stderr)
    sys.stdout.write(f"\n=== {example}\n")
    shown = demonstration.walk(folder, 0, progress)
    with open_project(folder, progress, lock=False) as project:
        seconds = sum(sum(project.seconds(one).values()) for one in project.book.rounds())
        pairs = draw_pairs(project.book, demonstration.ROUNDS, last_round(project).seed, PAIRS)
        sys.stdout.write("\n".join([shown.text, *(line for pair in pairs for line in side_by_side(project, pair)), ""]))
        return {
            "example": example,
            "seconds": seconds,
            **told_of(project, shown),
            "report": str(folder / "report.html"),
        }


def change(path: Path, values: dict[str, str]) -> None:
    """Give keys of a project.toml, as "table.key", other values; done again it changes nothing."""
    text = path.read_text(encoding="utf-8")
    for place, value in values.items():
        table, key = place.split(".")
        text, found = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        if not found:
            text = text.replace(f"[{table}]\n", f"[{table}]\n{key} = {value}\n", 1)
    write_file(path, text)


def side_by_side(project: Project, pair: Pair) -> Iterator[str]:
    """Yield a pair as lines in two columns, before and after, under the question and how the panel voted."""
    votes = f"{pair.votes_before} votes for before, {pair.votes_after} for after, {pair.ties} for neither"
    yield from ("", f"{pair.question} ({pair.name}; {votes})")
    columns = [
        wrap(f"{name}, utility {utility(project, pair.name, side):.2f}: {side.text}", WIDTH)
        for name, side in (("Before", pair.before), ("After", pair.after))
    ]
    for left, right in zip_longest(*columns, fillvalue=""):
        yield f"  {left:{WIDTH}}  {right}".rstrip()


def utility(project: Project, name: str, side: Side) -> float:
    """Return the hidden utility of one side of a pair."""
    prompt = next(one for one in project.book.prompts("held_out") if one.name == name)
    return gold_of(prompt, side.text, finished=side.finished)


def row(figures: dict[str, object]) -> str:
    """Return an example as a row of a Markdown table."""
    differences, form = figures["differences"], figures["form"]
    assert isinstance(differences, dict)
    assert isinstance(form, dict)
    told = [f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" for mean, low, high in differences.values()]
    shares = [f"{form[name]:.2f}" for name in ("copied", "repeated")]
    cells = [figures["example"], *told, *shares, f"{figures['seconds']:.0f}"]
    return f"| {' | '.join(map(str, cells))} |"


def holds(figures: dict[str, object]) -> bool:
    """Return whether an example reached its report and did not get worse."""
    differences = figures["differences"]
    assert isinstance(differences, dict)
    return Path(str(figures["report"])).exists() and all(high >= 0 for _, _, high in differences.values())


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("expound-examples"))
    parser.add_argument("--examples", nargs="+", choices=examples(), default=examples())
    given = parser.parse_args()
    found = [walk(given.folder / example, example) for example in given.examples]
    good = all(holds(figures) for figures in found)
    head = "| example | as sampled | unfinished tails cut | greedy | copied | repeated | seconds |"
    sys.stdout.write("\n".join(["", head, "|---" * head.count(" | ") + "|---|", *map(row, found), ""]))
    sys.stdout.write(json.dumps({"benchmark": "walk-examples", "figures": found, "holds": good}) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
