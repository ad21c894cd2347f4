"""Argilla's records as JSON: `fields` that were shown, `responses` of named users to named questions.

Written after version 2 (`{"question": [{"value", "user_id"}]}`); the lists of version 1, which hold `values` by
question, are read as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from expound.records import (
    OVERALL,
    Check,
    Comparison,
    Json,
    Judgment,
    Prompt,
    Ranking,
    Rating,
    Response,
    Skip,
    content_id,
)
from expound.tasks.imported import (
    FILE,
    Exported,
    Feedback,
    Piece,
    Reading,
    exported,
    newest,
    source_in,
    texts_of,
    unheld,
    whole_text,
)
from expound.tasks.judgments import MAX_LEVELS, NAMES, scale_in
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

LONGEST_LABEL = 64  # what is longer, or has a line end, is a text and no category
TIE = "tie"
OF_A_RECORD = ("id", "fields", "responses", "metadata", "suggestions", "vectors", "status", "_server_id")
ASKED = {"comparison": "preference", "ranking": "ranking"}

Held = Comparison | Ranking | Rating | Check


@dataclass(frozen=True)
class Said:
    """What a user answered to a question; `row` is the place of errors."""

    row: Row
    question: str
    value: Json
    user: str | None
    status: str


# --- in ---------------------------------------------------------------------------------------------------------


def read_argilla(rows: Iterable[Row], reading: Reading) -> Iterator[Piece]:
    """Yield the piece of each record: answers to label, rating and ranking questions, and skips.

    Errors: JudgmentError with the record's place.
    """
    records = [(row, tuple(_answers(row))) for row in rows]
    numbers = (said for _, answers in records for said in answers if type(said.value) is int)
    scales = scales_of((said.question, _stars(said).integer("value", 0, MAX_LEVELS - 1)) for said in numbers)
    return (_piece(row, answers, scales, reading) for row, answers in records)


def _answers(row: Row) -> Iterator[Said]:
    if isinstance(row.columns.get("responses"), Mapping):
        for question, answers in row.mapping("responses").items():
            named = Row({question: answers}, f"{row.where}: responses")
            for answer in named.rows(question):
                yield _said(answer, question, answer.columns.get("value"))
        return
    for answer in row.rows("responses"):
        for question, value in answer.mapping("values").items():
            told = value.get("value") if isinstance(value, Mapping) else value
            yield _said(answer, question, told)
        if not answer.has("values"):
            yield _said(answer, "", None)


def _said(answer: Row, question: str, value: Json) -> Said:
    user = id_of(answer.columns.get("user_id"))
    return Said(answer, question, value, user, answer.text_or_none("status") or "submitted")


def _piece(row: Row, answers: Sequence[Said], scales: Mapping[str, tuple[int, int]], reading: Reading) -> Piece:
    metadata = Row(row.mapping("metadata"), f"{row.where}: metadata")
    fields = Row({**row.mapping("fields"), "split": metadata.columns.get("split")}, f"{row.where}: fields")
    shown = shown_in(fields, metadata, reading)
    if metadata.has("scale"):
        scales = dict.fromkeys(scales, scale_in(metadata))
    told = [_judged(said, shown, scales) for said in answers]
    source = source_in(metadata)
    used = (
        "scale",
        "split",
        *(("source",) if source else ()),
        "prompt_id",
        *(f"{name}_id" for name in shown.responses),
    )
    unread = fields.without(reading.prompt, "split", *shown.responses)
    meta = {**row.without(*OF_A_RECORD), **unread, **metadata.without(*used)}
    prompt = shown.prompt
    judgments = tuple(
        replace(
            one,
            rater=said.user or FILE + reading.name,
            prompt=prompt.id,
            split=prompt.split or "train",
            source=source or "people",
            meta=meta,
        )
        for said, one in zip(answers, told, strict=True)
        if not isinstance(one, str)
    )
    return Piece(row.where, (prompt,), shown.all, judgments, lost=tuple(one for one in told if isinstance(one, str)))


def _judged(said: Said, shown: Shown, scales: Mapping[str, tuple[int, int]]) -> Told:
    if said.status == "discarded":
        return Skip(rater="", reason="discarded")
    if said.status != "submitted":
        return "drafts"
    match said.value:
        case bool() | None:
            return "answers_of_another_kind"
        case int():
            return rated(_stars(said), "value", shown, said.question, scales[said.question])
        case str():
            return _label(said.value, said.question, shown)
        case list():
            return _ranking(said, said.value, shown)
    return "answers_of_another_kind"


def _label(label: str, question: str, shown: Shown) -> Told:
    """Return the comparison that names a side or a tie, else the check of the single response."""
    criterion = criterion_of(question)
    if shown.left is not None and shown.right is not None:
        sides = {name: one.id for name, one in shown.responses.items() if one in (shown.left, shown.right)}
        if len(set(sides.values())) < 2:
            return "equal_texts"
        if label == TIE or label in sides:
            choice = 0 if label == TIE else -1 if sides[label] == shown.left.id else 1
            return Comparison(rater="", left=shown.left.id, right=shown.right.id, choice=choice, criterion=criterion)
    if not label or len(label) > LONGEST_LABEL or "\n" in label:
        return "texts"
    if shown.single is None:
        return "labels_of_no_single_response"
    return Check(rater="", response=shown.single.id, value=label, criterion=criterion)


def _ranking(said: Said, values: Sequence[Json], shown: Shown) -> Told:
    """Return the ranking of a list of fields with their ranks; equal ranks are a tier."""
    tiers: dict[int, list[str]] = {}
    for value in values:
        if not isinstance(value, Mapping) or "rank" not in value:
            return "answers_of_another_kind"
        part = Row(value, said.row.where)
        name = part.word("value", tuple(shown.responses))
        tiers.setdefault(part.integer("rank", 0, MAX_LEVELS), []).append(shown.responses[name].id)
    ordered = tuple(tuple(dict.fromkeys(tiers[rank])) for rank in sorted(tiers))
    placed = [name for tier in ordered for name in tier]
    if len(placed) != len(set(placed)) or len(placed) < 2:
        return "rankings_of_one"
    return Ranking(rater="", tiers=ordered, criterion=criterion_of(said.question))


def _stars(said: Said) -> Row:
    return Row({"value": said.value}, said.row.where)


# --- out --------------------------------------------------------------------------------------------------------


def write_argilla(feedback: Feedback) -> Exported:
    """Return a JSON array of records with the answers to them, the ids of prompts and responses in their metadata."""
    texts = texts_of(feedback)
    judgments, lost = newest(feedback.judgments)
    records: dict[tuple[object, ...], list[Held]] = {}
    for one in judgments:
        trouble = _unwritable(one, texts)
        lost.update(trouble or _unwritten(one))
        if isinstance(one, Held) and not trouble:
            scale = one.scale if isinstance(one, Rating) else None
            records.setdefault((about(one), scale, one.split, one.source), []).append(one)
    return exported(array_of(_record(said, texts) for said in records.values()), lost)


def _unwritable(one: Judgment, texts: Mapping[str, tuple[Prompt, Response]]) -> Counter[str]:
    """Return why a judgment has no place in a record."""
    if not isinstance(one, Held):
        return Counter({f"{NAMES[type(one)]}s": 1})
    if any(name not in texts for name in about(one)[1]):
        return Counter({"without_text": 1})
    is_text = isinstance(one, Check) and (len(one.value) > LONGEST_LABEL or "\n" in one.value)
    return Counter({"long_labels": 1}) if is_text else Counter()


def _unwritten(one: Judgment) -> Counter[str]:
    """Return what a record does not hold of a judgment that it holds."""
    lost = unheld(one, "seconds", "comment", "meta")
    if isinstance(one, Comparison):
        lost.update({"degrees": one.strength > 1, "both_bad": one.both_bad, "no_tie_offered": not one.ties})
    return lost


def _record(said: Sequence[Held], texts: Mapping[str, tuple[Prompt, Response]]) -> dict[str, object]:
    kind, ids = about(said[0])
    names = dict(zip(ids, fields_of(kind, len(ids)), strict=True))
    prompt = texts[ids[0]][0]
    metadata: dict[str, object] = {"prompt_id": prompt.id, **{f"{name}_id": id_ for id_, name in names.items()}}
    if isinstance(said[0], Rating):
        metadata["scale"] = list(said[0].scale)
    if said[0].split != "train":
        metadata["split"] = said[0].split
    if said[0].source != "people":
        metadata["source"] = said[0].source
    answers: dict[str, list[object]] = {}
    for one in said:
        question = ASKED.get(kind, one.criterion) if one.criterion == OVERALL else one.criterion
        user = None if one.rater.startswith(FILE) else one.rater
        answers.setdefault(question, []).append({"value": _value(one, names), "user_id": user})
    return {
        "id": content_id("record", kind, ids, str(metadata)),
        "fields": {"prompt": whole_text(prompt), **{name: texts[id_][1].text for id_, name in names.items()}},
        "metadata": metadata,
        "responses": answers,
    }


def _value(judgment: Held, names: Mapping[str, str]) -> object:
    """Return an answer as a question holds it; `names` are the fields of the responses."""
    match judgment:
        case Comparison():
            return TIE if judgment.choice == 0 else names[judgment.left if judgment.choice < 0 else judgment.right]
        case Ranking():
            tiers = enumerate(judgment.tiers, start=1)
            return [{"value": names[name], "rank": rank} for rank, tier in tiers for name in tier]
        case _:
            return judgment.value
