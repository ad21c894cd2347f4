"""Judgments as lines of JSON, one a line, and verdicts as such lines: the own format, in which nothing is lost.

A line leaves out what has its usual value. Reading is strict: an unknown key, a value of another type or outside its
scale is an error that names file and line.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import get_args

from expound.errors import JudgmentError, nearest
from expound.records import (
    JUDGMENTS,
    OVERALL,
    AnyVerdict,
    Check,
    CheckVerdict,
    Comparison,
    Edit,
    Highlight,
    Json,
    Judgment,
    PairVerdict,
    Ranking,
    Rating,
    Score,
    Settlement,
    Skip,
    Source,
    Split,
)
from expound.tasks.rows import LARGEST, SHOWN, Row, cells_of, line_rows, table_rows
from expound.tasks.tables import table

SOURCES: tuple[Source, ...] = get_args(Source)
SPLITS: tuple[Split, ...] = get_args(Split)
MAX_STRENGTH = 10
MAX_LEVELS = 101  # of a scale, such as 0 to 100

NAMES: Mapping[type[Judgment], str] = {kind: name for name, kind in JUDGMENTS.items()}
ABOUT = tuple(field.name for field in dataclasses.fields(Judgment))
CIRCUMSTANCES = frozenset(ABOUT) - {"rater"}
SAID: Mapping[str, tuple[str, ...]] = {
    name: tuple(field.name for field in dataclasses.fields(kind) if field.name not in ABOUT)
    for kind, name in NAMES.items()
}
USUAL: Mapping[str, object] = {
    **{field.name: field.default for field in dataclasses.fields(Judgment) if field.default is not dataclasses.MISSING},
    "meta": {},
    "ties": True,
    "both_bad": False,
}
COLUMNS = ("kind", *dict.fromkeys((*(name for names in SAID.values() for name in names), *ABOUT)))


# --- reading ----------------------------------------------------------------------------------------------------


def read_judgments(path: Path) -> tuple[Judgment, ...]:
    """Return the judgments of a JSON Lines file, or of a CSV file whose header has the same keys.

    Errors: JudgmentError with file and line.
    """
    rows = table_rows(path) if path.suffix.lower() == ".csv" else line_rows(path)
    return tuple(parse_judgment(row) for row in rows)


def parse_judgment(row: Row) -> Judgment:
    """Return the judgment of one line.

    Errors: JudgmentError for an unknown kind or key (with the nearest name) and for a value that the key cannot have.
    """
    kind = row.word("kind", tuple(SAID))
    known = ("kind", *SAID[kind], *ABOUT)
    for key in row.columns:
        if key not in known:
            raise row.error(f"a {kind} has no key '{key[:SHOWN]}'", nearest(key[:SHOWN], known))
    judgment = _with_circumstances(READERS[kind](row), row)
    if judgment.gold is not None and not _fits(judgment, judgment.gold):
        raise row.wrong("gold", f"the right value as a {kind} says it, or leave it out")
    return judgment


def _with_circumstances(judgment: Judgment, row: Row) -> Judgment:
    if CIRCUMSTANCES.isdisjoint(row.columns):
        return judgment
    return dataclasses.replace(
        judgment,
        ballot=row.name("ballot"),
        prompt=row.name("prompt"),
        split=row.word("split", SPLITS, "train"),
        round=row.integer("round", 0, LARGEST, 1),
        revision=row.integer("revision", 0, LARGEST, 0),
        source=row.word("source", SOURCES, "people"),
        criterion=row.name("criterion") or OVERALL,
        seconds=row.seconds("seconds"),
        shown_at=row.text_or_none("shown_at"),
        comment=row.text_or_none("comment"),
        gold=row.columns.get("gold"),
        meta=row.mapping("meta"),
    )


def _comparison(row: Row) -> Comparison:
    left, right, strength = row.text("left"), row.text("right"), row.integer("strength", 1, MAX_STRENGTH, 1)
    choice, ties = row.integer("choice", -strength, strength), row.flag("ties", default=True)
    both_bad = row.flag("both_bad", default=False)
    if left == right:
        raise row.error(f"'{left[:SHOWN]}' is compared with itself", "Compare two responses.")
    if choice == 0 and not ties:
        raise row.error("'choice' is 0 where no tie was offered", "Leave 'ties' out, or give another choice.")
    if both_bad and choice != 0:
        raise row.error(f"'both_bad' is true and 'choice' is {choice}", "Both are bad in a tie (0) alone.")
    return Comparison(
        rater=row.text("rater"), left=left, right=right, choice=choice, strength=strength, ties=ties, both_bad=both_bad
    )


def _rating(row: Row) -> Rating:
    low, high = scale_in(row)
    return Rating(
        rater=row.text("rater"), response=row.text("response"), value=row.integer("value", low, high), scale=(low, high)
    )


def _score(row: Row) -> Score:
    return Score(rater=row.text("rater"), response=row.text("response"), value=row.number("value"))


def scale_in(row: Row) -> tuple[int, int]:
    """Return the lowest and the highest point of a row's scale, 1 and 5 where it names none. Errors: JudgmentError."""
    match row.columns.get("scale", [1, 5]):
        case [int(low), int(high)] if not isinstance(low, bool) and not isinstance(high, bool):
            if 1 <= high - low < MAX_LEVELS and abs(low) <= LARGEST:
                return low, high
    raise row.wrong("scale", f"the lowest and the highest point, at most {MAX_LEVELS - 1} apart, such as [1, 5]")


