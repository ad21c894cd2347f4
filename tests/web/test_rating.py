"""Judging on the pages: what is shown, what is stored, and what happens when things go crosswise."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI

from expound.errors import StorageError
from expound.panel.people import PeopleQueue
from expound.ports import Stored
from expound.records import Comparison, Decision, Judgment, Settlement, Skip
from expound.web.app import build
from tests.support.books import MemoryAdmission, MemoryBook
from tests.support.browsing import Shown, Visitor
from tests.support.site import BAKERY, FERRY, JAM, RUBRIC, Case, TestSite, make_site, settings_of


def visitor(site: TestSite, name: str = "Ana", language: str = "en") -> Visitor:
    return Visitor(site.app, language=language).come_in(site.admission.invite(name))


def restarted(site: TestSite) -> FastAPI:
    """Return the site as it is after a restart: the same book, no leases."""
    return build(site.book, PeopleQueue(site.book, site.admission), site.admission, RUBRIC, settings_of())


def judgments(site: TestSite) -> list[Judgment]:
    return list(site.book.judgments())


def only(site: TestSite) -> Comparison:
    (judgment,) = judgments(site)
    assert isinstance(judgment, Comparison)
    return judgment


# --- the ballot -------------------------------------------------------------------------------------------------


def test_a_ballot_shows_question_source_and_both_responses_in_order() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    assert ana.get("/rate").texts == [FERRY.question, FERRY.source, FERRY.left, FERRY.right]
    assert ana.status == 200
    assert "0 judged, about 1 left" in ana.page


def test_a_question_without_source_shows_none() -> None:
    site = make_site(Case("Why?", "", "Because.", "Therefore."))
    ana = visitor(site)
    assert ana.get("/rate").texts == ["Why?", "Because.", "Therefore."]


@pytest.mark.parametrize(("choice", "value"), [("a", -1), ("same", 0), ("b", 1)])
def test_a_choice_is_stored_with_its_sides_as_shown(choice: str, value: int) -> None:
    site = make_site(FERRY)
    ballot = site.book.ballots()[0]
    assert visitor(site).judge(choice, "two\r\nlines") == "/rate"
    said = only(site)
    texts = {response.id: response.text for response in site.book.responses()}
    assert (texts[said.left], texts[said.right]) == (FERRY.left, FERRY.right)
    assert (said.choice, said.strength, said.ties, said.comment) == (value, 1, True, "two\nlines")
    assert (said.ballot, said.prompt, said.split, said.round) == (ballot.id, ballot.prompt, "train", 1)
    assert said.source == "people"
    assert said.shown_at is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said.shown_at)


def test_seconds_and_device_of_the_script_are_stored_and_nonsense_is_not() -> None:
    site = make_site(FERRY, JAM)
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", "choice": "a", "seconds": "12.5", "device": "narrow"})
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", "choice": "a", "seconds": "nan", "device": "<b>"})
    rater = site.book.raters()[0].id
    second, first = site.book.answers(rater)
    assert (first.judgments[0].seconds, first.device, first.locale) == (12.5, "narrow", "en")
    assert (second.judgments[0].seconds, second.device) == (None, "")


def test_progress_counts_in_words_and_in_the_bar() -> None:
    site = make_site(FERRY, JAM, BAKERY)
    ana = visitor(site)
    ana.judge()
    ana.get("/rate")
    assert "1 judged, about 2 left" in ana.page
    assert re.search(r'<progress id="progress" value="1" max="3"', ana.page)


def test_when_nothing_is_left_the_page_waits_and_reloads() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    ana.judge()
    ana.get("/rate")
    assert '<meta http-equiv="refresh" content="10">' in ana.page
    assert "You have judged once in this round" in ana.page
    assert 'href="/rate/' in ana.page, "the last answer can still be changed"


def test_a_page_can_be_looked_at_again_without_changing_anything() -> None:
    site = make_site(FERRY, JAM)
    ana = visitor(site)
    first, head = ana.ballot(), site.book.head()
    assert [ana.ballot() for _ in range(3)] == [first] * 3
    ana.get(first)
    assert (ana.status, site.book.head()) == (200, head)


# --- skipping ---------------------------------------------------------------------------------------------------


def test_a_skip_needs_a_reason_and_nothing_else() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "skip", "words": "kept"})
    assert ana.status == 422
    assert 'href="#q-skip"' in ana.page
    assert 'value="kept"' in ana.page
    assert ana.post(where, {**ana.fields(), "do": "skip", "reason": "other", "words": "no idea"}) == "/rate"
    (said,) = judgments(site)
    assert isinstance(said, Skip)
    assert (said.reason, said.comment, said.split) == ("other", "no idea", "train")
    assert visitor(site, "Ben").ballot() == where


def test_a_skip_can_be_taken_back() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "skip", "reason": "subject"})
    assert ana.get(where).checked["reason"] == "subject"
    assert ana.post(where, {**ana.fields(), "do": "judge", "choice": "b"}) == "/rate"
    assert only(site).choice == 1


# --- faults -----------------------------------------------------------------------------------------------------


def test_without_a_choice_the_page_comes_back_with_what_was_entered() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    comment = "\n  <b>two</b>\nlines"
    assert ana.post(where, {**ana.fields(), "do": "judge", "comment": comment}) == ""
    assert ana.status == 422
    assert 'role="alert"' in ana.page
    assert 'href="#q-choice"' in ana.page
    shown = Shown(ana.page)
    assert shown.checked["comment"] == comment
    assert "choice" not in shown.checked
    assert judgments(site) == []


@pytest.mark.parametrize(
    ("comment", "message"),
    [("x" * 10_001, "10,000 characters"), ("a\x00b", "control characters"), ("\x1b[2J", "control")],
)
def test_a_comment_that_cannot_be_stored_keeps_the_choice(comment: str, message: str) -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    ana.judge("b", comment)
    assert ana.status == 422
    assert message in ana.page
    assert Shown(ana.page).checked["choice"] == "b"
    assert judgments(site) == []


@pytest.mark.parametrize("choice", ["", "A", "2", "both", "a\n"])
def test_a_choice_that_was_not_offered_is_refused(choice: str) -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    ana.judge(choice)
    assert (ana.status, judgments(site)) == (422, [])


def test_a_form_that_does_not_say_what_to_do_is_refused() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    for do in ({}, {"do": "burn"}):
        ana.post(where, {**ana.fields(), "choice": "a", **do})
        assert (ana.status, judgments(site)) == (422, [])
        ana.ballot()


# --- keys, tabs, revisions --------------------------------------------------------------------------------------


def test_the_same_form_twice_is_one_row() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    fields = {**ana.fields(), "do": "judge", "choice": "a"}
    assert ana.post(where, fields) == "/rate"
    head = site.book.head()
    assert ana.post(where, fields) == "/rate"
    assert site.book.head() == head


def test_two_tabs_with_the_same_choice_and_other_seconds_are_one_row() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    first = ana.fields()
    ana.ballot()
    second = ana.fields()
    assert first["key"] == second["key"]
    assert first["token"] != second["token"], "the token is masked anew on every page"
    assert ana.post(where, {**first, "do": "judge", "choice": "a", "seconds": "3"}) == "/rate"
    head = site.book.head()
    assert ana.post(where, {**second, "do": "judge", "choice": "a", "seconds": "9"}) == "/rate"
    assert site.book.head() == head


def test_two_tabs_with_different_choices_end_in_a_page_that_asks() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    fields = {**ana.fields(), "do": "judge"}
    ana.post(where, {**fields, "choice": "a", "comment": "from one"})
    assert ana.post(where, {**fields, "choice": "b", "comment": "from two"}) == ""
    assert ana.status == 409
    assert Shown(ana.page).texts == ["A is better", "from one", "B is better", "from two"]
    assert only(site).choice == -1
    assert ana.post(where, {**ana.fields(), "do": "judge"}) == "/rate"
    assert (only(site).choice, only(site).revision, only(site).comment) == (1, 1, "from two")


def test_a_skip_against_a_judgment_asks_too() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    fields = ana.fields()
    ana.post(where, {**fields, "do": "judge", "choice": "same"})
    ana.post(where, {**fields, "do": "skip", "reason": "language"})
    assert ana.status == 409
    assert Shown(ana.page).texts == ["About the same", "Skipped: The language"]


def test_an_answer_can_be_changed_and_both_rows_stay() -> None:
    site = make_site(FERRY, JAM)
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", "choice": "a", "comment": "first thought"})
    ana.get("/rate")
    assert f'href="{where}"' in ana.page, "the page leads to the last answer"
    shown = ana.get(where)
    assert (shown.checked["choice"], shown.checked["comment"]) == ("a", "first thought")
    assert "You are changing an answer" in ana.page
    assert ana.post(where, {**ana.fields(), "do": "judge", "choice": "b", "comment": ""}) == "/rate"
    rater = site.book.raters()[0].id
    assert [answer.revision for answer in site.book.answers(rater)] == [1, 0]
    assert (only(site).choice, only(site).comment) == (1, None)


def test_a_late_answer_from_before_a_restart_is_stored_and_marked() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where, fields = ana.ballot(), ana.fields()
    again = restarted(site)
    ben = Visitor(again).come_in(site.admission.invite("Ben"))
    assert ben.judge("b") == "/rate"
    assert ana.moved_to(again).post(where, {**fields, "do": "judge", "choice": "a"}) == "/rate"
    marks = [answer.surplus for rater in site.book.raters() for answer in site.book.answers(rater.id)]
    assert marks == [True, False]


# --- what is not theirs -----------------------------------------------------------------------------------------


def test_another_raters_ballot_is_not_there() -> None:
    site = make_site(FERRY)
    ana, ben = visitor(site), visitor(site, "Ben")
    where = ana.ballot()
    key = ana.fields()["key"]
    ben.get(where)
    assert ben.status == 404
    ben.get("/rate")
    token = Shown(ben.page).form("/leave")["token"]
    for stolen in (key, "", "0" * 32):
        ben.post(where, {"token": token, "key": stolen, "do": "judge", "choice": "a"})
        assert (ben.status, judgments(site)) == (404, [])


def test_after_the_round_is_decided_its_pages_are_closed() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", "choice": "a"})
    site.book.add(Decision(1, "better", "", ""))
    again = ana.moved_to(restarted(site))
    again.get(where)
    assert again.status == 404
    again.get("/rate")
    assert "/rate/" not in again.page, "no link to what cannot be changed"


def test_after_the_settlement_a_train_answer_is_read_no_more_and_the_text_is_kept() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", "choice": "a"})
    ana.get(where)
    fields = ana.fields()
    site.book.add(Settlement(1, (), (), (), 1, "h"))
    again = ana.moved_to(restarted(site))
    again.post(where, {**fields, "do": "judge", "choice": "b", "comment": "on second thought"})
    assert again.status == 404
    assert "can no longer be changed" in again.page
    assert Shown(again.page).texts == ["B is better", "on second thought"]
    assert only(site).choice == -1
    again.get("/rate")
    assert "You have judged once in this round" in again.page
    assert "/rate/" not in again.page, "no link to what cannot be changed"


# --- when the disk fails ----------------------------------------------------------------------------------------


class FullDisk(MemoryBook):
    """A book whose disk is full."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False

    def answer(self, answers: object) -> tuple[Stored, ...]:
        raise StorageError("the disk is full.", "Free some space.")

    def head(self) -> int:
        if self.full:
            raise StorageError("the disk is full.", "Free some space.")
        return super().head()


