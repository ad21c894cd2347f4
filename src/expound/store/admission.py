"""Who is let in: invitations, browser sessions and the keys of forms. Their rows are the only ones that change.

A token or a cookie is 256 random bits and is stored as its SHA-256, so that a copy of the database opens no door.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Executable, delete, insert, select, update

from expound.errors import InputError
from expound.ports import Session
from expound.records import Rater
from expound.store import schema
from expound.store.book import LogBook

SESSION_DAYS = 30
SLIDE_DAYS = 1
MAX_NAME = 80
MOST_DAYS = 3650
KEYS = "keys"


class Admission:
    """Invitations and sessions of a project (fulfils ports.Admission); its secret is made at the first time."""

    def __init__(self, book: LogBook, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._book = book
        self._now = now
        self._secret = _project_secret(book)

    def answer_key(self, rater: str, ballot: str, revision: int) -> str:
        """Return the key of an answer: 128 bits in hex, the same in every tab and after every restart, and no guess."""
        said = "\n".join((rater, ballot, str(revision)))
        return hmac.new(self._secret, said.encode(), hashlib.sha256).hexdigest()[:32]

    def pseudonym_key(self) -> str:
        """Return the key of the pseudonyms under which raters leave the project: the same in every export."""
        return hmac.new(self._secret, b"pseudonyms", hashlib.sha256).hexdigest()

    def invite(self, name: str, *, days: int = 14) -> str:
        """Make an invitation and return its token, which is shown once and stored hashed.

        A person who is known by that name stays the same rater, and is let in again after a `revoke`.
        Errors: InputError for a name that is empty, too long or holds control characters, and for days beyond reason.
        """
        rater = self._rater_named(_checked_name(name))
        if not 1 <= days <= MOST_DAYS:
            raise InputError(f"an invitation cannot last {days} days.", f"Give 1 to {MOST_DAYS}.")
        self._book.add(rater)
        token = secrets.token_urlsafe(32)
        row = {
            "token_hash": _hash(token),
            "rater": rater.id,
            "made_at": _text(self._now()),
            "expires_at": _text(self._now() + timedelta(days=days)),
        }
        self._write(insert(schema.invitation).values(row))
        return token

    def look(self, token: str) -> bool:
        with self._book.database.read() as connection:
            return self._invited(connection, token) is not None

    def redeem(self, token: str) -> tuple[str, Session] | None:
        """Use a token: return the cookie's value and the session, or None when it is used, expired or unknown."""
        cookie = secrets.token_urlsafe(32)

        def work(connection: Connection) -> Session | None:
            rater = self._invited(connection, token)
            if rater is None:
                return None
            used = update(schema.invitation).where(schema.invitation.c.token_hash == _hash(token))
            connection.execute(used.values(used_at=_text(self._now())))
            session = Session(secrets.token_hex(16), rater, secrets.token_hex(32), started=False, locale="")
            row = {"cookie_hash": _hash(cookie), "expires_at": self._session_end(), "rater": rater.id}
            row |= {"id": session.id, "secret": session.secret, "locale": session.locale}
            connection.execute(insert(schema.session), [{**row, "started": session.started}])
            return session

        session = self._book.database.write(work)
        return None if session is None else (cookie, session)

    def session(self, cookie: str) -> Session | None:
        """Return the live session of a cookie, which lasts 30 days from its last use."""
        query = select(schema.session).where(schema.session.c.cookie_hash == _hash(cookie))
        with self._book.database.read() as connection:
            row = connection.execute(query).one_or_none()
        rater = None if row is None else self._book.rater(row.rater)
        if row is None or row.expires_at <= _text(self._now()) or rater is None or not rater.active:
            return None
        if row.expires_at < _text(self._now() + timedelta(days=SESSION_DAYS - SLIDE_DAYS)):
            self._change(row.id, {"expires_at": self._session_end()})
        return Session(row.id, rater, row.secret, row.started, row.locale)

    def start(self, session: Session, locale: str) -> None:
        self._change(session.id, {"started": True, "locale": locale})
        rater = self._book.rater(session.rater.id)
        if rater is not None:
            self._book.add(dataclasses.replace(rater, locale=locale))

    def leave(self, session: Session) -> None:
        self._write(delete(schema.session).where(schema.session.c.id == session.id))

    def revoke(self, rater: str) -> None:
        """Let the rater in no more: sessions end, and open invitations are void. Errors: InputError if unknown."""
        found = self._book.rater(rater)
        if found is None:
            names = ", ".join(f"{one.id} ({one.name})" for one in self._book.raters())
            raise InputError(f"there is no rater '{rater}'.", f"The raters are {names or 'none yet'}.")
        self._book.add(dataclasses.replace(found, active=False))
        self._write(delete(schema.session).where(schema.session.c.rater == rater))
        self._write(delete(schema.invitation).where(schema.invitation.c.rater == rater))

    def _rater_named(self, name: str) -> Rater:
        for rater in self._book.raters():
            if rater.name == name and rater.source == "people" and ":" not in rater.id:  # else somebody of a file
                return dataclasses.replace(rater, active=True)
        return Rater(f"r{secrets.token_hex(8)}", name)

    def _invited(self, connection: Connection, token: str) -> Rater | None:
        """Return the rater whom a token would let in now."""
        table = schema.invitation.c
        query = select(table.rater).where(
            table.token_hash == _hash(token), table.used_at.is_(None), table.expires_at > _text(self._now())
        )
        id_ = connection.execute(query).scalar_one_or_none()
        rater = None if id_ is None else self._book.rater(id_)
        return rater if rater is not None and rater.active else None

    def _session_end(self) -> str:
        return _text(self._now() + timedelta(days=SESSION_DAYS))

    def _change(self, id_: str, values: dict[str, str | bool]) -> None:
        self._write(update(schema.session).where(schema.session.c.id == id_).values(values))

    def _write(self, statement: Executable) -> None:
        self._book.database.write(lambda connection: connection.execute(statement))


def _project_secret(book: LogBook) -> bytes:
    """Return the secret of the project, made once."""
    query = select(schema.secret.c.value).where(schema.secret.c.name == KEYS)
    with book.database.read() as connection:
        found = connection.execute(query).scalar_one_or_none()

    def make(connection: Connection) -> str:
        made = connection.execute(query).scalar_one_or_none()
        if made is None:
            made = secrets.token_hex(32)
            connection.execute(insert(schema.secret), [{"name": KEYS, "value": made}])
        return str(made)

    return bytes.fromhex(found or book.database.write(make))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _text(moment: datetime) -> str:
    """Return a moment in UTC as text that sorts like time."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InputError(
            f"{name[:MAX_NAME]!r} cannot be the name of a rater.", f"Give 1 to {MAX_NAME} characters on one line."
        )
    return name
