"""Label Studio's JSON: annotated tasks in, tasks to be annotated out.

A task holds `data` (the fields that were shown) and `annotations`, each of one rater with a list of results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from expound.records import Check, Comparison, Json, Judgment, Prompt, Ranking, Rating, Response, Skip
from expound.tasks.imported import (
    FILE,
    Exported,
    Feedback,
    Piece,
    Reading,
    exported,
    newest,
    response_in,
    source_in,
    texts_of,
    whole_text,
)
from expound.tasks.judgments import MAX_LEVELS, NAMES
from expound.tasks.labelling import (
    Shown,
    Told,
    about,
    array_of,
    criterion_of,
    fields_of,
    id_of,
    rated,
    scales_of,
    shown_in,
)
from expound.tasks.rows import Row

CANCELLED = "cancelled"
QUESTION = "question"  # in meta


@dataclass(frozen=True)
class Task:
    """A task with what it showed, its list of items by their ids, and the scale of each question with stars."""

    row: Row
    shown: Shown
    items: Mapping[str, Response]
    scales: Mapping[str, tuple[int, int]]
    meta: Mapping[str, Json]
    reading: Reading


# --- in ---------------------------------------------------------------------------------------------------------


def read_label_studio(rows: Iterable[Row], reading: Reading) -> Iterator[Piece]:
    """Yield the piece of each task: comparisons, ratings, checks, rankings and skips.

    Errors: JudgmentError with the task's place.
    """
    tasks = tuple(rows)
    stars = (result for task in tasks for result in _results(task) if result.columns.get("type") == "rating")
    scales = scales_of((_question(result), _stars(result)) for result in stars)
    return (_piece(row, scales, reading) for row in tasks)


def _piece(row: Row, scales: Mapping[str, tuple[int, int]], reading: Reading) -> Piece:
    data = Row(row.mapping("data"), f"{row.where}: data")
    shown = shown_in(data, data, reading)
    items = dict(_item(part, shown.prompt, reading) for part in data.rows("items"))
    ids = (f"{name}_id" for name in shown.responses)
    source = source_in(data)
    used = (reading.prompt, "prompt_id", "items", "split", *(("source",) if source else ()), *shown.responses, *ids)
    meta: dict[str, Json] = {**row.without("data", "annotations", "predictions", "drafts"), **data.without(*used)}
    task = Task(row, shown, items, scales, meta, reading)
    told: list[tuple[Judgment, bool]] = []
    lost: list[str] = []
    for annotation in row.rows("annotations"):
        is_truth = annotation.flag("ground_truth", default=False)
        for one in _annotation(annotation, task):
            if isinstance(one, str):
                lost.append(one)
            else:
                told.append((one, is_truth))
    responses = (*shown.all, *items.values())
    judgments = tuple(replace(one, source=source or "people") for one in _with_gold(told))
    return Piece(row.where, (shown.prompt,), responses, judgments, lost=tuple(lost))


def _results(task: Row) -> Iterator[Row]:
    """Yield the results of the annotations that were not cancelled."""
    for annotation in task.rows("annotations"):
        if annotation.columns.get("was_cancelled") is not True:
            yield from annotation.rows("result")


def _item(part: Row, prompt: Prompt, reading: Reading) -> tuple[str, Response]:
    """Return the id of an item of a list in its task, and its text as a response; ids are of the task alone."""
    key = "body" if part.has("body") else "title"
    id_ = id_of(part.columns.get("id"))
    if id_ is None:
        raise part.wrong("id", "a text or a number")
    return id_, response_in(part, prompt, part.text(key), reading.name, part.name("response_id"))


def _annotation(annotation: Row, task: Task) -> Iterator[Told]:
    rater = id_of(annotation.columns.get("completed_by")) or FILE + task.reading.name
    split = task.shown.prompt.split or "train"
    seconds = annotation.seconds("lead_time")
    if annotation.flag("was_cancelled", default=False):
        yield Skip(
            rater=rater, reason=CANCELLED, prompt=task.shown.prompt.id, split=split, seconds=seconds, meta=task.meta
        )
        return
    for result in annotation.rows("result"):
        told = _judged(result, task)
        if isinstance(told, str):
            yield told
        else:
            asked: dict[str, Json] = {QUESTION: _question(result)} if _question(result) else {}
            meta = {**task.meta, **asked}
            yield replace(told, rater=rater, prompt=task.shown.prompt.id, split=split, seconds=seconds, meta=meta)


def _judged(result: Row, task: Task) -> Told:
    kind, value = result.text("type"), Row(result.mapping("value"), f"{result.where}: value")
    match kind:
        case "pairwise":
            return _pairwise(value, task.shown)
        case "ranker":
            return _ranker(value, task)
        case "rating":
            question = _question(result)
            return rated(value, "rating", task.shown, question, task.scales[question])
        case "choices":
            return _choice(value, task.shown, _question(result))
    return kind


def _pairwise(value: Row, shown: Shown) -> Told:
    selected = value.word("selected", ("left", "right"))
    if shown.left is None or shown.right is None:
        raise value.error("the two responses that were compared are not known", "Name them with --left and --right.")
    if shown.left.id == shown.right.id:
        return "equal_texts"
    choice = -1 if selected == "left" else 1
    return Comparison(rater="", left=shown.left.id, right=shown.right.id, choice=choice, ties=False)


def _ranker(value: Row, task: Task) -> Told:
    order = value.columns.get("ranker")
    lists = list(order.values()) if isinstance(order, Mapping) else [order]
    if len(lists) != 1 or not isinstance(lists[0], list):
        return "buckets"
    known = {**task.shown.responses, **task.items}
    found = [known.get(id_of(name) or "") for name in lists[0]]
    if None in found:
        raise value.wrong("ranker", f"a list of the items {', '.join(known) or '(there is none)'}")
    tiers = tuple(dict.fromkeys((response.id,) for response in found if response is not None))
    return Ranking(rater="", tiers=tiers) if len(tiers) > 1 else "rankings_of_one"


def _choice(value: Row, shown: Shown, question: str) -> Told:
    if shown.single is None:
        return "choices_of_no_single_response"
    match value.items("choices"):
        case [str(choice)] if choice:
            return Check(rater="", response=shown.single.id, value=choice, criterion=criterion_of(question))
    return "several_choices"


def _stars(result: Row) -> int:
    value = Row(result.mapping("value"), f"{result.where}: value")
    return value.integer("rating", 0, MAX_LEVELS - 1)


def _question(result: Row) -> str:
    return result.text_or_none("from_name") or ""


def _with_gold(told: Sequence[tuple[Judgment, bool]]) -> tuple[Judgment, ...]:
    """Return the judgments with what the annotation that is marked as true says to the same question."""
    truth = {(NAMES[type(one)], one.meta.get(QUESTION)): _own(one) for one, is_truth in told if is_truth}
    return tuple(replace(one, gold=truth.get((NAMES[type(one)], one.meta.get(QUESTION)))) for one, _ in told)


def _own(judgment: Judgment) -> Json:
    match judgment:
        case Comparison():
            return judgment.choice
        case Rating() | Check():
            return judgment.value
        case Ranking():
            return [list(tier) for tier in judgment.tiers]
    return None


# --- out --------------------------------------------------------------------------------------------------------


def write_label_studio(feedback: Feedback) -> Exported:
    """Return a JSON array of tasks to be annotated: what the judgments are about, or every response by itself.

    The fields are `prompt` with `left` and `right`, with `response` or with `items`, and the ids of each. Answers are
    left out: a task is put to new raters.
    """
    texts = texts_of(feedback)
    judgments, lost = newest(feedback.judgments)
    asked = dict.fromkeys(about(one) for one in judgments if not isinstance(one, Skip))
    if not judgments:
        asked = dict.fromkeys(("response", (response.id,)) for response in feedback.responses)
    known = [(kind, ids) for kind, ids in asked if all(id_ in texts for id_ in ids)]
    lost.update(f"{NAMES[type(one)]}s" for one in judgments)
    lost["without_text"] += len(asked) - len(known)
    return exported(array_of({"data": _data(kind, [texts[id_] for id_ in ids])} for kind, ids in known), lost)


def _data(kind: str, shown: Sequence[tuple[Prompt, Response]]) -> dict[str, object]:
    """Return the fields of a task."""
    prompt = shown[0][0]
    data: dict[str, object] = {"prompt": whole_text(prompt), "prompt_id": prompt.id}
    if kind == "ranking":
        items = [{"id": one.id, "response_id": one.id, "body": one.text} for _, one in shown]
        return {**data, "items": items}
    for name, (_, response) in zip(fields_of(kind, len(shown)), shown, strict=True):
        data |= {name: response.text, f"{name}_id": response.id}
    return data
