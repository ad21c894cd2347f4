"""The table of bad input: all rows, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bad_input import judges, judgments, models, places, prompts, settings, tasks
from tests.bad_input.row import Row

GROUPS: Mapping[str, Sequence[Row]] = {
    "Settings: project.toml": settings.ROWS,
    "Prompts, and what explain and export are given": prompts.ROWS,
    "Tasks: task.toml": tasks.ROWS,
    "Files of judgments": judgments.ROWS,
    "Models": models.ROWS,
    "Commands, folders, ports, disks and databases": places.ROWS,
    "Judges and functions of your own": judges.ROWS,
}
ROWS: Sequence[Row] = [row for rows in GROUPS.values() for row in rows]
TITLE = "# What can go wrong, and what is said"
LONGEST = 80


def page() -> str:
    """Return the table as Markdown, with its count."""
    lines = [
        "<!-- Written by scripts/bad_input.py from tests/bad_input: change those rows and run the script again. -->",
        "",
        TITLE,
        "",
        f"{len(ROWS)} mistakes, each of them made by a test. The two sentences are the last lines on standard error; "
        "`…` stands for what depends on your machine. [Troubleshooting](../troubleshooting.md) says more by name.",
    ]
    for title, rows in GROUPS.items():
        lines += ["", f"## {title}", "", "| mistake | command | what is said | what to do | exit code |"]
        lines += ["| --- | --- | --- | --- | --- |", *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    call = row.command if row.call else f"expound {row.command}"
    cells = (_cell(row.does), f"`{_cell(call)}`", _cell(row.what), _cell(row.remedy), str(row.code))
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Return a text as a cell shows it: on one line, cut where it is long for its own sake."""
    whole = " ".join(text.split()).replace("\udcff", "\\xff").replace("\0", "\\0")
    shown = whole if len(whole) < 400 else f"{whole[:LONGEST]}…"
    return shown.replace("|", "\\|").replace("<", "&lt;")
