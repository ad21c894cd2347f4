"""A book and an admission in memory: real implementations of the ports, for tests of what stands on them.

Nothing is written to a disk and nothing is converted; everything else is as the ports say. Thread-safe.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from expound.errors import JudgmentError
from expound.ports import Session, Stored
from expound.records import (
    Answer,
    Ballot,
    Decision,
    Evaluation,
    Judgment,
    PolicyRecord,
    Prompt,
    Rater,
    Record,
    Response,
    RewardCard,
    Round,
    Settlement,
    Skip,
    Split,
)

Kind = TypeVar("Kind", bound=Record)
Ends = Callable[[Session], bool]


class MemoryBook:
    """The log of a project as a list (fulfils ports.Book)."""

    def __init__(self) -> None:
        self._rows: list[Record | Answer] = []
        self._identities: set[tuple[str, str]] = set()
        self._keys: dict[str, int] = {}
        self._lock = threading.RLock()

    def add(self, records: Iterable[Record] | Record) -> int:
        """Append what is not there yet and return how many were new; a rater in a new state is new."""
        given = list(records) if isinstance(records, Iterable) else [records]
        with self._lock:
            before = len(self._rows)
            for record in given:
                identity = (type(record).__name__, _identity(record))
                if identity not in self._identities:
                    self._identities.add(identity)
                    self._rows.append(record)
            return len(self._rows) - before

    def answer(self, answers: Sequence[Answer]) -> Sequence[Stored]:
        """Append answers, all or none. JudgmentError when a key is there with another content."""
        with self._lock:
            for answer in answers:
                self._refuse_another(answer)
            return [self._store(answer) for answer in answers]

    def _refuse_another(self, answer: Answer) -> None:
        if answer.key in self._keys:
            stored = self._rows[self._keys[answer.key] - 1]
            assert isinstance(stored, Answer)
            if _timeless(stored) != _timeless(answer):
                raise JudgmentError(f"ballot {answer.ballot} has another answer of that key.", "Change it instead.")

    def _store(self, answer: Answer) -> Stored:
        if answer.key in self._keys:
            return Stored(answer.key, self._keys[answer.key], repeated=True)
        self._rows.append(answer)
        self._keys[answer.key] = len(self._rows)
        return Stored(answer.key, len(self._rows), repeated=False)

    def head(self) -> int:
        """Return the sequence of the last row."""
        return len(self._rows)

    def _of(self, kind: type[Kind]) -> tuple[Kind, ...]:
        with self._lock:
            return tuple(row for row in self._rows if isinstance(row, kind))

    def _answers(self) -> tuple[Answer, ...]:
        with self._lock:
            return tuple(row for row in self._rows if isinstance(row, Answer))

    def _newest(self) -> tuple[Answer, ...]:
        newest: dict[tuple[str, str], Answer] = {}
        for answer in self._answers():
            held = newest.get((answer.ballot, answer.rater))
            if held is None or held.revision <= answer.revision:
                newest[answer.ballot, answer.rater] = answer
        return tuple(newest.values())

    def prompts(self, split: Split | None = None) -> tuple[Prompt, ...]:
        """Return the prompts, of one split or all."""
        return tuple(prompt for prompt in self._of(Prompt) if split in (None, prompt.split))

    def responses(
        self, split: Split | None = None, *, round_: int | None = None, policy: str | None = None
    ) -> tuple[Response, ...]:
        """Return the responses to prompts of a split, of a round, of a policy."""
        prompts = {prompt.id for prompt in self.prompts(split)}
        return tuple(
            response
            for response in self._of(Response)
            if response.prompt in prompts and round_ in (None, response.round) and policy in (None, response.policy)
        )

    def ballots(self, split: Split | None = None, *, round_: int | None = None) -> tuple[Ballot, ...]:
        """Return the ballots."""
        found = self._of(Ballot)
        return tuple(ballot for ballot in found if split in (None, ballot.split) and round_ in (None, ballot.round))

    def judgments(self, split: Split | None = None, *, round_: int | None = None) -> tuple[Judgment, ...]:
        """Return the judgments of the newest revision of each (ballot, rater)."""
        said = [judgment for answer in self._newest() for judgment in answer.judgments]
        return tuple(one for one in said if split in (None, one.split) and round_ in (None, one.round))

    def answers(self, rater: str, limit: int = 50) -> tuple[Answer, ...]:
        """Return the newest answers of a rater, newest first."""
        return tuple(answer for answer in reversed(self._answers()) if answer.rater == rater)[:limit]

    def answered(self) -> Mapping[str, tuple[str, ...]]:
        """Return for every ballot with an answer that is no skip the raters who gave it."""
        return self._who(skipped=False)

    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        """Return for every skipped ballot the raters who skipped it."""
        return self._who(skipped=True)

    def _who(self, *, skipped: bool) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for answer in self._newest():
            if any(isinstance(judgment, Skip) for judgment in answer.judgments) == skipped:
                found[answer.ballot] = (*found.get(answer.ballot, ()), answer.rater)
        return found

    def raters(self) -> tuple[Rater, ...]:
        """Return the raters in their newest state."""
        return tuple({rater.id: rater for rater in self._of(Rater)}.values())

    def rounds(self) -> tuple[Round, ...]:
        """Return the rounds, oldest first."""
        return self._of(Round)

    def policies(self) -> tuple[PolicyRecord, ...]:
        """Return the policies, the reference first."""
        return self._of(PolicyRecord)

    def settlements(self) -> tuple[Settlement, ...]:
        """Return the settlements, oldest first."""
        return self._of(Settlement)

    def rewards(self) -> tuple[RewardCard, ...]:
        """Return the fitted rewards, oldest first."""
        return self._of(RewardCard)

    def evaluations(self) -> tuple[Evaluation, ...]:
        """Return the evaluations, oldest first."""
        return self._of(Evaluation)

    def decisions(self) -> tuple[Decision, ...]:
        """Return the decisions, oldest first."""
        return self._of(Decision)


def _identity(record: Record) -> str:
    match record:
        case Round():
            return str(record.number)
        case Settlement() | RewardCard() | Evaluation() | Decision():
            return str(record.round)
        case Rater():
            return repr(record)
        case _:
            return record.id


def _timeless(answer: Answer) -> tuple[Judgment, ...]:
    return tuple(replace(judgment, seconds=None, shown_at=None) for judgment in answer.judgments)


class MemoryAdmission:
    """Invitations and sessions in dictionaries (fulfils ports.Admission); tokens count up from the secret."""

    def __init__(self, book: MemoryBook, secret: bytes = b"a secret of tests") -> None:
        self._book = book
        self._secret = secret
        self._made = 0
        self._invitations: dict[str, Rater] = {}
        self._sessions: dict[str, Session] = {}
        self._lock = threading.RLock()

    def _token(self, purpose: str) -> str:
        self._made += 1
        return hmac.new(self._secret, f"{purpose}{self._made}".encode(), hashlib.sha256).hexdigest()

    def invite(self, name: str, *, days: int = 14) -> str:
        """Make an invitation and return its token; with no days it has expired already."""
        with self._lock:
            token = self._token("invitation")
            rater = Rater(f"r{self._made}", name)
            self._book.add(rater)
            if days > 0:
                self._invitations[token] = rater
            return token

    def look(self, token: str) -> bool:
        """Return whether the token would be redeemed now; changes nothing."""
        return token in self._invitations

    def redeem(self, token: str) -> tuple[str, Session] | None:
        """Use a token: return the cookie's value and the session, or None."""
        with self._lock:
            rater = self._invitations.pop(token, None)
            if rater is None:
                return None
            cookie = self._token("session")
            self._sessions[cookie] = Session(cookie[:8], rater, self._token("secret"), started=False, locale="")
            return cookie, self._sessions[cookie]

    def session(self, cookie: str) -> Session | None:
        """Return the live session of a cookie."""
        return self._sessions.get(cookie)

    def start(self, session: Session, locale: str) -> None:
        """Note that the rater consented and chose a language."""
        with self._lock:
            for cookie, held in self._sessions.items():
                if held.id == session.id:
                    self._sessions[cookie] = replace(held, started=True, locale=locale)

    def leave(self, session: Session) -> None:
        """End the session."""
        self._end(lambda held: held.id == session.id)

    def revoke(self, rater: str) -> None:
        """Let the rater in no more."""
        with self._lock:
            self._end(lambda held: held.rater.id == rater)
            self._invitations = {token: who for token, who in self._invitations.items() if who.id != rater}

    def _end(self, ends: Ends) -> None:
        with self._lock:
            self._sessions = {cookie: held for cookie, held in self._sessions.items() if not ends(held)}

    def answer_key(self, rater: str, ballot: str, revision: int) -> str:
        """Return the key of an answer."""
        message = "\n".join((rater, ballot, str(revision))).encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:32]
