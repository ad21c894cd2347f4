"""Responses with what each is worth: a label, a score, or several scores by criterion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from expound.records import OVERALL, Check, Json, Judgment, Prompt, Rating, Response, Score, Verdict
from expound.tasks.imported import (
    Exported,
    Feedback,
    Piece,
    Reading,
    beside,
    dressed,
    exported,
    newest,
    prompt_in,
    rater_in,
    response_in,
    source_in,
    source_of,
    texts_of,
    whole_text,
)
from expound.tasks.judgments import NAMES, line, scale_in
from expound.tasks.pairs import words_in
from expound.tasks.rows import Row

GOOD = "good"
YES, NO = "yes", "no"
SURE_SDS = 0.5  # a value nearer to zero than this many of its standard deviations is neither good nor bad
MAX_POINTS = 11
IDS = ("prompt_id", "response_id")
UNPAIRED = ("prompt", "completion", "label", *IDS)
SCALAR = ("prompt", "response", "score", "scale", *IDS)
SEVERAL = ("prompt", "instruction", "response", "completions", *IDS)
_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")

WHY = "_rationale"  # behind the name of a criterion, the column of the reason for its score
# Numbers beside the scores of a row that are none.
NO_SCORES = ("seconds", "round", "id", "index", "idx", "row", "rater")


@dataclass(frozen=True)
class Points:
    """The scale that observed scores are points of, and the point of each."""

    scale: tuple[int, int]
    point: Mapping[float, int]


def points_of(scores: Iterable[float]) -> Points | None:
    """Return the scale of scores that take 2 to 11 values: whole numbers as they are, others by their order from 1.

    Scores that take one value, or more than 11, have none.
    """
    values = sorted(set(scores))
    if not 2 <= len(values) <= MAX_POINTS:
        return None
    low, high = values[0], values[-1]
    if high - low < MAX_POINTS and all(value == int(value) for value in values):
        return Points((int(low), int(high)), {value: int(value) for value in values})
    return Points((1, len(values)), {value: place for place, value in enumerate(values, start=1)})


# --- a label ----------------------------------------------------------------------------------------------------


def read_unpaired(rows: Iterable[Row], reading: Reading) -> Iterator[Piece]:
    """Yield the piece of each row: a check "good". Errors: JudgmentError with the row's place."""
    for row in rows:
        prompt, response = _asked(row, reading, "completion")
        value = YES if _label(row) else NO
        said = Check(rater=rater_in(row, reading.name), response=response.id, value=value, criterion=GOOD)
        yield Piece(row.where, (prompt,), (response,), (dressed(said, row, prompt, UNPAIRED),))


def write_unpaired(feedback: Feedback) -> Exported:
    """Return JSON Lines of prompt, completion and label.

    With a settlement: of the responses whose overall value is more than half a standard deviation from zero, which is
    an average response. Else of the checks "good".
    """
    return _written(feedback, "completion", _label_of_verdict, _label_of_judgment)


def _label(row: Row) -> bool:
    value = str(row.columns.get("label")).lower()
    if value not in (*_TRUE, *_FALSE):
        raise row.wrong("label", "true or false")
    return value in _TRUE


def _label_of_verdict(verdict: Verdict) -> Line | str:
    if verdict.criterion != OVERALL:
        return "criteria"
    if abs(verdict.value) <= SURE_SDS * verdict.sd:
        return "undecided"
    return Line(verdict.response, {"label": verdict.value > 0})


def _label_of_judgment(judgment: Judgment) -> Line | str:
    if not isinstance(judgment, Check):
        return f"{NAMES[type(judgment)]}s"
    if judgment.criterion != GOOD or judgment.value not in (YES, NO):
        return "other_checks"
    columns, lost = beside(replace(judgment, criterion=OVERALL), UNPAIRED)
    return Line(judgment.response, {"label": judgment.value == YES, **columns}, lost)


# --- a score ----------------------------------------------------------------------------------------------------


def read_scalar(rows: Iterable[Row], reading: Reading) -> Iterator[Piece]:
    """Yield the piece of each row: a rating on the scale that is given or observed, else the score of a function.

    It is no point of a scale when the file's scores of its criterion take more than 11 values, with `sd`, and where the
    row says that a function gave it.
    Errors: JudgmentError with the row's place.
    """
    kept = tuple(rows)
    scores: dict[str, set[float]] = {}
    for row in kept:
        if not row.has("scale") and not row.has("sd"):
            scores.setdefault(row.name("criterion") or OVERALL, set()).add(row.number("score"))
    points = {criterion: points_of(found) for criterion, found in scores.items()}
    return (_scored(row, points.get(row.name("criterion") or OVERALL), reading) for row in kept)


def _scored(row: Row, points: Points | None, reading: Reading) -> Piece:
    prompt, response = _asked(row, reading, "response")
    rater, score = rater_in(row, reading.name), row.number("score")
    said: Rating | Score
    if row.has("scale"):
        scale = scale_in(row)
        said = Rating(rater=rater, response=response.id, value=row.integer("score", *scale), scale=scale)
    elif row.has("sd") or points is None or source_in(row) == "function":
        said = Score(rater=rater, response=response.id, value=score, source="function")
    else:
        meta = {} if points.point[score] == score else {"score": score}
        said = Rating(rater=rater, response=response.id, value=points.point[score], scale=points.scale, meta=meta)
    return Piece(row.where, (prompt,), (response,), (dressed(said, row, prompt, SCALAR),))


def write_scalar(feedback: Feedback) -> Exported:
    """Return JSON Lines of prompt, response and score: with a settlement the value with its sd, else what was said."""
    return _written(feedback, "response", _score_of_verdict, _score_of_judgment)


