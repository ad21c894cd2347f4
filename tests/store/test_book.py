"""The log keeps what it was given, once, in order, and shows the newest state to every process."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from expound.errors import InputError, JudgmentError, StorageError
from expound.ports import Book
from expound.records import (
    Decision,
    Evaluation,
    PolicyRecord,
    Prompt,
    Rater,
    Record,
    RewardCard,
    Round,
    Settlement,
    Skill,
    Verdict,
)
from expound.store.book import LogBook, open_book
from tests.support.log import compare, make_ballot, make_prompt, make_response, skip

SOURCE = Path(__file__).resolve().parent.parent.parent / "src" / "expound"


@pytest.fixture
def book(tmp_path: Path):
    with open_book(tmp_path) as opened:
        yield opened


def settlement(round_: int, value: float = 0.5) -> Settlement:
    verdict = Verdict("a", "overall", value, 0.25, 3)
    return Settlement(round_, (verdict,), (), (Skill("r", 0.5, 0.1, 1.0, None, -0.2, 12),), 7, "h")


def card(round_: int, accuracy: float = 0.7) -> RewardCard:
    return RewardCard(f"c{round_}{accuracy}", round_, 40, 4, accuracy, 0.6, 0.8, 0.5, 90, 0.0, 1.0)


def evaluation(round_: int, wins: int = 12) -> Evaluation:
    return Evaluation(round_, 20, 20, wins, 8, 0, wins / 20, (0.4, 0.8), 1.1, ("simulated",))


def decision(round_: int, sentence: str = "It is better.") -> Decision:
    return Decision(round_, "better", sentence, "Go on.")


def rows_of(book: LogBook) -> int:
    with book.database.read() as connection:
        return connection.execute(text("SELECT count(*) FROM entry")).scalar_one()


def test_it_is_a_book(book: LogBook) -> None:
    as_port: Book = book
    assert as_port.head() == 0


def test_records_come_back_in_the_order_in_which_they_were_added(book: LogBook) -> None:
    prompts = [make_prompt(f"Why {number}?", "held_out" if number % 3 == 0 else "train") for number in range(7)]
    responses = [make_response(prompt, sample) for prompt in prompts for sample in (0, 1)]
    ballots = [make_ballot(prompt) for prompt in prompts]
    assert book.add([*prompts, *responses, *ballots]) == 7 + 14 + 7
    assert book.prompts() == tuple(prompts)
    assert book.prompts("held_out") == tuple(prompts[::3])
    assert book.responses() == tuple(responses)
    held_out = {prompt.id for prompt in prompts[::3]}
    assert book.responses("held_out") == tuple(one for one in responses if one.prompt in held_out)
    assert book.ballots("train") == tuple(one for one in ballots if one.prompt not in held_out)
    assert book.head() == 28


def test_responses_and_ballots_are_found_by_round_and_policy(book: LogBook) -> None:
    prompt = make_prompt()
    first, second = make_response(prompt), make_response(prompt, policy="tuned", round_=2)
    ballots = make_ballot(prompt), make_ballot(prompt, round_=2)
    book.add([prompt, first, second, *ballots])
    assert book.responses(round_=2) == (second,)
    assert book.responses("train", policy="reference") == (first,)
    assert book.responses("choose") == ()
    assert book.ballots(round_=1) == ballots[:1]


def test_the_same_records_again_are_no_new_rows(book: LogBook) -> None:
    prompt = make_prompt()
    records: list[Record] = [prompt, make_response(prompt), make_ballot(prompt), Rater("r1", "Ada"), settlement(1)]
    records += [card(1), PolicyRecord("p", 0, ""), Round(1, 0, "{}", "{}"), evaluation(1), decision(1)]
    assert book.add(records) == len(records)
    assert book.add(records) == 0
    assert book.add([*records, *records]) == 0
    assert rows_of(book) == len(records)
    assert book.add([]) == 0


def test_a_generator_and_a_single_record_are_taken(book: LogBook) -> None:
    assert book.add(make_prompt(f"Why {number}?") for number in range(3)) == 3
    assert book.add(make_prompt("And why?")) == 1


@pytest.mark.parametrize(
    ("view", "records"),
    [
        ("settlements", [settlement(2), settlement(1), settlement(1, 0.9)]),
        ("rewards", [card(2), card(1), card(1, 0.9)]),
        ("evaluations", [evaluation(2), evaluation(1), evaluation(1, 15)]),
        ("decisions", [decision(2), decision(1), decision(1, "It is not.")]),
    ],
)
def test_what_a_round_has_once_is_superseded_and_the_first_row_stays(
    book: LogBook, view: str, records: list[Record]
) -> None:
    for record in records:
        assert book.add(record) == 1
    assert vars(type(book))[view](book) == (records[2], records[0])
    assert rows_of(book) == 3


def test_a_rater_may_return_to_an_earlier_state(book: LogBook) -> None:
    rater = Rater("r1", "Ada")
    states = [rater, replace(rater, active=False), rater]
    assert [book.add(state) for state in states] == [1, 1, 1]
    assert book.add(rater) == 0
    assert book.raters() == (rater,)
    assert book.rater("r1") == rater
    assert book.rater("r2") is None


def test_several_states_in_one_call_supersede_in_order(book: LogBook) -> None:
    rater = Rater("r1", "Ada")
    assert book.add([rater, replace(rater, locale="zh"), rater, rater]) == 3
    assert book.raters() == (rater,)


def test_a_round_never_changes(book: LogBook) -> None:
    assert book.add(Round(1, 0, "{}", "{}")) == 1
    assert book.add(Round(1, 5, '{"a":1}', "{}")) == 0
    assert book.rounds() == (Round(1, 0, "{}", "{}"),)


def test_a_prompt_never_moves_to_another_split_but_may_learn_its_answer(book: LogBook) -> None:
    prompt = make_prompt(split="held_out")
    book.add(prompt)
    assert book.add(replace(prompt, split="train")) == 0
    assert book.add(replace(prompt, split="train", gold="the wind")) == 1
    assert book.prompts() == (replace(prompt, gold="the wind"),)


def test_the_reference_is_the_first_policy(book: LogBook) -> None:
    book.add([PolicyRecord("tuned", 1, "rounds/001/policy"), PolicyRecord("reference", 0, "")])
    assert [policy.id for policy in book.policies()] == ["reference", "tuned"]


def test_a_prompt_with_tuples_in_its_meta_is_the_same_prompt(book: LogBook) -> None:
    prompt = replace(make_prompt(), meta={"facts": ("a", ("b", 1.5)), "none": None})
    assert [book.add(prompt), book.add(prompt)] == [1, 0]


def test_a_number_that_is_not_finite_and_half_a_character_are_refused(book: LogBook) -> None:
    with pytest.raises(InputError, match="not finite"):
        book.add(settlement(1, float("nan")))
    with pytest.raises(InputError, match="half of a character"):
        book.add(Rater("r", "\ud800"))
    with pytest.raises(InputError, match="of type set"):
        book.add(replace(make_prompt(), meta={"a": {1}}))  # type: ignore[dict-item]
    assert book.head() == 0


# --- answers --------------------------------------------------------------------------------------------------


@pytest.fixture
def ballots(book: LogBook):
    prompts = [make_prompt(f"Why {number}?", "held_out" if number == 2 else "train") for number in range(3)]
    made = [make_ballot(prompt) for prompt in prompts]
    book.add([*prompts, *made])
    return made


def test_an_answer_is_stored_once_under_its_key(book: LogBook, ballots) -> None:
    answer = compare(ballots[0], "r1")
    (first,) = book.answer([answer])
    (again,) = book.answer([replace(compare(ballots[0], "r1", seconds=99.0), device="narrow", locale="zh")])
    assert (first.key, first.sequence, first.repeated) == (answer.key, 7, False)
    assert again == replace(first, repeated=True)
    assert book.judgments() == answer.judgments
    assert book.answer([]) == ()


def test_the_same_key_with_other_judgments_is_refused(book: LogBook, ballots) -> None:
    book.answer([compare(ballots[0], "r1")])
    for other in (compare(ballots[0], "r1", choice=1), skip(ballots[0], "r1")):
        with pytest.raises(JudgmentError, match="stored already, with other judgments"):
            book.answer([other])
    comment = compare(ballots[0], "r1")
    comment = replace(comment, judgments=(replace(comment.judgments[0], comment="I meant it."),))
    with pytest.raises(JudgmentError):
        book.answer([comment])
    assert [judgment.comment for judgment in book.judgments()] == [None]


def test_a_refused_answer_takes_its_whole_call_along_and_nothing_else(book: LogBook, ballots) -> None:
    book.answer([compare(ballots[0], "r1")])
    with pytest.raises(JudgmentError):
        book.answer([compare(ballots[1], "r1"), compare(ballots[0], "r1", choice=1)])
    assert len(book.judgments()) == 1


def test_the_same_answer_twice_in_a_call_is_one_row(book: LogBook, ballots) -> None:
    answers = [compare(ballots[0], "r1"), compare(ballots[1], "r1"), compare(ballots[0], "r1", seconds=9.0)]
    stored = book.answer(answers)
    assert [one.repeated for one in stored] == [False, False, True]
    assert stored[0].sequence == stored[2].sequence == stored[1].sequence - 1


def test_a_correction_supersedes_and_a_late_retry_of_the_first_does_not(book: LogBook, ballots) -> None:
    first, second, third = (compare(ballots[0], "r1", choice, revision) for revision, choice in enumerate((-1, 1, -1)))
    book.answer([first, compare(ballots[1], "r1")])
    book.answer([third])
    book.answer([second])
    assert [judgment.revision for judgment in book.judgments()] == [0, 2]
    assert book.answers("r1")[0] == third
    assert rows_of(book) == 6 + 4


def test_views_of_answers_by_split_round_and_rater(book: LogBook, ballots) -> None:
    book.answer([compare(ballot, rater) for rater in ("r1", "r2") for ballot in ballots])
    assert {judgment.ballot for judgment in book.judgments("held_out")} == {ballots[2].id}
    assert book.judgments(round_=2) == ()
    assert [answer.ballot for answer in book.answers("r2", limit=2)] == [ballots[2].id, ballots[1].id]
    assert book.answers("nobody") == ()
    assert book.answered()[ballots[0].id] == ("r1", "r2")


def test_a_skip_is_no_answer_until_it_is_corrected(book: LogBook, ballots) -> None:
    book.answer([skip(ballots[0], "r1"), compare(ballots[0], "r2")])
    assert (book.skipped(), book.answered()) == ({ballots[0].id: ("r1",)}, {ballots[0].id: ("r2",)})
    book.answer([compare(ballots[0], "r1", revision=1)])
    assert (book.skipped(), book.answered()) == ({}, {ballots[0].id: ("r2", "r1")})
    book.answer([skip(ballots[0], "r2", revision=1), compare(ballots[0], "r1", revision=2)])
    assert (book.skipped(), book.answered()) == ({ballots[0].id: ("r2",)}, {ballots[0].id: ("r1",)})


def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    prompt = make_prompt()
    ballot = make_ballot(prompt)
    with open_book(tmp_path) as first:
        first.add([prompt, ballot])
        first.answer([compare(ballot, "r1"), skip(ballot, "r2")])
        seen = first.head(), first.judgments(), first.answered(), first.skipped(), first.ballots()
    with open_book(str(tmp_path)) as second:
        assert (second.head(), second.judgments(), second.answered(), second.skipped(), second.ballots()) == seen


def test_two_books_on_one_file_see_each_other(tmp_path: Path) -> None:
    prompt = make_prompt()
    ballot = make_ballot(prompt)
    with open_book(tmp_path) as waiting, open_book(tmp_path) as site:
        waiting.add([prompt, ballot])
        assert site.ballots() == (ballot,)
        site.answer([compare(ballot, "r1")])
        assert waiting.answered() == {ballot.id: ("r1",)}
        assert waiting.head() == site.head() == 3
        assert waiting.add(prompt) == 0
        (stored,) = waiting.answer([compare(ballot, "r1")])
        assert stored.repeated


def test_many_threads_answer_and_read_at_once(book: LogBook, ballots) -> None:
    def work(rater: str) -> None:
        for ballot in ballots:
            (stored,) = book.answer([compare(ballot, rater)])
            assert rater in book.answered()[ballot.id]
            assert book.head() >= stored.sequence

    threads = [threading.Thread(target=work, args=(f"r{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(book.judgments()) == 36


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with open_book(tmp_path) as book:
        book.add([Rater("r1", "Ada"), Rater("r2", "Bo")])
        book.database.write(lambda connection: connection.execute(text("UPDATE entry SET payload='{}' WHERE id='r2'")))
    with pytest.raises(StorageError, match="row 2 of the log cannot be read"):
        open_book(tmp_path)


def test_a_row_of_an_older_version_with_fewer_fields_is_the_same_record(tmp_path: Path) -> None:
    with open_book(tmp_path) as book:
        book.add(card(1))
        older = text("UPDATE entry SET payload = replace(payload, ',\"settlement\":\"\"', '')")
        book.database.write(lambda connection: connection.execute(older))
    with open_book(tmp_path) as book:
        assert book.rewards() == (card(1),)
        assert book.add(card(1)) == 0


def test_only_the_book_writes_the_log() -> None:
    touching = re.compile(
        r"(insert|update|delete)\(\s*(schema\.)?entry\b|(INSERT INTO|UPDATE|DELETE FROM|REPLACE INTO)\s+[\"'`]?entry\b",
        re.IGNORECASE,
    )
    writers = {path.name for path in SOURCE.rglob("*.py") if touching.search(path.read_text(encoding="utf-8"))}
    assert writers == {"book.py"}
    assert not re.search(r"(?<!\.)\b(update|delete)\(", (SOURCE / "store" / "book.py").read_text(encoding="utf-8"))


def test_a_prompt_without_a_split_gets_one_later(book: LogBook) -> None:
    prompt = replace(make_prompt(), split=None)
    assert book.add(prompt) == 1
    assert book.add(replace(prompt, split="train")) == 1
    found: tuple[Prompt, ...] = book.prompts("train")
    assert len(found) == 1
