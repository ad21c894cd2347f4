"""Records and their rows: canonical JSON both ways, and what makes two records the same thing.

The types of the dataclasses in records.py are the schema. Reading is strict: a missing field without a default, an
unknown field or a value of another type is an error, so a row means what it meant when it was written.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, Union, get_args, get_origin, get_type_hints

from expound.errors import InputError, StorageError
from expound.records import (
    Answer,
    Ballot,
    Comparison,
    Decision,
    Evaluation,
    Json,
    Judgment,
    PolicyRecord,
    Prompt,
    Rater,
    Rating,
    Record,
    Response,
    RewardCard,
    Round,
    Settlement,
    Skip,
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
LINES: Mapping[str, type[Judgment]] = {"comparison": Comparison, "rating": Rating, "skip": Skip}
LINE_NAMES: Mapping[type[object], str] = {kind: name for name, kind in LINES.items()}
OF_THE_ROW = ("rater", "ballot", "revision")
TIMELESS = {"seconds": None, "shown_at": None}
RESTORE = "Restore expound.db from a backup, or use the version of expound that wrote it."

Read = Callable[[object], object]


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


def subject(record: Record) -> str | None:
    """Return the prompt that a response or a ballot is about."""
    return record.prompt if isinstance(record, Response | Ballot) else None


def answer_id(answer: Answer) -> str:
    """Return the content id of an answer: of ballot, rater, revision and judgments without their times.

    Two tabs with the same choice differ in seconds, and are one answer all the same.
    """
    lines = [{**_line(judgment), **TIMELESS} for judgment in answer.judgments]
    return content_id("answer", answer.ballot, answer.rater, answer.revision, _dumps(lines))


# --- writing ----------------------------------------------------------------------------------------------------


def encode(record: Record) -> str:
    """Return the canonical JSON of a record.

    Errors: InputError for a number that is not finite and for half a surrogate pair, which no file could hold.
    """
    return _dumps(record)


def encode_answer(answer: Answer) -> str:
    """Return the canonical JSON of an answer; its lines leave out what the row says. Errors as in `encode`."""
    return _dumps(
        {
            "id": answer_id(answer),
            "rater": answer.rater,
            "object": answer.ballot,
            "revision": answer.revision,
            "lines": [_line(judgment) for judgment in answer.judgments],
            "device": answer.device,
            "locale": answer.locale,
            "surplus": answer.surplus,
        }
    )


def _line(judgment: Judgment) -> dict[str, object]:
    fields = {name: value for name, value in _fields(judgment).items() if name not in OF_THE_ROW}
    return {"kind": LINE_NAMES[type(judgment)], **fields}


def _dumps(value: object) -> str:
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
    record = _decoded(KINDS[kind], payload, where)
    assert isinstance(record, Record)
    return record


def decode_answer(key: str, payload: str, where: str) -> Answer:
    """Return the answer of a row. Errors as in `decode`."""
    row = _decoded(_AnswerRow, payload, where)
    assert isinstance(row, _AnswerRow)
    shared: dict[str, Json] = {"rater": row.rater, "ballot": row.object, "revision": row.revision}
    judgments = tuple(_judgment(line, shared, where) for line in row.lines)
    return Answer(key, row.object, row.rater, judgments, row.revision, row.device, row.locale, row.surplus)


@dataclasses.dataclass(frozen=True)
class _AnswerRow:
    """The payload of an answer as it is written."""

    id: str
    rater: str
    revision: int
    lines: tuple[Mapping[str, Json], ...]
    device: str
    locale: str
    surplus: bool
    object: str


def _judgment(line: Mapping[str, Json], shared: Mapping[str, Json], where: str) -> Judgment:
    kind = LINES.get(str(line.get("kind")))
    if kind is None:
        raise StorageError(f"{where} holds a judgment of the unknown kind {line.get('kind')!r}.", RESTORE)
    fields = {name: value for name, value in {**line, **shared}.items() if name != "kind"}
    judgment = _read(kind, fields, where)
    assert isinstance(judgment, Judgment)
    return judgment


def _decoded(kind: type, payload: str, where: str) -> object:
    try:
        value = json.loads(payload)
    except ValueError as error:
        raise StorageError(f"{where} is not JSON: {error}.", RESTORE) from error
    return _read(kind, value, where)


def _read(kind: type, value: object, where: str) -> object:
    try:
        return _reader(kind)(value)
    except StorageError as error:
        raise StorageError(f"{where} cannot be read: {error.what}", RESTORE) from error


@cache
def _reader(kind: object) -> Read:
    """Return the function that reads a JSON value as a type, built from the type once."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(arguments)
    if origin is Literal:
        return lambda value: value if value in arguments else _wrong(value, f"one of {arguments}")
    if origin is tuple:
        return _tuple(arguments)
    if kind is float:
        return lambda value: float(value) if type(value) in (int, float) else _wrong(value, "a number")  # type: ignore[arg-type]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    plain = dict if origin is not None else kind
    return lambda value: value if type(value) is plain else _wrong(value, f"of type {plain}")


def _optional(arguments: tuple[object, ...]) -> Read:
    (inner,) = (_reader(argument) for argument in arguments if argument is not type(None))
    return lambda value: None if value is None else inner(value)


def _tuple(arguments: tuple[object, ...]) -> Read:
    read = _reader(arguments[0])
    length = None if arguments[1] is Ellipsis else len(arguments)

    def read_tuple(value: object) -> object:
        if not isinstance(value, list) or length not in (None, len(value)):
            return _wrong(value, "a list of the right length")
        return tuple([read(item) for item in value])

    return read_tuple


def _dataclass(kind: type) -> Read:
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields}
    missing = dataclasses.MISSING
    needed = {field.name for field in fields if field.default is missing and field.default_factory is missing}

    def read_fields(value: object) -> object:
        if not isinstance(value, dict) or not needed <= value.keys() <= readers.keys():
            return _wrong(value, f"a {kind.__name__} with the fields {', '.join(readers)}")
        return kind(**{name: readers[name](item) for name, item in value.items()})

    return read_fields


def _wrong(value: object, wanted: str) -> object:
    raise StorageError(f"{str(value)[:200]!r} is not {wanted}.", RESTORE)
