"""What the log says, in memory: the newest state of everything, kept up row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from expound.records import Answer, Ballot, Judgment, Rater, Record, Skip
from expound.store.codec import ANSWER, KINDS, NAMES, decode, decode_answer, identity

R = TypeVar("R", bound=Record)


class Index:
    """The state of the log up to the row `head`. Not for several threads at once."""

    def __init__(self) -> None:
        self.head = 0
        self._records: Mapping[str, dict[str, Record]] = {kind: {} for kind in KINDS}
        self._answers: dict[tuple[str, str], Answer] = {}
        self._of_rater: dict[str, dict[str, Answer]] = {}
        self._answered: dict[str, tuple[str, ...]] = {}
        self._skipped: dict[str, tuple[str, ...]] = {}

    def take(self, sequence: int, key: str, kind: str, payload: str) -> None:
        """Take the next row. Errors: StorageError for a row that cannot be read."""
        where = f"row {sequence} of the log"
        if kind == ANSWER:
            self._take_answer(decode_answer(key, payload, where))
        else:
            record = decode(kind, payload, where)
            self._records[kind][identity(record)] = record
        self.head = sequence

    def all(self, kind: type[R]) -> Iterator[R]:
        """Yield the records of a kind in their newest state, in the order in which each came first."""
        return (record for record in self._records[NAMES[kind]].values() if isinstance(record, kind))

    def ballot(self, id_: str) -> Ballot | None:
        """Return a ballot."""
        found = self._records[NAMES[Ballot]].get(id_)
        return found if isinstance(found, Ballot) else None

    def rater(self, id_: str) -> Rater | None:
        """Return a rater in the newest state."""
        found = self._records[NAMES[Rater]].get(id_)
        return found if isinstance(found, Rater) else None

    def judgments(self) -> Iterator[Judgment]:
        """Yield the judgments of the newest revisions, in the order of their rows."""
        return (judgment for answer in self._answers.values() for judgment in answer.judgments)

    def answers(self, rater: str) -> tuple[Answer, ...]:
        """Return the newest revisions of a rater's answers, oldest row first."""
        return tuple(self._of_rater.get(rater, {}).values())

    def answered(self) -> Mapping[str, tuple[str, ...]]:
        """Return the raters by ballot that they answered."""
        return dict(self._answered)

    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        """Return the raters by ballot that they skipped."""
        return dict(self._skipped)

    def _take_answer(self, answer: Answer) -> None:
        name = answer.ballot, answer.rater
        before = self._answers.get(name)
        if before is not None and before.revision > answer.revision:
            return  # a late retry of what was corrected since
        mine = self._of_rater.setdefault(answer.rater, {})
        mine.pop(answer.ballot, None)
        # Taken out first, so that a correction stands where its row stands: last.
        self._answers.pop(name, None)
        self._answers[name] = mine[answer.ballot] = answer
        is_skip = any(isinstance(judgment, Skip) for judgment in answer.judgments)
        _leave(self._answered if is_skip else self._skipped, answer)
        _join(self._skipped if is_skip else self._answered, answer)


def _join(table: dict[str, tuple[str, ...]], answer: Answer) -> None:
    raters = table.get(answer.ballot, ())
    if answer.rater not in raters:
        table[answer.ballot] = (*raters, answer.rater)


def _leave(table: dict[str, tuple[str, ...]], answer: Answer) -> None:
    raters = tuple(rater for rater in table.get(answer.ballot, ()) if rater != answer.rater)
    if raters:
        table[answer.ballot] = raters
    else:
        table.pop(answer.ballot, None)
