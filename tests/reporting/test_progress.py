from __future__ import annotations

import io
import subprocess
import sys

import pytest

from expound.ports import Progress
from expound.reporting.progress import Pace, PlainProgress, RichProgress, in_words, progress_for


class Hand:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_at_start_every_ten_seconds_and_at_the_end() -> None:
    stream, clock = io.StringIO(), Hand()
    with PlainProgress(stream, clock).bar("tune", 8) as advance:
        for _ in range(8):
            clock.now += 4
            advance(note="reward 1.2")
    assert stream.getvalue().splitlines() == [
        "tune: 0 of 8",
        "tune: 37 % (3 of 8), about 20 s left, reward 1.2",
        "tune: 75 % (6 of 8), about 8.0 s left, reward 1.2",
        "tune: done in 32 s",
    ]


def test_time_left_is_from_the_steps_of_this_run_alone() -> None:
    stream, clock = io.StringIO(), Hand()
    with PlainProgress(stream, clock).bar("sample", 100, done=90) as advance:
        clock.now += 12
        advance(2)
    assert "92 % (92 of 100), about 48 s left" in stream.getvalue()
    assert stream.getvalue().endswith("ended at 92 of 100 after 12 s\n")


def test_nobody_can_say_how_long_before_the_first_step() -> None:
    assert Pace(total=10, begun_with=5, done=5, seconds=60).left() == ""


def test_nothing_to_do_is_done() -> None:
    assert Pace(0, 0, 0, 0.0).percent == 100
    assert Pace(0, 0, 0, 0.0).ending() == "done in 0.0 s"


def test_an_error_inside_a_bar_still_ends_it() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="broken"), PlainProgress(stream, Hand()).bar("fit", 3):
        raise ValueError("broken")
    assert stream.getvalue().splitlines()[-1] == "fit: ended at 0 of 3 after 0.0 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.44, "0.4 s"), (59.4, "59 s"), (59.6, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_terminal_gets_bars_and_a_pipe_plain_lines() -> None:
    shown: Progress = progress_for(Terminal())
    assert isinstance(shown, RichProgress)
    assert isinstance(progress_for(io.StringIO()), PlainProgress)


def test_bars_may_be_nested_and_lines_are_not_markup() -> None:
    stream, clock = Terminal(), Hand()
    shown = RichProgress(stream, clock)
    with shown.bar("outer [red]", 2) as outer, shown.bar("inner", 1, 0) as inner:
        clock.now += 3
        inner(1, note="[bold]x")
        shown.say("a line with [brackets]")
        outer(2)
    text = stream.getvalue()
    assert "a line with [brackets]" in text
    assert "inner: done in 3.0 s" in text
    assert "outer [red]: done in 3.0 s" in text


def test_plain_lines_do_not_load_rich() -> None:
    code = (
        "import sys, io; from expound.reporting.progress import progress_for; "
        "progress_for(io.StringIO()).say('x'); sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
