"""A row of the table of bad input: what a user does, and the two sentences and the exit code that answer it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

ANYTHING = "…"
USAGE = "See 'expound --help', or 'expound VERB --help'."
Given = Callable[[Path], AbstractContextManager[object] | None]
"""Puts the mistake into the folder, which holds `project` (a simulated panel) and `people`; may hold it for a while."""


def nothing(here: Path) -> None:
    """Leave the folder as it is."""


@dataclass(frozen=True)
class Row:
    """One mistake; `…` in a sentence stands for anything, such as a path of this machine.

    `does` says what the user does, `command` is the command line, or the line of Python where `call` makes the call in
    the folder `here`. `disk` are shell commands that make a disk for it, `stdout` is a file. A row is
    `interrupted_at` a line that it says. A `patient` one waits for long and is started before the others.
    """

    does: str
    command: str
    what: str
    remedy: str
    code: int = 2
    given: Given = nothing
    call: Callable[[Path], object] | None = None
    disk: str = ""
    stdout: str = ""
    interrupted_at: str = ""
    patient: bool = False

    def matches(self, said: str) -> bool:
        """Return whether the sentences of the row end what was said, or are in it where nothing was refused."""
        wanted = re.escape(f"{self.what}\n{self.remedy}").replace(re.escape(ANYTHING), ".*").replace("\\\n", "\\s")
        after = ".*" if self.code == 0 else "\n?"
        return re.fullmatch(f"(.*\n)?{wanted}{after}", said, re.DOTALL) is not None


def wrote(name: str, content: str | bytes) -> Given:
    """Put a file into the folder."""

    def write(here: Path) -> None:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def edited(name: str, old: str, new: str) -> Given:
    """Change a file of the folder."""

    def edit(here: Path) -> None:
        text = (here / name).read_text(encoding="utf-8")
        assert old in text
        (here / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def together(*given: Given) -> Given:
    """Put several mistakes into the folder; only the last may be held."""

    def put(here: Path) -> AbstractContextManager[object] | None:
        *first, last = given
        for one in first:
            one(here)
        return last(here)

    return put