def _ranking(row: Row) -> Ranking:
    tiers = _tiers(row.columns.get("tiers"))
    if tiers is None:
        raise row.wrong("tiers", 'tiers of responses, each response once and at least two, such as [["c"], ["a", "b"]]')
    return Ranking(rater=row.text("rater"), tiers=tiers)


def _tiers(value: Json) -> tuple[tuple[str, ...], ...] | None:
    """Return the tiers that a value spells, or None."""
    if not isinstance(value, list | tuple):
        return None
    tiers: list[tuple[str, ...]] = []
    for tier in value:
        names = [name for name in tier if isinstance(name, str) and name] if isinstance(tier, list | tuple) else []
        if not names or len(names) != len(tier):
            return None
        tiers.append(tuple(names))
    placed = [name for tier in tiers for name in tier]
    return tuple(tiers) if 1 < len(placed) == len(set(placed)) else None


def _check(row: Row) -> Check:
    return Check(rater=row.text("rater"), response=row.text("response"), value=row.text("value"))


def _edit(row: Row) -> Edit:
    return Edit(rater=row.text("rater"), response=row.text("response"), text=row.text("text"))


def _highlight(row: Row) -> Highlight:
    start = row.integer("start", 0, LARGEST)
    return Highlight(
        rater=row.text("rater"),
        response=row.text("response"),
        start=start,
        end=row.integer("end", start + 1, LARGEST),
        type=row.text("type"),
        severity=row.integer("severity", 1, LARGEST, 1),
    )


def _skip(row: Row) -> Skip:
    return Skip(rater=row.text("rater"), reason=row.text_or_none("reason") or "")


READERS: Mapping[str, Callable[[Row], Judgment]] = {
    "rating": _rating,
    "score": _score,
    "comparison": _comparison,
    "ranking": _ranking,
    "check": _check,
    "edit": _edit,
    "highlight": _highlight,
    "skip": _skip,
}


def _fits(judgment: Judgment, gold: Json) -> bool:
    """Say whether the known right value has the form of the judgment's own."""
    match judgment, gold:
        case (_, bool()):
            return False
        case (Score(), int() | float()):
            return True
        case (Comparison(), int()):
            return abs(gold) <= judgment.strength
        case (Rating(), int()):
            return judgment.scale[0] <= gold <= judgment.scale[1]
        case (Check() | Edit(), str()):
            return bool(gold)
        case (Ranking(), _):
            return _tiers(gold) is not None
    return False


# --- writing ----------------------------------------------------------------------------------------------------


def judgment_lines(judgments: Iterable[Judgment]) -> Iterator[str]:
    """Yield the line of each judgment, without its end; `read_judgments` returns the same judgments.

    Errors: JudgmentError for what no file can hold: half of a character, a number that is not finite.
    """
    return (line(columns_of(judgment)) for judgment in judgments)


def judgment_table(judgments: Iterable[Judgment]) -> str:
    """Return a CSV file of one judgment a line, its columns the keys of the lines; an empty comment is lost."""
    rows = [cells_of(columns_of(judgment)) for judgment in judgments]
    used = {key for row in rows for key in row}
    return table([key for key in COLUMNS if key in used], rows)


def verdict_lines(settlement: Settlement, plain: Callable[[AnyVerdict], float | None] | None = None) -> Iterator[str]:
    """Yield a line for every response, then compared pair, then category of a response, then rater.

    A verdict of which `plain` knows what plain counting says has that as `plain`.
    """
    verdicts: tuple[AnyVerdict, ...] = (*settlement.verdicts, *settlement.pairs, *settlement.checks)
    for verdict in verdicts:
        counted = None if plain is None else plain(verdict)
        yield line({**_told(verdict), **({} if counted is None else {"plain": counted})})
    for skill in settlement.skills:
        yield line(_fields(skill, "rater skill skill_se severity side_bias n alarm"))


def _told(verdict: AnyVerdict) -> dict[str, object]:
    match verdict:
        case PairVerdict():
            pair = [verdict.left, verdict.right]
            return {"pair": pair, "criterion": verdict.criterion, "p_left": verdict.p_left}
        case CheckVerdict():
            return _fields(verdict, "response criterion label p")
    return _fields(verdict, "response criterion value sd n")


def columns_of(judgment: Judgment) -> dict[str, object]:
    """Return the keys and values of a judgment's line."""
    kind = NAMES[type(judgment)]
    columns = {key: getattr(judgment, key) for key in ("rater", *SAID[kind], *ABOUT)}
    usual = {key for key, value in columns.items() if key in USUAL and value == USUAL[key]}
    return {"kind": kind, **{key: value for key, value in columns.items() if key not in usual}}


def line(columns: Mapping[str, object]) -> str:
    """Return a line of JSON. Errors: JudgmentError as in `judgment_lines`."""
    try:
        text = json.dumps(columns, ensure_ascii=False, allow_nan=False, default=dict)
        text.encode()
    except UnicodeEncodeError as error:
        raise JudgmentError(f"half of a character is in {str(columns)[:SHOWN]}.", "Mend the text.") from error
    except ValueError as error:
        raise JudgmentError(f"a number is not finite in {str(columns)[:SHOWN]}.", "Mend what computed it.") from error
    return text


def _fields(record: object, names: str) -> dict[str, object]:
    return {name: getattr(record, name) for name in names.split()}
