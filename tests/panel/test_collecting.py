"""Collecting: what `run` waits for, what it says meanwhile, and when it gives up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from expound.errors import StoppedItself, WaitingForPeople
from expound.panel.people import POLL_SECONDS, People
from expound.ports import Advance
from expound.records import Rater
from tests.panel.test_people import ROUND, Desk, fill, skip


class Notes:
    """A progress that remembers (fulfils ports.Progress)."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: list[tuple[str, int, int]] = []
        self.steps = 0

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        self.bars.append((what, total, done))

        def advance(steps: int = 1, note: str = "") -> None:
            self.steps += steps

        yield advance

    def say(self, line: str) -> None:
        self.lines.append(line)


class Sleeper:
    """Instead of sleeping, lets the next thing happen."""

    def __init__(self, *happens: Callable[[], object]) -> None:
        self.happens = list(happens)
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.happens:
            self.happens.pop(0)()
        else:
            assert len(self.slept) < 50, "nothing is going to happen any more"


def test_collecting_waits_until_the_last_answer_and_counts() -> None:
    desk, notes = Desk(questions=3), Notes()
    fill(desk.book, 2, split="held_out", first=50)
    desk.judge("ana")
    train = len([one for one in desk.ballots if one.id in desk.book.answered()])
    work = [lambda: desk.judge("ana"), lambda: None, *[lambda: desk.judge("ben")] * 3]
    sleeper = Sleeper(*work)
    People(desk.book, wait=True, sleep=sleeper).collect(ROUND, "train", notes)
    assert all(desk.book.answered().get(ballot.id) for ballot in desk.ballots)
    assert notes.bars == [("judged", 3, train)]
    assert notes.lines == [f"{3 - train} comparisons to judge (training prompts).", "Everything is judged; going on."]
    assert train + notes.steps == 3
    assert set(sleeper.slept) == {POLL_SECONDS}


def test_nothing_is_waited_for_when_everything_is_answered() -> None:
    desk, notes = Desk(questions=1), Notes()
    desk.judge("ana")
    for wait in (True, False):
        People(desk.book, wait=wait, sleep=Sleeper()).collect(ROUND, "train", notes)
    assert notes.bars == []


def test_a_skip_is_no_answer() -> None:
    desk = Desk(questions=1)
    desk.store(skip(desk.take("ana"), "ana"))
    sleeper = Sleeper(lambda: desk.judge("ben"))
    People(desk.book, wait=True, sleep=sleeper).collect(ROUND, "train", Notes())
    assert len(sleeper.slept) == 1


def test_without_waiting_it_says_what_is_missing_who_answered_and_what_to_do() -> None:
    desk = Desk(questions=4)
    desk.book.add([Rater("ana", "Ana Silva"), Rater("ben", "Ben")])
    for rater in ("ana", "ben", "ana"):
        desk.judge(rater)
    with pytest.raises(WaitingForPeople) as raised:
        People(desk.book, wait=False).collect(ROUND, "train", Notes())
    assert raised.value.what == "1 of 4 judgments of round 1 are missing (answered: Ana Silva 2, Ben 1)."
    assert "'expound serve'" in raised.value.remedy
    assert "invite" not in raised.value.remedy


def test_without_raters_it_says_to_invite_some() -> None:
    desk = Desk(questions=2)
    with pytest.raises(WaitingForPeople, match=r"2 of 2.*answered: none.*expound invite"):
        People(desk.book, wait=False).collect(ROUND, "train", Notes())


def test_questions_that_only_others_can_answer_are_named() -> None:
    desk, notes = Desk(questions=2, copies=2), Notes()
    desk.book.add([Rater("ana", "Ana"), replace(Rater("gone", "Gone"), active=False)])
    desk.judge("ana")
    desk.judge("ana")
    with pytest.raises(WaitingForPeople, match=r"2 can only be given by people who have not judged.*expound invite"):
        People(desk.book, wait=False).collect(ROUND, "train", Notes())
    sleeper = Sleeper(lambda: desk.judge("ben"), lambda: desk.judge("ben"))
    People(desk.book, wait=True, sleep=sleeper).collect(ROUND, "train", notes)
    assert [line for line in notes.lines if "Invite somebody" in line] == notes.lines[1:2]


def test_nobody_is_waited_for_at_a_site_that_has_ended() -> None:
    desk, notes, alive = Desk(questions=2), Notes(), [True, True]
    sleeper = Sleeper(lambda: desk.judge("ana"), lambda: None)
    people = People(desk.book, wait=True, is_served=lambda: bool(alive and alive.pop()), sleep=sleeper)
    with pytest.raises(StoppedItself, match=r"site has ended.*same command again"):
        people.collect(ROUND, "train", notes)
    assert len(sleeper.slept) == 2
    assert notes.lines == ["2 comparisons to judge (training prompts)."]


def test_the_last_answer_counts_though_the_site_has_ended() -> None:
    desk = Desk(questions=1)
    notes, alive = Notes(), [True]
    people = People(desk.book, wait=True, is_served=lambda: bool(alive.pop()), sleep=Sleeper(lambda: desk.judge("ana")))
    people.collect(ROUND, "train", notes)
    assert len(desk.book.judgments("train")) == 1
    assert notes.lines[-1] == "Everything is judged; going on."
