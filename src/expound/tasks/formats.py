"""The formats of files of judgments: which one a file has, what it gives, and how one is written.

| format | its lines have | in | out |
|---|---|---|---|
| judgments | `kind` | every kind | every kind |
| table | the same keys, as a CSV file | every kind | every kind |
| pairs | `chosen`, `rejected` | comparisons | what is preferred |
| unpaired | `prompt`, `completion`, `label` | checks "good" | checks "good", or what the panel is sure of |
| scalar | `prompt`, `response`, `score` | ratings, or scores | ratings and scores, or values with their sd |
| several | `prompt`, `response` and numbers, or `completions` | a rating a criterion | – |
| label-studio | `data`, `annotations` | comparisons, ratings, rankings, checks, skips | tasks without answers |
| argilla | `fields`, `responses` | the same | records with answers |

Lines of the first six may stand in a CSV file too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from expound.errors import JudgmentError, nearest
from expound.tasks.argilla import read_argilla, write_argilla
from expound.tasks.imported import Exported, Feedback, Imported, Piece, Reading, exported, gather, pseudonymous
from expound.tasks.judgments import judgment_lines, judgment_table, parse_judgment
from expound.tasks.label_studio import read_label_studio, write_label_studio
from expound.tasks.pairs import read_pairs, write_pairs
from expound.tasks.rows import SHOWN, Row, read_rows
from expound.tasks.scores import (
    read_scalar,
    read_several,
    read_unpaired,
    scored_columns,
    write_scalar,
    write_unpaired,
)

Format = Literal["judgments", "table", "pairs", "unpaired", "scalar", "several", "label-studio", "argilla"]
FORMATS: tuple[Format, ...] = get_args(Format)

# How files of a format end that are not lines of JSON.
ENDINGS: Mapping[Format, str] = {"table": ".csv", "label-studio": ".json", "argilla": ".json"}
# Formats that can hold what the panel thinks in place of what each rater said.
SETTLED: tuple[Format, ...] = ("pairs", "unpaired", "scalar")

# The keys by which a line is known, the most telling first.
KEYS: Sequence[tuple[Format, tuple[str, ...]]] = (
    ("judgments", ("kind",)),
    ("pairs", ("chosen", "rejected")),
    ("label-studio", ("data", "annotations")),
    ("argilla", ("fields", "responses")),
    ("unpaired", ("prompt", "completion", "label")),
    ("scalar", ("prompt", "response", "score")),
    ("several", ("completions",)),
)


def guess(rows: Sequence[Row]) -> Format:
    """Return the format that the keys of the rows tell.

    Errors: JudgmentError when there is no row, when a row tells none, and when two rows tell different ones.
    """
    if not rows:
        raise JudgmentError("the file holds no line.", "Put judgments into it.")
    found = _format_of(rows[0])
    for row in rows[1:]:
        other = _format_of(row)
        if other != found:
            raise row.error(
                f"this looks like '{other}', the first line like '{found}'", "Give each format its own file."
            )
    return found


def imported(rows: Sequence[Row], format_: Format, reading: Reading) -> Imported:
    """Return what the rows give. Errors: JudgmentError with the place of the row."""
    return gather(READERS[format_](rows, reading))


def import_file(path: Path, reading: Reading | None = None, format_: Format | None = None) -> tuple[Format, Imported]:
    """Return the format of a file, guessed where none is given, and what it gives.

    Its responses are named after the file, or as the reading says. Errors: JudgmentError.
    """
    rows = tuple(read_rows(path))
    if not rows:
        raise JudgmentError(f"{path} holds no line.", "Put judgments into it.")
    known = format_ or guess(rows)
    return known, imported(rows, known, reading or Reading(path.stem))


def named(name: str) -> Format:
    """Return the format of that name. Errors: JudgmentError with the nearest one."""
    for format_ in FORMATS:
        if format_ == name:
            return format_
    raise JudgmentError(f"there is no format '{name[:SHOWN]}'.", nearest(name[:SHOWN], FORMATS))


def format_for(path: Path, name: str | None) -> Format:
    """Return the format in which a file of that name is written: the given one, else that of its suffix.

    Errors: JudgmentError for a suffix that the format does not have, and for one that several formats have.
    """
    suffix = path.suffix.lower()
    if name is None and suffix == ".json":
        raise JudgmentError(f"{path} may be of the format label-studio or argilla.", "Say which with --format.")
    format_ = named(name) if name is not None else "table" if suffix == ".csv" else "judgments"
    if suffix != ENDINGS.get(format_, ".jsonl"):
        wanted = path.with_suffix(ENDINGS.get(format_, ".jsonl")).name
        raise JudgmentError(f"the format {format_} does not end in '{suffix}'.", f"Name the file {wanted}.")
    return format_


def export(feedback: Feedback, format_: Format, *, names: bool = False, key: str = "") -> Exported:
    """Return the content of a file of the format, raters under pseudonyms unless `names`.

    `key` makes pseudonyms that nobody without it can find by trying names.
    Errors: JudgmentError for a format that is read alone, and for a text that no file can hold.
    """
    if format_ not in WRITERS:
        raise JudgmentError(f"'{format_}' can be read and not written.", f"Write {', '.join(WRITERS)}.")
    judgments = feedback.judgments if names else pseudonymous(feedback.judgments, key)
    return WRITERS[format_](replace(feedback, judgments=judgments))


def _format_of(row: Row) -> Format:
    for format_, keys in KEYS:
        if all(key in row.columns for key in keys):
            return format_
    if "prompt" in row.columns and "response" in row.columns and scored_columns((row,)):
        return "several"
    given = ", ".join(list(row.columns)[:8]) or "none"
    known = "; ".join(" + ".join(names) for _, names in KEYS)
    raise row.error(f"no format has the keys {given}", f"Known are {known}; prompt + response + numbers.")


def _read_own(rows: Iterable[Row], _reading: Reading) -> Iterator[Piece]:
    return (Piece(row.where, judgments=(parse_judgment(row),)) for row in rows)


def _write_own(feedback: Feedback) -> Exported:
    return Exported("".join(f"{line}\n" for line in judgment_lines(feedback.judgments)))


def _write_table(feedback: Feedback) -> Exported:
    empty = sum((one.comment == "") + (one.shown_at == "") for one in feedback.judgments)
    return exported(judgment_table(feedback.judgments), Counter({"empty_texts": empty}))


READERS: Mapping[Format, Callable[[Sequence[Row], Reading], Iterator[Piece]]] = {
    "judgments": _read_own,
    "table": _read_own,
    "pairs": read_pairs,
    "unpaired": read_unpaired,
    "scalar": read_scalar,
    "several": read_several,
    "label-studio": read_label_studio,
    "argilla": read_argilla,
}
WRITERS: Mapping[Format, Callable[[Feedback], Exported]] = {
    "judgments": _write_own,
    "table": _write_table,
    "pairs": write_pairs,
    "unpaired": write_unpaired,
    "scalar": write_scalar,
    "label-studio": write_label_studio,
    "argilla": write_argilla,
}
