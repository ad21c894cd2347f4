"""Lines of a file of judgments, each with its place, read value by value: what is not as it must be is an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from expound.errors import JudgmentError, nearest
from expound.files import json_lines, parse_json, read_text
from expound.records import Json
from expound.tasks.tables import cell_of, csv_rows, value_of

SUFFIXES = (".jsonl", ".json", ".csv")
LARGEST = 2**53  # beyond it, whole numbers are not the same everywhere
SHOWN, LONGEST = 80, 500  # characters of a value, and of a sentence, in an error

# Columns whose cells in a CSV file are texts, whatever they look like.
TEXTS = frozenset(
    "kind rater prompt criterion ballot source shown_at split comment left right response text type reason"
    " chosen rejected completion id prompt_id response_id chosen_id rejected_id instruction model".split()
)

Word = TypeVar("Word", bound=str)


@dataclass(frozen=True)
class Row:
    """The columns of one line; `where` is its place ("FILE: line N"), with which every error begins."""

    columns: Mapping[str, Json]
    where: str

    def error(self, what: str, remedy: str) -> JudgmentError:
        """Return what is wrong with this line, as an error; what a damaged file spells at length is cut."""
        return JudgmentError(f"{short(f'{self.where}: {what}', LONGEST)}.", short(remedy, LONGEST))

    def wrong(self, key: str, wanted: str) -> JudgmentError:
        """Return the error of a column that is missing or not what is wanted."""
        value = self.columns.get(key)
        what = f"'{key}' is missing" if value is None else f"'{key}' is {shown(value)}"
        return self.error(what, f"Give {wanted}.")

    def has(self, key: str) -> bool:
        """Say whether the column is there and not null."""
        return self.columns.get(key) is not None

    def text(self, key: str) -> str:
        """Return a text that is not empty. Errors: JudgmentError."""
        value = self.columns.get(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a text that is not empty")
        return value

    def name(self, key: str) -> str | None:
        """Return a text that is not empty, or None where there is none. Errors: JudgmentError."""
        return self.text(key) if self.has(key) else None

    def text_or_none(self, key: str) -> str | None:
        """Return a text, or None where there is none. Errors: JudgmentError."""
        value = self.columns.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "a text, or leave it out")
        return value

    def word(self, key: str, words: Sequence[Word], default: Word | None = None) -> Word:
        """Return one of the words. Errors: JudgmentError with the nearest of them."""
        value = self.columns.get(key)
        if value is None and default is not None:
            return default
        for word in words:
            if value == word:
                return word
        if not isinstance(value, str):
            raise self.wrong(key, f"one of {', '.join(words)}")
        raise self.error(f"there is no {key} '{value[:SHOWN]}'", nearest(value[:SHOWN], words))

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number from `low` to `high`. Errors: JudgmentError."""
        value = self.columns.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str) -> float:
        """Return a finite number. Errors: JudgmentError."""
        value = self.columns.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
            raise self.wrong(key, "a number")
        return float(value)

    def seconds(self, key: str) -> float | None:
        """Return a duration, or None where there is none. Errors: JudgmentError."""
        if not self.has(key):
            return None
        if (value := self.number(key)) < 0:
            raise self.wrong(key, "seconds, 0 or more")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false. Errors: JudgmentError."""
        value = self.columns.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def mapping(self, key: str) -> Mapping[str, Json]:
        """Return an object, empty where there is none. Errors: JudgmentError."""
        value = self.columns.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.wrong(key, "an object, or leave it out")
        return value

    def items(self, key: str) -> Sequence[Json]:
        """Return a list, empty where there is none. Errors: JudgmentError."""
        value = self.columns.get(key)
        if value is None:
            return ()
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self.wrong(key, "a list, or leave it out")
        return value

    def rows(self, key: str) -> tuple[Row, ...]:
        """Return the objects of a list, each as a row whose place is in this one. Errors: JudgmentError."""
        found = enumerate(self.items(key), start=1)
        return tuple(as_row(item, f"{self.where}: {key} {number}") for number, item in found)

    def without(self, *keys: str) -> dict[str, Json]:
        """Return the other columns that are not null."""
        return {key: value for key, value in self.columns.items() if key not in keys and value is not None}


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSON Lines file, of a JSON array of objects, or of a CSV file.

    Errors: JudgmentError for a file that cannot be read, another suffix, and for a line that is not understood.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise JudgmentError(f"{path} is no file of judgments.", f"Such files end in {', '.join(SUFFIXES)}; rename it.")
    with reading(path):
        if suffix == ".csv":
            yield from table_rows(path)
        elif suffix == ".json" and _is_array(path):
            yield from _array(path)
        else:
            yield from line_rows(path)


def line_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSON Lines file. Errors: JudgmentError with file and line."""
    with reading(path):
        for number, columns in json_lines(path, JudgmentError):
            yield checked(Row(columns, f"{path}: line {number}"))


def table_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file, cells of other columns than `TEXTS` read as JSON. Errors: as in `line_rows`."""
    with reading(path):
        for number, cells in csv_rows(path, JudgmentError):
            columns = {name: cell if name in TEXTS else value_of(cell) for name, cell in cells.items()}
            yield checked(Row(columns, f"{path}: line {number}"))


def cells_of(columns: Mapping[str, object]) -> dict[str, str]:
    """Return the cells of a CSV file that `table_rows` reads as these columns; an empty text is an empty cell."""
    return {
        name: value if name in TEXTS and isinstance(value, str) else cell_of(value) for name, value in columns.items()
    }


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell a file that is not there, or may not be read, as a JudgmentError."""
    try:
        yield
    except OSError as error:
        raise JudgmentError(
            f"{path} could not be read: {error.strerror or error}.", "Check its name and the right to read it."
        ) from error


def as_row(value: Json, where: str) -> Row:
    """Return an object as a row. Errors: JudgmentError for another value."""
    if not isinstance(value, Mapping):
        raise JudgmentError(f"{where}: {shown(value)} is no object.", "Mend or remove it.")
    return Row(value, where)


def checked(row: Row) -> Row:
    """Return the row. Errors: JudgmentError for what JSON can spell and no file can hold."""
    try:
        json.dumps(row.columns, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise row.error("a text holds half of a character", "Mend the text.") from error
    except ValueError as error:
        raise row.error("a number is too large to be one", "Mend the number.") from error
    return row


def shown(value: Json) -> str:
    """Return a value as an error shows it."""
    return short(repr(value), SHOWN)


def short(text: str, most: int) -> str:
    """Return the text, cut behind that many characters."""
    return text if len(text) <= most else f"{text[:most]}…"


def _is_array(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _array(path: Path) -> Iterator[Row]:
    try:
        value = parse_json(read_text(path, JudgmentError))
    except ValueError as error:
        raise JudgmentError(f"{path} is not JSON: {error}.", "Mend or export it again.") from error
    assert isinstance(value, list)
    for number, item in enumerate(value, start=1):
        yield checked(as_row(item, f"{path}: item {number}"))
