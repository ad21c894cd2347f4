"""Records and their rows: canonical JSON both ways, and what makes two records the same thing.

The types of the dataclasses in records.py are the schema. Reading is strict: a missing field without a default, an
unknown field or a value of another type is an error, so a row means what it meant when it was written.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from expound.errors import InputError, StorageError
from expound.records import (
    JUDGMENTS,
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
    content_id,
)

ANSWER = "judgment"
KINDS: Mapping[str, type[Record]] = {
    "prompt": Prompt,
    "response": Response,
    "ballot": Ballot,
    "rater": Rater,
    "settlement": Settlement,
    "reward": RewardCard,
    "policy": PolicyRecord,
    "round": Round,
    "evaluation": Evaluation,
    "decision": Decision,
}
NAMES: Mapping[type[object], str] = {kind: name for name, kind in KINDS.items()}
LINE_NAMES: Mapping[type[object], str] = {kind: name for name, kind in JUDGMENTS.items()}
OF_THE_ROW = ("rater", "ballot", "revision")
TIMELESS = {"seconds": None, "shown_at": None}
RESTORE = "Restore expound.db from a backup, or use the version of expound that wrote it."

T = TypeVar("T")


# --- what a record is -------------------------------------------------------------------------------------------


def identity(record: Record) -> str:
    """Return what makes two records of a kind the same thing: the round for what a round has once, else the id."""
    match record:
        case Settlement() | RewardCard() | Evaluation() | Decision():
            return str(record.round)
        case Round():
            return str(record.number)
        case _:
            return record.id


def answer_id(answer: Answer) -> str:
    """Return the content id of an answer: of ballot, rater, revision and judgments without their times.

    Two tabs with the same choice differ in seconds, and are one answer all the same.
    """
    lines = [{**_line(judgment), **TIMELESS} for judgment in answer.judgments]
    return content_id("answer", answer.ballot, answer.rater, answer.revision, encode(lines))


# --- writing ----------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> str:
    """Return the canonical JSON of an answer; its lines leave out what the row says. Errors as in `encode`."""
    lines = tuple(_line(judgment) for judgment in answer.judgments)
    marks = answer.device, answer.locale, answer.surplus
    return encode(_AnswerRow(answer_id(answer), answer.rater, answer.revision, lines, *marks, object=answer.ballot))


def _line(judgment: Judgment) -> dict[str, object]:
    fields = {name: value for name, value in _fields(judgment).items() if name not in OF_THE_ROW}
    return {"kind": LINE_NAMES[type(judgment)], **fields}


def encode(value: object) -> str:
    """Return the canonical JSON of a record, or of what it is made of.

    Errors: InputError for a number that is not finite and for half a surrogate pair, which no file could hold.
    """
    try:
        text = json.dumps(
            value, default=_fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text holds half of a character ({error.object[error.start : error.end]!r}).", "Mend the text."
        ) from error
    except ValueError as error:
        raise InputError(f"a number is not finite: {error}.", "Mend what computed it.") from error
    return text


def _fields(value: object) -> Mapping[str, object]:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise InputError(f"{value!r} is of type {type(value).__name__}, which no row can hold.", "Store plain values.")


# --- reading ----------------------------------------------------------------------------------------------------


def decode(kind: str, payload: str, where: str) -> Record:
    """Return the record of a row; `where` names the row in errors.

    Errors: StorageError for an unknown kind and for a payload that `encode` would not have written.
    """
    if kind not in KINDS:
        raise StorageError(f"{where} is of the unknown kind '{kind}'.", RESTORE)
    return _read(KINDS[kind], payload, where)


def decode_answer(key: str, payload: str, where: str) -> Answer:
    """Return the answer of a row. Errors as in `decode`."""
    row = _read(_AnswerRow, payload, where)
    shared: dict[str, object] = {"rater": row.rater, "ballot": row.object, "revision": row.revision}
    judgments = tuple(_judgment({**line, **shared}, where) for line in row.lines)
    return Answer(key, row.object, row.rater, judgments, row.revision, row.device, row.locale, row.surplus)


@dataclasses.dataclass(frozen=True)
class _AnswerRow:
    """The payload of an answer as it is written."""

    id: str
    rater: str
    revision: int
    lines: tuple[dict[str, object], ...]
    device: str
    locale: str
    surplus: bool
    object: str


def _judgment(line: dict[str, object], where: str) -> Judgment:
    kind = line.pop("kind", None)
    if not isinstance(kind, str) or kind not in JUDGMENTS:
        raise StorageError(f"{where} holds a judgment of the unknown kind {kind!r}.", RESTORE)
    return _read(JUDGMENTS[kind], encode(line), where)


def _read(kind: type[T], payload: str, where: str) -> T:
    try:
        record = ADAPTERS[kind].validate_json(payload, strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or kind.__name__
        raise StorageError(f"{where} cannot be read: {place}: {first['msg']}.", RESTORE) from error
    assert isinstance(record, kind)
    return record


ADAPTERS: Mapping[type[object], TypeAdapter[object]] = {
    kind: TypeAdapter(kind) for kind in (*KINDS.values(), *JUDGMENTS.values(), _AnswerRow)
}
