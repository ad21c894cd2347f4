"""Long work shown as it goes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from expound.ports import Advance, Progress

SECONDS_BETWEEN_LINES = 10.0
FIELDS = ("description", "fields[left]", "fields[note]")
Clock = Callable[[], float]


def progress_for(stream: TextIO) -> Progress:
    """Return bars where the stream is a terminal, plain lines elsewhere."""
    return RichProgress(stream) if stream.isatty() else PlainProgress(stream)


@dataclass(frozen=True)
class Pace:
    """How far a piece of work is; `begun_with` steps were done before it began `seconds` ago."""

    total: int
    begun_with: int
    done: int
    seconds: float

    @property
    def percent(self) -> int:
        """Return how much is done, rounded down, so that 100 means finished."""
        return 100 * self.done // self.total if self.total else 100

    def left(self) -> str:
        """Return the time left at the pace of this run, in words, or an empty string before its first step."""
        steps = self.done - self.begun_with
        return f"about {in_words(self.seconds / steps * max(self.total - self.done, 0))} left" if steps > 0 else ""

    def ending(self) -> str:
        """Return how the work ended."""
        if self.done >= self.total:
            return f"done in {in_words(self.seconds)}"
        return f"ended at {self.done} of {self.total} after {in_words(self.seconds)}"


def in_words(seconds: float) -> str:
    """Return a duration: "0.4 s", "52 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class PlainProgress:
    """Lines for logs, pipes and notebooks, at most one every 10 seconds in between (fulfils ports.Progress)."""

    def __init__(self, stream: TextIO | None = None, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        begun = told = self._clock()
        pace = Pace(total, done, done, 0.0)

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal pace, told
            now = self._clock()
            pace = Pace(total, done, pace.done + steps, now - begun)
            if now - told >= SECONDS_BETWEEN_LINES and pace.done < total:
                told = now
                parts = (f"{pace.percent} % ({pace.done} of {total})", pace.left(), note)
                self.say(f"{what}: {', '.join(filter(None, parts))}")

        self.say(f"{what}: {done} of {total}")
        try:
            yield advance
        finally:
            pace = Pace(total, done, pace.done, self._clock() - begun)
            self.say(f"{what}: {pace.ending()}")

    def say(self, line: str) -> None:
        # Looked up late, so that whoever redirects standard error is heard.
        stream = sys.stderr if self._stream is None else self._stream
        stream.write(f"{line}\n")
        stream.flush()


class RichProgress:
    """Bars on a terminal; lines appear above them (fulfils ports.Progress)."""

    def __init__(self, stream: TextIO | None = None, clock: Clock = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichBars

        # Rich forgets steps that are older than half a minute, and one update takes about that long: the time is ours.
        what, left, note = (TextColumn(f"{{task.{name}}}", markup=False) for name in FIELDS)
        self._console = Console(file=stream or sys.stderr)
        self._bars = RichBars(
            what, BarColumn(), MofNCompleteColumn(), left, note, console=self._console, transient=True
        )
        self._clock = clock
        self._open = 0

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        begun = self._clock()
        if self._open == 0:
            self._bars.start()
        self._open += 1
        task = self._bars.add_task(what, total=total, completed=done, left="", note="")
        pace = Pace(total, done, done, 0.0)

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal pace
            pace = Pace(total, done, pace.done + steps, self._clock() - begun)
            self._bars.update(task, completed=pace.done, left=pace.left(), note=note)

        try:
            yield advance
        finally:
            pace = Pace(total, done, pace.done, self._clock() - begun)
            self._bars.remove_task(task)
            self._open -= 1
            if self._open == 0:
                self._bars.stop()
            self.say(f"{what}: {pace.ending()}")

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