def test_when_nothing_can_be_stored_the_page_says_so_and_keeps_the_text() -> None:
    site, book = make_site(FERRY), FullDisk()
    book.add([*site.book.rounds(), *site.book.prompts(), *site.book.responses(), *site.book.ballots()])
    queue = PeopleQueue(book, site.admission)
    ana = Visitor(build(book, queue, site.admission, RUBRIC, settings_of())).come_in(site.admission.invite("Ana"))
    ana.judge("b", "an hour of <thought>")
    assert ana.status == 503
    assert Shown(ana.page).texts == ["B is better", "an hour of <thought>"]
    assert ana.client.get("/healthz").text == "ok\n"
    book.full = True
    assert ana.client.get("/healthz").status_code == 503


def test_when_nothing_can_be_read_the_page_says_so() -> None:
    book = FullDisk()
    admission = MemoryAdmission(book)
    ana = Visitor(build(book, PeopleQueue(book, admission), admission, RUBRIC, settings_of()))
    ana.come_in(admission.invite("Ana"))
    book.full = True
    ana.get("/rate")
    assert (ana.status, "The database cannot be used" in ana.page) == (503, True)


# --- blindness --------------------------------------------------------------------------------------------------


def bare(page: str) -> str:
    """Return a page without its texts, ids, keys and tokens."""
    page = re.sub(r'(<div class="text[^>]*>).*?(</div>)', r"\1\2", page, flags=re.DOTALL)
    return re.sub(r"[0-9a-f]{16,}", lambda found: "#" * len(found[0]), page)


