"""What the log says, in memory: the newest state of everything, kept up row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from expound.records import Answer, Record, Skip
from expound.store.codec import ANSWER, NAMES, decode, decode_answer, identity

R = TypeVar("R", bound=Record)


class Index:
    """The state of the log up to the row `head`. Not for several threads at once."""

    def __init__(self) -> None:
        self.head = 0
        self._records: Mapping[type[object], dict[str, Record]] = {kind: {} for kind in NAMES}
        self._answers: dict[tuple[str, str], Answer] = {}

    def take(self, sequence: int, key: str, kind: str, payload: str) -> None:
        """Take the next row. Errors: StorageError for a row that cannot be read."""
        where = f"row {sequence} of the log"
        if kind == ANSWER:
            self._take_answer(decode_answer(key, payload, where))
        else:
            record = decode(kind, payload, where)
            self._records[type(record)][identity(record)] = record
        self.head = sequence

    def all(self, kind: type[R]) -> Iterator[R]:
        """Yield the records of a kind in their newest state, in the order in which each came first."""
        return (record for record in self._records[kind].values() if isinstance(record, kind))

    def one(self, kind: type[R], id_: str) -> R | None:
        """Return a record in its newest state."""
        found = self._records[kind].get(id_)
        return found if isinstance(found, kind) else None

    def answers(self) -> list[Answer]:
        """Return the newest revisions, in the order of their rows."""
        return list(self._answers.values())

    def who(self, *, skipped: bool) -> Mapping[str, tuple[str, ...]]:
        """Return the raters by ballot that they skipped, or answered otherwise."""
        found: dict[str, tuple[str, ...]] = {}
        for answer in self._answers.values():
            if any(isinstance(judgment, Skip) for judgment in answer.judgments) == skipped:
                found[answer.ballot] = (*found.get(answer.ballot, ()), answer.rater)
        return found

    def _take_answer(self, answer: Answer) -> None:
        name = answer.ballot, answer.rater
        before = self._answers.get(name)
        if before is None or before.revision <= answer.revision:  # else it is a late retry of what was corrected since
            self._answers.pop(name, None)  # so that a correction stands where its row stands: last
            self._answers[name] = answer
