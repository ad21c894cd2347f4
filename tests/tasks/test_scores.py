"""Labels, scores and several scores a row are read to the last line, and what they can hold comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from expound.errors import JudgmentError
from expound.records import Check, Edit, Judgment, Rating, Score, Settlement, Source, Verdict
from expound.tasks.formats import Format, export, import_file, imported
from expound.tasks.imported import Feedback, Imported, Reading
from expound.tasks.rows import read_rows
from expound.tasks.scores import points_of
from tests.support.feedback import FROST, GRASS, LAZY, NAME, PROMPTS, RESPONSES, SUGAR, as_feedback

FILES = Path(__file__).parent / "files"


def read(path: Path, format_: Format) -> Imported:
    return imported(tuple(read_rows(path)), format_, Reading(NAME))


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def feedback(*judgments: Judgment) -> Feedback:
    return Feedback(PROMPTS, RESPONSES, judgments)


def back(found: Imported, format_: Format, path: Path) -> Imported:
    """Return what comes back of what was read, after it was written."""
    exported = export(as_feedback(found), format_, names=True)
    assert not exported.lost
    path.write_text(exported.text, encoding="utf-8")
    return read(path, format_)


# --- labels -------------------------------------------------------------------------------------------------------


def test_labels_are_checks(tmp_path: Path) -> None:
    found = read(FILES / "unpaired.jsonl", "unpaired")
    said = [one for one in found.judgments if isinstance(one, Check)]
    assert [(one.value, one.criterion, one.rater) for one in said] == [
        ("yes", "good", "ana"),
        ("no", "good", f"file:{NAME}"),
        ("yes", "good", f"file:{NAME}"),
    ]
    assert [one.text for one in found.responses][-1] == "It displaces its weight."
    assert said[1].meta == {"lesson": 3}
    assert back(found, "unpaired", tmp_path / "a.jsonl") == found


def test_labels_of_a_csv_file_are_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion,label\np,4,True\np,b,no\np,c,0\n", encoding="utf-8")
    format_, found = import_file(path)
    assert format_ == "unpaired"
    assert [(one.value) for one in found.judgments if isinstance(one, Check)] == ["yes", "no", "no"]
    assert found.responses[0].text == "4"
    path.write_text("prompt,completion,label\np,b,maybe\n", encoding="utf-8")
    with pytest.raises(JudgmentError, match=r"line 2: 'label' is 'maybe'\. Give true or false."):
        import_file(path)


@pytest.mark.parametrize(
    ("judgment", "lost"),
    [
        (Check(rater="a", response=GRASS.id, value="maybe", criterion="good"), "other_checks"),
        (Check(rater="a", response=GRASS.id, value="yes", criterion="faithful"), "other_checks"),
        (Check(rater="a", response="unknown", value="yes", criterion="good"), "without_text"),
        (Check(rater="a", response=GRASS.id, value="yes", criterion="good", gold="no"), "gold"),
        (Rating(rater="a", response=GRASS.id, value=3), "ratings"),
    ],
)
def test_what_a_label_cannot_hold_is_named(judgment: Judgment, lost: str) -> None:
    assert dict(export(feedback(judgment), "unpaired").lost.counts) == {lost: 1}


SETTLED = Settlement(
    round=1,
    verdicts=(
        Verdict(GRASS.id, "overall", 0.2, 0.3, 4),
        Verdict(SUGAR.id, "overall", -0.9, 0.3, 3),
        Verdict(LAZY.id, "overall", 0.1, 0.3, 2),
        Verdict(LAZY.id, "clarity", 4.0, 0.3, 2),
        Verdict("unknown", "overall", 2.0, 0.3, 2),
    ),
    pairs=(),
    skills=(),
    iterations=1,
    judgments_hash="",
)


def test_labels_of_a_settlement_are_what_the_panel_is_sure_of() -> None:
    exported = export(replace(feedback(), settlement=SETTLED), "unpaired")
    assert [json.loads(line) for line in exported.text.splitlines()] == [
        {"prompt": FROST.text, "completion": GRASS.text, "label": True},
        {"prompt": FROST.text, "completion": SUGAR.text, "label": False},
    ]
    assert dict(exported.lost.counts) == {"undecided": 1, "criteria": 1, "without_text": 1}


@pytest.mark.parametrize(
    ("sources", "told"),
    [(("people", "judge"), None), (("judge",), "judge"), (("people", "simulated"), "simulated"), (("people",), None)],
)
def test_what_a_panel_thinks_says_who_is_no_person(sources: tuple[Source, ...], told: str | None) -> None:
    judged = feedback(*(Rating(rater=one, response=GRASS.id, value=3, source=one) for one in sources))
    lines = export(replace(judged, settlement=SETTLED), "scalar").text.splitlines()
    assert {json.loads(line).get("source") for line in lines} == {told}


# --- scores -------------------------------------------------------------------------------------------------------


def test_the_scale_of_scores() -> None:
    whole, halves = points_of([4, 1, 3.0, 4]), points_of([0.5, 0.0, 1.0])
    assert whole is not None
    assert (whole.scale, whole.point[3]) == ((1, 4), 3)
    assert halves is not None
    assert (halves.scale, halves.point) == ((1, 3), {0.0: 1, 0.5: 2, 1.0: 3})
    far = points_of([0, 100])
    assert far is not None
    assert (far.scale, far.point) == ((1, 2), {0: 1, 100: 2})
    assert points_of([1, 1]) is None
    assert points_of(range(12)) is None
    assert points_of(range(11)) is not None


def test_few_scores_are_points_of_a_scale(tmp_path: Path) -> None:
    found = read(FILES / "scalar.jsonl", "scalar")
    said = [one for one in found.judgments if isinstance(one, Rating)]
    assert [(one.value, one.scale, one.criterion) for one in said] == [
        (3, (1, 3), "overall"),
        (1, (1, 3), "overall"),
        (2, (1, 3), "overall"),
        (3, (1, 3), "clarity"),
        (1, (1, 3), "clarity"),
    ]
    assert [one.meta for one in said[:3]] == [{"score": 0.75}, {"score": 0.0}, {"score": 0.25, "page": 4}]
    kept = replace(found, judgments=tuple(replace(one, meta={"page": 4}) for one in said))
    assert back(kept, "scalar", tmp_path / "a.jsonl") == kept


def test_many_scores_are_those_of_a_function(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", *({"prompt": "p", "response": f"r{n}", "score": n / 7} for n in range(12)))
    found = read(path, "scalar")
    said = [one for one in found.judgments if isinstance(one, Score)]
    assert [one.value for one in said] == [n / 7 for n in range(12)]
    assert {one.source for one in said} == {"function"}
    assert back(found, "scalar", tmp_path / "b.jsonl") == found


def test_scores_of_a_settlement_come_back_as_values(tmp_path: Path) -> None:
    exported = export(replace(feedback(), settlement=SETTLED), "scalar")
    assert dict(exported.lost.counts) == {"without_text": 1}
    path = tmp_path / "a.jsonl"
    path.write_text(exported.text, encoding="utf-8")
    said = [one for one in read(path, "scalar").judgments if isinstance(one, Score)]
    assert [(one.value, one.criterion, one.meta["sd"], one.meta["n"]) for one in said] == [
        (one.value, one.criterion, one.sd, one.n) for one in SETTLED.verdicts if one.response != "unknown"
    ]


@pytest.mark.parametrize(
    ("judgment", "lost"),
    [
        (Edit(rater="a", response=GRASS.id, text="b"), "edits"),
        (Rating(rater="a", response="unknown", value=3), "without_text"),
        (Rating(rater="a", response=GRASS.id, value=3, meta={"score": 0.5}), "meta"),
        (Score(rater="a", response=GRASS.id, value=3, source="function", ballot="b"), "ballot"),
    ],
)
def test_what_a_score_cannot_hold_is_named(judgment: Judgment, lost: str) -> None:
    assert dict(export(feedback(judgment), "scalar").lost.counts) == {lost: 1}


@pytest.mark.parametrize("score", ["good", None, True, [1]])
def test_a_score_is_a_number(tmp_path: Path, score: object) -> None:
    path = written(tmp_path / "a.jsonl", {"prompt": "p", "response": "r", "score": score})
    with pytest.raises(JudgmentError, match="line 1: 'score' is"):
        read(path, "scalar")


# --- several scores -----------------------------------------------------------------------------------------------


def test_several_scores_are_a_rating_each() -> None:
    found = read(FILES / "several.jsonl", "several")
    said = [one for one in found.judgments if isinstance(one, Rating)]
    assert [(one.criterion, one.value, one.scale) for one in said] == [
        ("correctness", 4, (0, 4)),
        ("clarity", 3, (0, 4)),
        ("verbosity", 1, (0, 4)),
        ("correctness", 0, (0, 4)),
        ("clarity", 2, (0, 4)),
    ]
    assert (said[0].seconds, said[0].meta) == (20.0, {"origin": "kitchen"})
    assert dict(found.lost.counts) == {"missing_scores": 1}


def test_completions_with_annotations() -> None:
    found = read(FILES / "completions.jsonl", "several")
    said = [one for one in found.judgments if isinstance(one, Rating)]
    assert [(one.criterion, one.value, one.scale, one.comment) for one in said] == [
        ("helpfulness", 5, (1, 5), "Names all three."),
        ("helpfulness", 1, (1, 5), "One word."),
        ("honesty", 3, (1, 5), "Vague."),
    ]
    assert [one.text for one in found.responses] == ["Iron, water and oxygen react.", "Age."]
    assert said[0].meta == {"source": "shed", "models": ["m1", "m2"], "model": "m1", "overall_score": 8.5}
    assert dict(found.lost.counts) == {"missing_scores": 1}


def test_scores_without_a_scale_are_refused(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "response": f"r{n}", "clarity": n / 7} for n in range(12)]
    with pytest.raises(JudgmentError, match=r"line 1: the scores of 'clarity' are no points of a scale\. Give 2 to 11"):
        read(written(tmp_path / "a.jsonl", *rows), "several")


def test_several_scores_are_read_and_not_written() -> None:
    with pytest.raises(JudgmentError, match=r"'several' can be read and not written\. Write judgments, table, pairs"):
        export(feedback(), "several")