def _score_of_verdict(verdict: Verdict) -> Line | str:
    criterion = {} if verdict.criterion == OVERALL else {"criterion": verdict.criterion}
    return Line(verdict.response, {"score": verdict.value, "sd": verdict.sd, "n": verdict.n, **criterion})


def _score_of_judgment(judgment: Judgment) -> Line | str:
    is_told = isinstance(judgment, Score) and judgment.source != "function"  # a line would say that a function did
    if is_told or not isinstance(judgment, Rating | Score):
        return f"{NAMES[type(judgment)]}s"
    columns, lost = beside(judgment, SCALAR)
    scale = {"scale": judgment.scale} if isinstance(judgment, Rating) else {}
    return Line(judgment.response, {"score": judgment.value, **scale, **columns}, lost)


# --- several scores ---------------------------------------------------------------------------------------------


def read_several(rows: Iterable[Row], reading: Reading) -> Iterator[Piece]:
    """Yield the pieces of rows with one rating a criterion.

    Criteria are the columns that are numbers in every row that has them, or the annotations of each completion. Their
    scale is that of all scores of the file together, or each its own where these take too many values.
    Errors: JudgmentError with the row's place, also when the scores take too many values to be points of a scale.
    """
    kept = tuple(rows)
    parts = [part for row in kept for part in _one_response(row)]
    criteria = _annotated(kept) or scored_columns(parts)
    scores = {name: {row.number(name) for row in parts if row.has(name)} for name in criteria}
    together = points_of(score for found in scores.values() for score in found)
    points = {name: together or points_of(found) for name, found in scores.items()}
    return (_rated(row, points, reading) for row in parts)


def _annotated(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the names of the annotations of completions."""
    parts = (part for row in rows for part in row.rows("completions"))
    return tuple(dict.fromkeys(name for part in parts for name in part.mapping("annotations")))


def _one_response(row: Row) -> Iterator[Row]:
    """Yield a row for each response: the row itself, or one for each of its completions."""
    if not row.has("completions"):
        yield row
        return
    shared = row.without("completions", "instruction", "prompt")
    asked = row.columns.get("prompt") or row.columns.get("instruction")
    for part in row.rows("completions"):
        said: dict[str, Json] = {name: value for name, value in part.columns.items() if name != "annotations"}
        for name, value in part.mapping("annotations").items():
            said |= _annotation(name, value)
        yield Row({**shared, **said, "prompt": asked}, part.where)


def _annotation(name: str, value: Json) -> dict[str, Json]:
    """Return the score of an annotation and the reason for it; a word such as "N/A" is no score."""
    score = value.get("Rating", value.get("rating")) if isinstance(value, Mapping) else value
    if isinstance(score, str):
        score = int(score) if score.isascii() and score.isdigit() and len(score) < 9 else None
    why = value.get("Rationale", value.get("rationale")) if isinstance(value, Mapping) else None
    return {name: score, name + WHY: why}


def scored_columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the columns that are numbers in every row that has them, without those that count something else."""
    counts: Counter[str] = Counter()
    told: dict[str, None] = {}
    for row in rows:
        for name in row.without(*SEVERAL, *NO_SCORES):
            value = row.columns[name]
            told.setdefault(name)
            counts[name] += isinstance(value, bool) or not isinstance(value, int | float)
    return tuple(name for name in told if not counts[name])


def _rated(row: Row, points: Mapping[str, Points | None], reading: Reading) -> Piece:
    prompt, response = _asked(row, reading, "response")
    told = Row(row.without("criterion"), row.where)
    used = (*SEVERAL, *points, *(name + WHY for name in points))
    said = [_rating(row, name, scale, rater_in(row, reading.name)) for name, scale in points.items() if row.has(name)]
    judgments = tuple(dressed(replace(one, response=response.id), told, prompt, used) for one in said)
    return Piece(row.where, (prompt,), (response,), judgments, ("missing_scores",) * (len(points) - len(said)))


def _rating(row: Row, name: str, points: Points | None, rater: str) -> Rating:
    if points is None:
        raise row.error(f"the scores of '{name}' are no points of a scale", f"Give 2 to {MAX_POINTS} different ones.")
    value, why = points.point[row.number(name)], row.text_or_none(name + WHY)
    return Rating(rater=rater, response="", value=value, scale=points.scale, criterion=name, comment=why)


# --- all --------------------------------------------------------------------------------------------------------


def _asked(row: Row, reading: Reading, key: str) -> tuple[Prompt, Response]:
    prompt = prompt_in(row, words_in(row, "prompt"), row.name("prompt_id"))
    return prompt, response_in(row, prompt, words_in(row, key), reading.name, row.name("response_id"))


@dataclass(frozen=True)
class Line:
    """What a line says beside prompt and response, and what it does not hold."""

    response: str
    columns: Mapping[str, object]
    lost: Counter[str] = field(default_factory=Counter)


def _written(
    feedback: Feedback,
    key: str,
    of_verdict: Callable[[Verdict], Line | str],
    of_judgment: Callable[[Judgment], Line | str],
) -> Exported:
    """Return a line for each verdict, or else judgment, that has one; the text of its response is under `key`."""
    judgments, lost = newest(feedback.judgments)
    settled = feedback.settlement
    told = [of_judgment(one) for one in judgments] if settled is None else [of_verdict(one) for one in settled.verdicts]
    texts, source = texts_of(feedback), {} if settled is None else source_of(feedback)
    lines: list[str] = []
    for one in told:
        if isinstance(one, str) or one.response not in texts:
            lost[one if isinstance(one, str) else "without_text"] += 1
            continue
        prompt, response = texts[one.response]
        lost.update(one.lost)
        lines.append(line({"prompt": whole_text(prompt), key: response.text, **one.columns, **source}))
    return exported("".join(f"{text}\n" for text in lines), lost)
