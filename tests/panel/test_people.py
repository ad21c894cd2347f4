"""The queue of people: nobody twice, no copy twice, one lease each."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from expound.panel.people import LEASE_SECONDS, POLL_SECONDS, PeopleQueue
from expound.ports import Opened
from expound.records import Answer, Ballot, Comparison, Decision, Judgment, Round, Settlement, Skip, Split
from tests.support.books import MemoryAdmission, MemoryBook
from tests.support.site import FERRY, Case, ballots_of, pair_of, prompt_of

ROUND = Round(1, 0, "{}", "{}")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def fill(book: MemoryBook, questions: int, *, copies: int = 1, split: Split = "train", first: int = 0) -> list[Ballot]:
    """Put questions into a book and return their ballots."""
    made = []
    for number in range(first, first + questions):
        prompt = prompt_of(Case(f"Why {number}?", "", "", ""), split)
        pair = pair_of(prompt, Case("", "", f"Because of {number}.", f"It is {number}."))
        ballots = ballots_of(pair, split, copies)
        book.add([prompt, *pair, *ballots])
        made += ballots
    return made


def say(opened: Opened, rater: str, choice: int = -1) -> Answer:
    """Return an answer as the page makes it."""
    ballot = opened.ballot
    left, right = ballot.responses
    said = Comparison(rater=rater, ballot=ballot.id, revision=opened.revision, left=left, right=right, choice=choice)
    return _answer(opened, rater, replace(said, split=ballot.split))


def skip(opened: Opened, rater: str) -> Answer:
    said = Skip(rater=rater, ballot=opened.ballot.id, revision=opened.revision, reason="subject")
    return _answer(opened, rater, replace(said, split=opened.ballot.split))


def _answer(opened: Opened, rater: str, said: Judgment) -> Answer:
    return Answer(opened.key, opened.ballot.id, rater, (said,), opened.revision, surplus=opened.surplus)


class Desk:
    """A book, a queue above it, and a clock."""

    def __init__(self, questions: int = 0, copies: int = 1) -> None:
        self.book, self.clock = MemoryBook(), Clock()
        self.ballots = fill(self.book, questions, copies=copies)
        self.queue = self.open_queue()

    def open_queue(self) -> PeopleQueue:
        return PeopleQueue(self.book, MemoryAdmission(self.book), clock=self.clock, now=lambda: "2026-11-24T10:32:00Z")

    def take(self, rater: str) -> Opened:
        ballot = self.queue.next(rater)
        assert ballot is not None
        opened = self.queue.open(rater, ballot.id)
        assert opened is not None
        return opened

    def store(self, answer: Answer) -> None:
        self.book.answer([answer])
        self.queue.accepted(answer)

    def judge(self, rater: str) -> Ballot | None:
        ballot = self.queue.next(rater)
        if ballot is not None:
            self.store(say(self.take(rater), rater))
        return ballot


# --- laws -------------------------------------------------------------------------------------------------------

RATERS = st.sampled_from(["ana", "ben", "cho", "dee"])


class Judging(RuleBasedStateMachine):
    """Four raters do what they like in any order, with time passing and a restart of the site in between."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.asked = 0
        self.pages: list[tuple[str, Opened]] = []
        self.in_hand: dict[str, list[str]] = {}

    @rule(questions=st.integers(1, 3), copies=st.integers(1, 3))
    def ask(self, questions: int, copies: int) -> None:
        self.desk.ballots += fill(self.desk.book, questions, copies=copies, first=self.asked)
        self.asked += questions

    @rule(rater=RATERS)
    def look(self, rater: str) -> None:
        ballot = self.desk.queue.next(rater)
        if ballot is not None:
            self._shown(rater, ballot)

    def _shown(self, rater: str, ballot: Ballot) -> None:
        opened = self.desk.queue.open(rater, ballot.id)
        assert opened is not None
        assert opened.revision == 0, "a new ballot was answered by this rater before"
        assert not opened.surplus, "a new ballot has its answer already"
        assert tuple(response.id for response in opened.responses) == ballot.responses
        done = {self.question(answer.ballot) for answer in self.desk.book.answers(rater, 10_000)}
        assert ballot.question not in done, "a copy of an answered question was handed out"
        self.pages.append((rater, opened))

    @precondition(lambda self: self.pages)
    @rule(data=st.data(), choice=st.sampled_from([-1, 0, 1]), skips=st.booleans())
    def post(self, data: st.DataObject, choice: int, skips: bool) -> None:
        """Post a page that was shown once, however late and however often."""
        rater, page = data.draw(st.sampled_from(self.pages))
        opened = self.desk.queue.open(rater, page.ballot.id, page.key)
        assert opened is not None
        assert opened.key == page.key
        if page.key not in {answer.key for answer in self.desk.book.answers(rater, 10_000)}:
            self.desk.store(skip(opened, rater) if skips else say(opened, rater, choice))

    @rule(minutes=st.integers(1, 20))
    def wait(self, minutes: int) -> None:
        self.desk.clock.seconds += 60 * minutes

    @rule()
    def restart(self) -> None:
        self.desk.queue = self.desk.open_queue()
        self.pages.clear()

    def question(self, ballot: str) -> tuple[str, ...]:
        return next(one.question for one in self.desk.ballots if one.id == ballot)

    @invariant()
    def nobody_answers_a_question_twice(self) -> None:
        for rater in ("ana", "ben", "cho", "dee"):
            questions = Counter(self.question(answer.ballot) for answer in self.desk.book.answers(rater, 10_000))
            assert max(questions.values(), default=0) <= 1

    @invariant()
    def at_most_one_ballot_is_in_one_hand(self) -> None:
        for rater in ("ana", "ben", "cho", "dee"):
            held = [one for one in self.desk.ballots if self._holds(rater, one)]
            assert len(held) <= 1

    def _holds(self, rater: str, ballot: Ballot) -> bool:
        opened = self.desk.queue.open(rater, ballot.id)
        return opened is not None and opened.previous is None


