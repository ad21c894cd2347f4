"""Invitations work once and expire, sessions slide, a revoked rater is out, and nothing that opens a door is stored."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from expound.errors import InputError
from expound.ports import Admission as AdmissionPort
from expound.records import Rater
from expound.store.admission import Admission
from expound.store.book import LogBook, open_book


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 10, 32, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += timedelta(days=days)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(tmp_path: Path):
    with open_book(tmp_path) as opened:
        yield opened


@pytest.fixture
def admission(book: LogBook, clock: Clock) -> Admission:
    return Admission(book, clock)


def enter(admission: Admission, name: str = "Ada"):
    entered = admission.redeem(admission.invite(name))
    assert entered is not None
    return entered


def test_it_is_an_admission(admission: Admission) -> None:
    as_port: AdmissionPort = admission
    assert as_port.session("nothing") is None


def test_an_invitation_makes_a_rater_and_works_once(admission: Admission, book: LogBook) -> None:
    token = admission.invite(" Ada ")
    (rater,) = book.raters()
    assert (rater.name, rater.source, rater.active) == ("Ada", "people", True)
    assert admission.look(token)
    assert admission.look(token)
    entered = admission.redeem(token)
    assert entered is not None
    cookie, session = entered
    assert session.rater == rater
    assert (session.started, session.locale) == (False, "")
    assert admission.session(cookie) == session
    assert not admission.look(token)
    assert admission.redeem(token) is None


def test_an_unknown_token_opens_nothing(admission: Admission) -> None:
    for token in ("", "nonsense", "\ud800"):
        assert not admission.look(token)
        assert admission.redeem(token) is None
        assert admission.session(token) is None


def test_an_invitation_expires(admission: Admission, clock: Clock) -> None:
    early, late = admission.invite("Ada", days=2), admission.invite("Bo", days=3)
    clock.pass_days(2)
    assert (admission.look(early), admission.look(late)) == (False, True)
    assert admission.redeem(early) is None


def test_a_session_slides_for_thirty_days_after_its_last_use(admission: Admission, clock: Clock) -> None:
    cookie, session = enter(admission)
    for _ in range(3):
        clock.pass_days(29)
        assert admission.session(cookie) == session
    clock.pass_days(31)
    assert admission.session(cookie) is None


def test_start_is_remembered_with_its_language(admission: Admission, book: LogBook) -> None:
    cookie, session = enter(admission)
    admission.start(session, "zh")
    found = admission.session(cookie)
    assert found is not None
    assert (found.started, found.locale, found.rater.locale) == (True, "zh", "zh")
    assert found.secret == session.secret
    assert book.raters()[0].locale == "zh"


def test_leaving_ends_one_session_and_no_other(admission: Admission) -> None:
    first, session = enter(admission)
    second, _ = enter(admission)
    admission.leave(session)
    assert admission.session(first) is None
    assert admission.session(second) is not None


def test_a_revoked_rater_is_out_until_invited_again(admission: Admission, book: LogBook) -> None:
    cookie, session = enter(admission)
    other, _ = enter(admission, "Bo")
    waiting = admission.invite("Ada")
    admission.revoke(session.rater.id)
    assert admission.session(cookie) is None
    assert admission.redeem(waiting) is None
    assert admission.session(other) is not None
    assert not book.raters()[0].active
    again, renewed = enter(admission)
    assert renewed.rater.id == session.rater.id
    assert admission.session(again) is not None
    assert admission.session(cookie) is None


def test_a_rater_made_inactive_by_another_process_is_out(admission: Admission, book: LogBook, tmp_path: Path) -> None:
    cookie, session = enter(admission)
    with open_book(tmp_path) as elsewhere:
        Admission(elsewhere).revoke(session.rater.id)
    assert admission.session(cookie) is None


def test_an_unknown_rater_cannot_be_revoked(admission: Admission) -> None:
    with pytest.raises(InputError, match="no rater 'r9'"):
        admission.revoke("r9")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 81, "\x1b[31m"])
def test_a_name_that_is_none_is_refused(admission: Admission, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        admission.invite(name)


def test_an_invitation_lasts_a_day_at_least(admission: Admission) -> None:
    with pytest.raises(InputError, match="0 days"):
        admission.invite("Ada", days=0)


def test_a_simulated_rater_of_that_name_is_somebody_else(admission: Admission, book: LogBook) -> None:
    book.add(Rater("simulated-1", "Ada", source="simulated"))
    admission.invite("Ada")
    assert [rater.source for rater in book.raters()] == ["simulated", "people"]


def test_of_many_who_redeem_at_once_one_is_let_in(admission: Admission) -> None:
    token = admission.invite("Ada")
    entered = []
    threads = [threading.Thread(target=lambda: entered.append(admission.redeem(token))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in entered) == 1


def test_the_file_holds_no_token_and_no_cookie(admission: Admission, book: LogBook, tmp_path: Path) -> None:
    token = admission.invite("Ada")
    entered = admission.redeem(token)
    assert entered is not None
    connection = sqlite3.connect(tmp_path / "expound.db")
    dump = "\n".join(connection.iterdump())
    connection.close()
    assert token not in dump
    assert entered[0] not in dump
    assert hashlib.sha256(token.encode()).hexdigest() in dump


def test_keys_are_hmacs_that_every_process_of_the_project_agrees_on(tmp_path: Path) -> None:
    with open_book(tmp_path) as book, open_book(tmp_path) as other:
        key = Admission(book).answer_key("r1", "b1", 0)
        assert Admission(other).answer_key("r1", "b1", 0) == key
    with open_book(tmp_path) as book:
        assert Admission(book).answer_key("r1", "b1", 0) == key
    (tmp_path / "second").mkdir()
    with open_book(tmp_path / "second") as book:
        assert Admission(book).answer_key("r1", "b1", 0) != key


def test_a_key_is_128_bits_of_the_hmac_of_rater_ballot_and_revision(admission: Admission, book: LogBook) -> None:
    with book.database.read() as connection:
        secret = bytes.fromhex(connection.exec_driver_sql("SELECT value FROM secret").scalar_one())
    assert len(secret) == 32
    expected = hmac.digest(secret, b"r1\nb1\n2", "sha256").hex()[:32]
    assert admission.answer_key("r1", "b1", 2) == expected
    near = {admission.answer_key(*parts) for parts in (("r1", "b1", 3), ("r1", "b12", 2), ("r2", "b1", 2))}
    assert len(near | {expected}) == 4
