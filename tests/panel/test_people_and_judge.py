"""People and a judge in one panel: each judges for itself, and neither takes a ballot from the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from expound.errors import WaitingForPeople
from expound.panel.judge import JudgePanel
from expound.panel.people import Panels, People, answered_by_people
from expound.records import Answer, Comparison, Rater, Skip
from expound.settings import JudgeSettings
from tests.panel.test_collecting import Notes, Sleeper
from tests.panel.test_people import ROUND, Desk
from tests.support.judge_server import JudgeServer, Trouble
from tests.support.site import RUBRIC


def judged(desk: Desk, trouble: Trouble | None = None) -> None:
    """Let the judge answer all ballots, or spoil every second of them."""
    with JudgeServer(plan=lambda question, before: trouble if "2" in question else None) as server:
        settings = JudgeSettings(endpoint=server.endpoint, model="m", per_minute=6e6)
        JudgePanel(desk.book, RUBRIC, settings).collect(ROUND, "train", Notes())


def test_what_the_judge_says_leaves_every_ballot_open_for_people() -> None:
    desk = Desk(questions=4)
    desk.book.add(Rater("ana", "Ana"))
    judged(desk, "malformed")
    assert desk.book.answered()
    assert desk.book.skipped()
    assert answered_by_people(desk.book) == {}
    assert desk.queue.progress("ana").left == 4
    seen = [desk.judge("ana") for _ in range(4)]
    assert all(seen)
    assert desk.queue.next("ana") is None
    assert desk.queue.progress("ana").judged == 4
    assert set(answered_by_people(desk.book).values()) == {("ana",)}


def test_the_first_of_the_people_is_not_told_that_somebody_has_answered_meanwhile() -> None:
    desk = Desk(questions=1)
    opened = desk.take("ana")
    judged(desk)
    again = desk.queue.open("ana", opened.ballot.id, opened.key)
    assert again is not None
    assert not again.surplus


def test_a_judge_is_no_share_of_what_is_left_and_no_name_among_those_who_answered() -> None:
    desk = Desk(questions=6)
    judged(desk)
    desk.book.add([Rater("ana", "Ana"), Rater("ben", "Ben")])
    for rater in ("ana", "ben", "ana"):
        desk.judge(rater)
    assert desk.queue.progress("ana").left == 2
    with pytest.raises(WaitingForPeople) as raised:
        People(desk.book, wait=False).collect(ROUND, "train", Notes())
    assert raised.value.what == "3 of 6 judgments of round 1 are missing (answered: Ana 2, Ben 1)."
    assert "invite" not in raised.value.remedy


def test_with_a_judge_alone_somebody_has_to_be_invited() -> None:
    desk = Desk(questions=2)
    judged(desk)
    with pytest.raises(WaitingForPeople, match=r"2 of 2 .*answered: none.*expound invite"):
        People(desk.book, wait=False).collect(ROUND, "train", Notes())


def test_both_panels_are_done_when_both_have_answered() -> None:
    desk, notes = Desk(questions=3), Notes()
    sleeper = Sleeper(*[lambda: desk.judge("ana")] * 3)
    with JudgeServer() as server:
        settings = JudgeSettings(endpoint=server.endpoint, model="m", per_minute=6e6)
        judge = JudgePanel(desk.book, RUBRIC, settings)
        Panels((judge, People(desk.book, wait=True, sleep=sleeper))).collect(ROUND, "train", notes)
    assert [bar[0] for bar in notes.bars] == ["judge (train)", "judged"]
    assert set(desk.book.answered().values()) == {(judge.rater.id, "ana")}
    sources = {(one.rater, one.source) for one in desk.book.judgments()}
    assert sources == {(judge.rater.id, "judge"), ("ana", "people")}


def test_a_skip_of_the_judge_is_no_skip_of_the_people() -> None:
    desk = Desk(questions=1)
    ballot = desk.ballots[0]
    desk.book.add(Rater("judge-m", "m", "judge"))
    said = Skip(rater="judge-m", ballot=ballot.id, split="train", source="judge", reason="malformed")
    desk.book.answer([Answer("k", ballot.id, "judge-m", (said,))])
    left, right = ballot.responses
    other = Comparison(rater="judge-n", ballot=ballot.id, left=left, right=right, choice=1, source="judge")
    desk.book.add(replace(Rater("judge-n", "n"), source="judge"))
    desk.book.answer([Answer("l", ballot.id, "judge-n", (other,))])
    assert desk.queue.next("ana") == ballot
    assert answered_by_people(desk.book) == {}