Judging.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestJudging = Judging.TestCase


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_raters_who_go_on_until_nothing_is_left_answer_every_ballot_once(copies: int) -> None:
    desk = Desk(questions=7, copies=copies)
    going = {"ana", "ben", "cho"}
    while going:
        going = {rater for rater in going if desk.judge(rater) is not None}
    assert {ballot: len(who) for ballot, who in desk.book.answered().items()} == {one.id: 1 for one in desk.ballots}


def test_threads_get_different_ballots() -> None:
    desk = Desk(questions=20)
    got: list[str] = []

    def work(rater: str) -> None:
        ballot = desk.queue.next(rater)
        assert ballot is not None
        got.append(ballot.id)

    threads = [threading.Thread(target=work, args=(f"r{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(ballot.id for ballot in desk.ballots)


# --- what comes next --------------------------------------------------------------------------------------------


def test_the_open_ballot_comes_again_until_it_is_answered() -> None:
    desk = Desk(questions=3)
    first = desk.take("ana")
    assert desk.take("ana").ballot == first.ballot
    desk.queue.accepted(Answer("k", "no ballot of hers", "ana", ()))
    assert desk.take("ana").ballot == first.ballot
    desk.store(say(first, "ana"))
    assert desk.take("ana").ballot != first.ballot


def test_what_came_from_a_file_is_not_asked() -> None:
    """Its ballots are of round 0, answered by raters whom the queue does not count as people, or by nobody."""
    desk = Desk()
    (ballot,) = fill(desk.book, 1)
    theirs = MemoryBook()
    theirs.add([*desk.book.prompts(), *desk.book.responses(), replace(ballot, round=0)])
    desk.book = theirs
    assert desk.open_queue().next("ana") is None


def test_what_others_have_begun_comes_before_what_is_fresh() -> None:
    desk = Desk(questions=5, copies=2)
    begun = desk.judge("ana")
    assert begun is not None
    assert desk.take("ben").ballot.question == begun.question
    held = desk.take("cho").ballot
    assert held.question != begun.question, "the other copy is in somebody's hands"
    assert desk.take("dee").ballot.question == held.question, "a copy in somebody's hands counts as begun"


def test_raters_start_at_different_ballots() -> None:
    firsts = set()
    for rater in ("ana", "ben", "cho", "dee", "eve", "fay"):
        desk = Desk(questions=30)
        firsts.add(desk.take(rater).ballot.id)
    assert len(firsts) > 3


def test_copies_of_a_question_show_both_sides() -> None:
    desk = Desk(questions=1, copies=2)
    lefts = {desk.take(rater).responses[0].id for rater in ("ana", "ben")}
    assert lefts == set(desk.ballots[0].responses)


def test_a_skipped_ballot_goes_to_somebody_else() -> None:
    desk = Desk(questions=1)
    desk.store(skip(desk.take("ana"), "ana"))
    assert desk.queue.next("ana") is None
    assert desk.take("ben").ballot == desk.ballots[0]


def test_a_lease_that_ended_goes_to_somebody_else_and_its_answer_is_surplus() -> None:
    desk = Desk(questions=1)
    page = desk.take("ana")
    assert desk.queue.next("ben") is None
    desk.clock.seconds += LEASE_SECONDS + 1
    desk.store(say(desk.take("ben"), "ben"))
    assert desk.queue.next("ana") is None
    assert desk.queue.open("ana", page.ballot.id) is None, "it is no longer hers without the key"
    late = desk.queue.open("ana", page.ballot.id, page.key)
    assert late is not None
    assert (late.surplus, late.key, late.revision) == (True, page.key, 0)
    desk.store(say(late, "ana"))
    assert desk.book.answered()[page.ballot.id] == ("ben", "ana")


def test_a_lease_that_ended_stays_while_nobody_else_takes_it() -> None:
    desk = Desk(questions=9)
    page = desk.take("ana")
    desk.clock.seconds += 3 * LEASE_SECONDS
    assert desk.take("ana").ballot == page.ballot


def test_after_losing_a_ballot_its_copies_are_not_handed_out_either() -> None:
    desk = Desk(questions=1, copies=2)
    lost = desk.take("ana")
    desk.store(say(desk.take("ben"), "ben"))
    desk.clock.seconds += LEASE_SECONDS + 1
    assert desk.take("cho").ballot == lost.ballot
    assert desk.queue.next("ana") is None


def test_new_ballots_are_seen_within_a_second() -> None:
    desk = Desk()
    assert desk.queue.next("ana") is None
    fill(desk.book, 1)
    desk.clock.seconds += POLL_SECONDS
    assert desk.queue.next("ana") is not None


def test_ballots_of_a_decided_round_are_closed() -> None:
    desk = Desk(questions=2)
    page = desk.take("ana")
    desk.store(say(page, "ana"))
    desk.book.add(Decision(1, "better", "", ""))
    desk.clock.seconds += POLL_SECONDS
    assert desk.queue.open("ana", page.ballot.id) is None
    assert desk.queue.next("ana") is None


def test_train_ballots_of_a_settled_round_are_closed_and_still_count() -> None:
    desk = Desk(questions=1)
    page = desk.take("ana")
    desk.store(say(page, "ana"))
    desk.ballots += fill(desk.book, 1, split="held_out", first=50)
    desk.book.add(Settlement(1, (), (), (), 1, "h"))
    desk.clock.seconds += POLL_SECONDS
    for key in ("", page.key):
        assert desk.queue.open("ana", page.ballot.id, key) is None
    assert desk.queue.progress("ana").judged == 1
    held_out = desk.take("ana")
    assert held_out.ballot.split == "held_out"
    desk.store(say(held_out, "ana"))
    assert desk.queue.open("ana", held_out.ballot.id) is not None


def test_a_ballot_in_hand_is_let_go_when_its_round_is_settled() -> None:
    """Somebody who had lost it answered after all, so that the round went on without its holder."""
    desk = Desk(questions=1)
    page = desk.take("ana")
    desk.clock.seconds += LEASE_SECONDS + 1
    desk.take("ben")
    late = desk.queue.open("ana", page.ballot.id, page.key)
    assert late is not None
    desk.store(say(late, "ana"))
    desk.book.add(Settlement(1, (), (), (), 1, "h"))
    desk.clock.seconds += POLL_SECONDS
    assert desk.queue.next("ben") is None


# --- opening ----------------------------------------------------------------------------------------------------


def test_opening_shows_texts_in_the_order_of_the_ballot() -> None:
    desk = Desk(questions=1, copies=2)
    for rater in ("ana", "ben"):
        opened = desk.take(rater)
        assert tuple(response.id for response in opened.responses) == opened.ballot.responses
        assert opened.prompt.id == opened.ballot.prompt
        assert opened.shown_at == "2026-11-24T10:32:00Z"


def test_another_raters_ballot_cannot_be_opened() -> None:
    desk = Desk(questions=1)
    page = desk.take("ana")
    assert desk.queue.open("ben", page.ballot.id) is None
    assert desk.queue.open("ben", page.ballot.id, page.key) is None
    assert desk.queue.open("ana", page.ballot.id, "0" * 32) is None
    assert desk.queue.open("ana", page.ballot.id, "ü") is None
    assert desk.queue.open("ana", "no such ballot", page.key) is None


def test_an_own_answer_is_changed_by_the_next_revision() -> None:
    desk = Desk(questions=1)
    page = desk.take("ana")
    desk.store(say(page, "ana", -1))
    again = desk.queue.open("ana", page.ballot.id)
    assert again is not None
    assert again.previous is not None
    assert (again.revision, again.key != page.key, again.previous.key) == (1, True, page.key)
    desk.store(say(again, "ana", 1))
    judgments = desk.book.judgments("train")
    assert [judgment.choice for judgment in judgments if isinstance(judgment, Comparison)] == [1]


def test_an_old_key_names_its_old_revision() -> None:
    desk = Desk(questions=1)
    page = desk.take("ana")
    desk.store(say(page, "ana"))
    old = desk.queue.open("ana", page.ballot.id, page.key)
    assert old is not None
    assert (old.revision, old.key) == (0, page.key)


def test_a_page_from_before_a_restart_can_be_posted() -> None:
    desk = Desk(questions=1)
    page = desk.take("ana")
    desk.queue = desk.open_queue()
    opened = desk.queue.open("ana", page.ballot.id, page.key)
    assert opened is not None
    assert (opened.revision, opened.shown_at) == (0, None)


def test_what_another_process_stored_a_moment_ago_can_be_opened() -> None:
    """The page of a conflict is one of them: the key is taken, and the answer under it is to be shown."""
    desk = Desk(questions=1)
    desk.queue.progress("ana")
    other = desk.open_queue()
    ballot = other.next("ana")
    assert ballot is not None
    opened = other.open("ana", ballot.id)
    assert opened is not None
    desk.book.answer([say(opened, "ana")])
    again = desk.queue.open("ana", ballot.id)
    assert again is not None
    assert (again.previous, again.revision) == (say(opened, "ana"), 1)


# --- progress ---------------------------------------------------------------------------------------------------


def test_what_is_left_is_shared_among_those_at_work() -> None:
    desk = Desk(questions=12)
    assert desk.queue.progress("ana").left == 12
    desk.judge("ben")
    desk.judge("ana")
    progress = desk.queue.progress("ana")
    assert (progress.judged, progress.left) == (1, 5)


def test_nothing_is_left_for_somebody_who_saw_every_question() -> None:
    desk = Desk(questions=2, copies=3)
    desk.judge("ana")
    assert desk.queue.progress("ana").left == 1
    desk.judge("ana")
    progress = desk.queue.progress("ana")
    assert (progress.judged, progress.left) == (2, 0)


# --- collecting -------------------------------------------------------------------------------------------------


def test_the_ferry_case_is_a_ballot_like_any_other() -> None:
    """The support for the pages' tests makes ballots that the queue takes."""
    book = MemoryBook()
    prompt = prompt_of(FERRY)
    pair = pair_of(prompt, FERRY)
    book.add([prompt, *pair, *ballots_of(pair)])
    queue = PeopleQueue(book, MemoryAdmission(book))
    assert queue.next("ana") == ballots_of(pair)[0]