def test_train_and_held_out_pages_are_equal_byte_for_byte() -> None:
    pages = []
    for number, case in enumerate((FERRY, JAM)):
        site = make_site()
        site.ask(case, split="held_out" if number else "train")
        ana = visitor(site)
        ana.ballot()
        pages.append(bare(ana.page))
    assert pages[0] == pages[1]
    assert "#" * 16 in pages[0]


def test_nothing_on_a_page_names_policy_split_or_response() -> None:
    site = make_site()
    site.ask(FERRY, split="held_out")
    ana = visitor(site)
    ana.ballot()
    for word in ("tuned", "reference", "held_out", "held-out", "train", "policy", "reward"):
        assert word not in ana.page, word
    for response in site.book.responses():
        assert response.id not in ana.page


# --- languages --------------------------------------------------------------------------------------------------


def test_the_pages_come_in_chinese() -> None:
    site = make_site(BAKERY)
    wei = visitor(site, "Wei", "zh-CN,zh;q=0.9,en;q=0.5")
    wei.get("/rate")
    assert '<html lang="zh-Hans"' in wei.page
    assert "哪个回答解释得更好？" in wei.page
    assert "已评 0 题，还剩约 1 题" in wei.page
    assert wei.judge("a") == "/rate"
    assert site.book.answers(site.book.raters()[0].id)[0].locale == "zh"


def test_the_language_can_be_changed_while_judging() -> None:
    site = make_site(FERRY)
    ana = visitor(site)
    ana.get("/rate")
    token = Shown(ana.page).form("/start")["token"]
    assert ana.post("/start", {"token": token, "locale": "zh"}) == "/rate"
    ana.get("/rate")
    assert '<html lang="zh-Hans"' in ana.page


def test_a_project_in_one_language_is_marked_as_such() -> None:
    site = make_site(FERRY)
    rubric = RUBRIC.model_copy(update={"comparison": {"en": "Which is better?"}, "guidelines": {"de": "Lies genau."}})
    app = build(site.book, site.queue, site.admission, rubric, settings_of())
    wei = Visitor(app, language="zh").come_in(site.admission.invite("Wei"))
    wei.get("/rate")
    assert '<h1 lang="en">Which is better?</h1>' in wei.page
    wei.get("/guide")
    assert 'lang="de" dir="auto">Lies genau.' in wei.page
