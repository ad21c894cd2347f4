"""The log of a project: append, and read the newest state. The only file that writes the table `entry`.

A row is never changed. What a round has once (its settlement, say) and what may change its state (a rater) get another
row, and the newest one counts; a response, a ballot, a round and the split of a prompt never change.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from sqlalchemy import Connection, func, insert, select

from expound.errors import JudgmentError
from expound.ports import Stored
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
    Split,
)
from expound.store.codec import ANSWER, NAMES, answer_id, decode, encode, encode_answer, identity
from expound.store.database import BUSY_SECONDS, FILE_NAME, Database
from expound.store.failures import storage_errors
from expound.store.fitting import check_answer
from expound.store.index import Index, R
from expound.store.schema import entry

T = TypeVar("T")
Cell = str | int | None
Row = dict[str, Cell]
NEVER_CHANGE = frozenset({Response, Ballot, Round})
MAX_NAMES = 500
COLUMNS = select(entry.c.sequence, entry.c.key, entry.c.kind, entry.c.payload).order_by(entry.c.sequence)


def open_book(folder: Path | str, *, busy_seconds: float = BUSY_SECONDS) -> LogBook:
    """Open the book of a project folder, made and migrated if need be; close it.

    `busy_seconds` is how long to wait for another process that writes.
    Errors: StorageError for what is damaged, locked, another program's, or a newer version's.
    """
    database = Database(Path(folder) / FILE_NAME, busy_seconds=busy_seconds)
    try:
        return LogBook(database)
    except BaseException:
        database.close()
        raise


@dataclass(frozen=True)
class _State:
    """The newest payload of a record in the log, and how many rows it has."""

    payload: str
    rows: int


class LogBook:
    """A book in a database (fulfils ports.Book); for any number of threads and processes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = threading.Lock()
        self._index = Index()
        self._tail = database.reader()
        self._version = -1
        self.head()

    def __enter__(self) -> LogBook:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Finish what waits to be written and let go of the database."""
        with self._lock:
            self._tail.close()
        self.database.close()

    # --- append -------------------------------------------------------------------------------------------------

    def add(self, records: Iterable[Record] | Record) -> int:
        """Append what is not there yet, in one transaction, and return how many rows were new.

        Errors: StorageError when disk or database fail; InputError for a number or a text that no row can hold.
        """
        wanted = [records] if isinstance(records, Record) else list(records)
        drafts = [(record, encode(record)) for record in wanted]
        return self.database.write(lambda connection: _append(connection, drafts), len(drafts)) if drafts else 0

    def answer(self, answers: Sequence[Answer]) -> Sequence[Stored]:
        """Append answers, all or none, and return after the commit; what is there already is `repeated`.

        Errors: JudgmentError when a key is there with other judgments, or an answer does not fit its ballot;
        StorageError when disk or database fail.
        """
        with self._current() as index:
            for answer in answers:
                check_answer(answer, index.one(Ballot, answer.ballot))
        rows = [_answer_row(answer) for answer in answers]
        return self.database.write(lambda connection: _append_answers(connection, rows), len(rows)) if rows else ()

    # --- read ---------------------------------------------------------------------------------------------------

    def head(self) -> int:
        with self._current() as index:
            return index.head

    def prompts(self, split: Split | None = None) -> tuple[Prompt, ...]:
        return tuple(prompt for prompt in self._all(Prompt) if split in (None, prompt.split))

    def responses(
        self, split: Split | None = None, *, round_: int | None = None, policy: str | None = None
    ) -> tuple[Response, ...]:
        prompts = None if split is None else {prompt.id for prompt in self.prompts(split)}
        return tuple(
            response
            for response in self._all(Response)
            if (prompts is None or response.prompt in prompts)
            and round_ in (None, response.round)
            and policy in (None, response.policy)
        )

    def ballots(self, split: Split | None = None, *, round_: int | None = None) -> tuple[Ballot, ...]:
        found = self._all(Ballot)
        return tuple(one for one in found if split in (None, one.split) and round_ in (None, one.round))

    def judgments(self, split: Split | None = None, *, round_: int | None = None) -> tuple[Judgment, ...]:
        with self._current() as index:
            said = [judgment for answer in index.answers() for judgment in answer.judgments]
        return tuple(one for one in said if split in (None, one.split) and round_ in (None, one.round))

    def answers(self, rater: str, limit: int = 50) -> tuple[Answer, ...]:
        with self._current() as index:
            newest_first = reversed(index.answers())
            return tuple(islice((answer for answer in newest_first if answer.rater == rater), limit))

    def answered(self) -> Mapping[str, tuple[str, ...]]:
        with self._current() as index:
            return index.who(skipped=False)

    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        with self._current() as index:
            return index.who(skipped=True)

    def raters(self) -> tuple[Rater, ...]:
        return self._all(Rater)

    def rater(self, id_: str) -> Rater | None:
        """Return a rater in the newest state, or None."""
        with self._current() as index:
            return index.one(Rater, id_)

    def rounds(self) -> tuple[Round, ...]:
        return tuple(sorted(self._all(Round), key=lambda found: found.number))

    def policies(self) -> tuple[PolicyRecord, ...]:
        return tuple(sorted(self._all(PolicyRecord), key=lambda found: found.round))

    def settlements(self) -> tuple[Settlement, ...]:
        return tuple(sorted(self._all(Settlement), key=lambda found: found.round))

    def rewards(self) -> tuple[RewardCard, ...]:
        return tuple(sorted(self._all(RewardCard), key=lambda found: found.round))

    def evaluations(self) -> tuple[Evaluation, ...]:
        return tuple(sorted(self._all(Evaluation), key=lambda found: found.round))

    def decisions(self) -> tuple[Decision, ...]:
        return tuple(sorted(self._all(Decision), key=lambda found: found.round))

    def _all(self, kind: type[R]) -> tuple[R, ...]:
        with self._current() as index:
            return tuple(index.all(kind))

    @contextmanager
    def _current(self) -> Iterator[Index]:
        """Give the index, with whatever any process has committed by now, to this thread alone."""
        with self._lock:
            with storage_errors(self.database.path), self._tail.begin():
                self._catch_up()
            yield self._index

    def _catch_up(self) -> None:
        version = self._tail.exec_driver_sql("PRAGMA data_version").scalar_one()
        if version != self._version:
            for sequence, key, kind, payload in self._tail.execute(COLUMNS.where(entry.c.sequence > self._index.head)):
                self._index.take(sequence, key, kind, payload)
            self._version = version


# --- rows, written inside a transaction that holds the write lock ------------------------------------------------


def _append(connection: Connection, drafts: Sequence[tuple[Record, str]]) -> int:
    states = _states(connection, [record for record, _ in drafts])
    rows: list[Row] = []
    for record, payload in drafts:
        name = NAMES[type(record)], identity(record)
        before = states.get(name)
        text = payload if before is None else _changed(before.payload, record, payload)
        if text is not None:
            count = 0 if before is None else before.rows
            states[name] = _State(text, count + 1)
            rows.append(_record_row(record, text, count))
    _insert(connection, rows)
    return len(rows)


def _states(connection: Connection, records: Sequence[Record]) -> dict[tuple[str, str], _State]:
    """Return what the log holds of the records, by kind and identity."""
    by_kind: dict[str, list[str]] = {}
    for record in records:
        by_kind.setdefault(NAMES[type(record)], []).append(identity(record))
    states: dict[tuple[str, str], _State] = {}
    for kind, names in by_kind.items():
        for chunk in _chunks(names):
            query = select(entry.c.id, entry.c.payload).where(entry.c.kind == kind, entry.c.id.in_(chunk))
            for name, payload in connection.execute(query.order_by(entry.c.sequence)):
                before = states.get((kind, name))
                states[kind, name] = _State(payload, 1 if before is None else before.rows + 1)
    return states


def _changed(before: str, record: Record, payload: str) -> str | None:
    """Return the payload of the row that a known record needs, or None when it needs none."""
    if type(record) in NEVER_CHANGE or payload == before:
        return None
    old = decode(NAMES[type(record)], before, "the row before")
    if isinstance(record, Prompt) and isinstance(old, Prompt) and old.split is not None:
        payload = encode(dataclasses.replace(record, split=old.split))
    # The row before may be of a version whose records had fewer fields.
    return None if payload == encode(old) else payload


def _append_answers(connection: Connection, rows: Sequence[Row]) -> Sequence[Stored]:
    known: dict[Cell, tuple[Cell, int]] = {}
    for chunk in _chunks([row["key"] for row in rows]):
        query = select(entry.c.key, entry.c.id, entry.c.sequence).where(entry.c.key.in_(chunk))
        known.update({key: (id_, sequence) for key, id_, sequence in connection.execute(query)})
    fresh: list[Row] = []
    stored: list[Stored] = []
    following = _last(connection) + 1
    for row in rows:
        id_, sequence = known.setdefault(row["key"], (row["id"], following + len(fresh)))
        if id_ != row["id"]:
            raise JudgmentError(
                f"the answer to ballot '{row['object']}' is stored already, with other judgments.",
                "Open the ballot again to see the stored answer and to change it.",
            )
        is_new = sequence == following + len(fresh)
        stored.append(Stored(str(row["key"]), sequence, repeated=not is_new))
        if is_new:
            fresh.append(row)
    _insert(connection, fresh)
    return stored


def _insert(connection: Connection, rows: Sequence[Row]) -> None:
    if rows:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        following = _last(connection) + 1
        numbered = [{**row, "sequence": following + place, "at": at} for place, row in enumerate(rows)]
        connection.execute(insert(entry), numbered)


def _last(connection: Connection) -> int:
    last: int | None = connection.execute(select(func.max(entry.c.sequence))).scalar_one()
    return last or 0


def _record_row(record: Record, payload: str, earlier_rows: int) -> Row:
    kind, name = NAMES[type(record)], identity(record)
    # A colon, which no key of an answer may hold, keeps records and answers apart.
    key = f"{kind}:{name}" if earlier_rows == 0 else f"{kind}:{name}:{earlier_rows}"
    rater = record.id if isinstance(record, Rater) else None
    about = record.prompt if isinstance(record, Response | Ballot) else None
    return {"key": key, "kind": kind, "payload": payload, "id": name, "rater": rater, "object": about}


def _answer_row(answer: Answer) -> Row:
    return {
        "key": answer.key,
        "kind": ANSWER,
        "payload": encode_answer(answer),
        "id": answer_id(answer),
        "rater": answer.rater,
        "object": answer.ballot,
    }


def _chunks(names: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the names in as many as one statement takes."""
    return (names[start : start + MAX_NAMES] for start in range(0, len(names), MAX_NAMES))
