"""CSV files in and out: commas, a header of names, UTF-8, and no cell that a spreadsheet would run as a formula."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from expound.errors import InputError, nearest
from expound.files import parse_json, read_text
from expound.records import Json

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
# A spreadsheet runs what begins so; one quote before it makes it a text. A plain number is no formula.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def csv_rows(path: Path, error: type[InputError], known: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the line on which each row begins, and its cells that are not empty, by the header's names.

    A byte-order mark and blank rows are passed over. Refuses, as `error` with file and line: another separator than
    the comma, a header without names, with one twice or with one that is not `known` (where any are), a row of another
    length, a stray quote, another encoding.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = _header(next(reader, []), path, error)
            _check_known(header, known, path, error)
            number = reader.line_num + 1
            for cells in reader:
                if any(cells):
                    _check_length(cells, header, f"{path}: line {number}", error)
                    yield number, {name: unescape(cell) for name, cell in zip(header, cells, strict=True) if cell}
                number = reader.line_num + 1
        except csv.Error as trouble:
            raise error(f"{path}: line {reader.line_num}: {trouble}.", "Mend that line.") from trouble
        except UnicodeDecodeError:
            read_text(path, error)  # it says which byte


def table(header: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """Return a CSV file of cells by the header's names; what is missing is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    for row in rows:
        writer.writerow([escape(row.get(name, "")) for name in header])
    return text.getvalue()


def escape(cell: str) -> str:
    """Return the cell, behind a quote where a spreadsheet would take it for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def unescape(cell: str) -> str:
    """Return what `escape` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def value_of(cell: str) -> Json:
    """Return the JSON value that a cell spells, or its text where it spells none."""
    try:
        return parse_json(cell)
    except ValueError:
        return cell


def cell_of(value: object) -> str:
    """Return the cell that `value_of` reads as this value: a text as it is, unless it would be taken for another."""
    if isinstance(value, str) and value and value_of(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False, default=dict)


def _header(cells: Sequence[str], path: Path, error: type[InputError]) -> tuple[str, ...]:
    header = tuple(cell.strip() for cell in cells)
    if len(header) == 1:
        for mark, name in SEPARATORS.items():
            if mark in header[0]:
                raise error(f"{path}: line 1: the header is separated by {name}.", "Save the file with commas.")
    if "" in header:
        raise error(f"{path}: line 1: column {header.index('') + 1} has no name.", "Give it one, or remove it.")
    twice = next((name for place, name in enumerate(header) if name in header[:place]), None)
    if twice is not None:
        raise error(f"{path}: line 1: there are two columns '{twice}'.", "Remove or rename one of them.")
    return header


def _check_known(header: Sequence[str], known: Sequence[str], path: Path, error: type[InputError]) -> None:
    strange = next((name[:80] for name in header if known and name not in known), None)
    if strange is not None:
        remedy = f"{nearest(strange, known)} The first line of a .csv file names its columns."
        raise error(f"{path}: line 1: there is no column '{strange}'.", remedy)


def _check_length(cells: Sequence[str], header: Sequence[str], where: str, error: type[InputError]) -> None:
    if len(cells) != len(header):
        raise error(
            f"{where}: there are {len(cells)} cells under {len(header)} names.",
            "Put a text that holds commas or line ends into double quotes.",
        )
