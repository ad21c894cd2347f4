"""Annotated tasks of Label Studio are read to the last annotation; tasks are written to be annotated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expound.errors import JudgmentError
from expound.records import Check, Comparison, Judgment, Ranking, Rating, Skip
from expound.tasks.formats import export, guess, imported
from expound.tasks.imported import Feedback, Imported, Reading
from expound.tasks.rows import read_rows
from tests.support.feedback import FROST, GRASS, LAZY, NAME, PROMPTS, RESPONSES, SUGAR, assert_refused

FILES = Path(__file__).parent / "files"
READING = Reading(NAME, prompt="question", left="one", right="two")


def read(path: Path, reading: Reading = READING) -> Imported:
    rows = tuple(read_rows(path))
    assert guess(rows) == "label-studio"
    return imported(rows, "label-studio", reading)


def test_every_annotation() -> None:
    found = read(FILES / "label_studio.json")
    texts = {one.id: one.text for one in found.responses}
    right, wrong, skip, rating, check, ranking, two = found.judgments
    assert isinstance(right, Comparison)
    assert isinstance(wrong, Comparison)
    assert (texts[right.left], texts[right.right]) == ("To tell where flowers are.", "For joy.")
    assert [(one.rater, one.choice, one.ties, one.gold, one.seconds) for one in (right, wrong)] == [
        ("5", -1, False, -1, 21.4),
        ("6", 1, False, -1, 8.0),
    ]
    assert right.meta == {"id": 11, "field": "biology", "question": "pw"}
    assert isinstance(skip, Skip)
    assert (skip.rater, skip.reason, skip.prompt) == ("7", "cancelled", right.prompt)
    assert isinstance(rating, Rating)
    assert (rating.criterion, rating.value, rating.scale, rating.seconds) == ("clarity", 4, (1, 5), None)
    assert isinstance(check, Check)
    assert (check.criterion, check.value, texts[check.response]) == ("faithful", "yes", "To tell where flowers are.")
    assert isinstance(ranking, Ranking)
    assert [[texts[one] for one in tier] for tier in ranking.tiers] == [["Wings beat fast."], ["Air."], ["They sing."]]
    assert isinstance(two, Ranking)
    assert [[texts[one] for one in tier] for tier in two.tiers] == [["Air."], ["Wings beat fast."]]
    assert dict(found.lost.counts) == {"textarea": 1, "several_choices": 1, "buckets": 1}
    assert [one.text for one in found.prompts] == ["Why do bees dance?", "Why do bees hum?"]


def test_fields_are_asked_by_name() -> None:
    with pytest.raises(
        JudgmentError, match=r"item 1: data: no field 'prompt' holds the prompt\. Name it with --prompt"
    ):
        read(FILES / "label_studio.json", Reading(NAME))
    with pytest.raises(JudgmentError, match=r"--left and --right; the fields are question, one, two, field"):
        read(FILES / "label_studio.json", Reading(NAME, prompt="question"))


def task(**result: object) -> dict[str, object]:
    return {
        "data": {"question": "Why?", "one": "So.", "two": "Thus."},
        "annotations": [{"completed_by": 1, "result": [{"from_name": "q", **result}]}],
    }


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (task(type="pairwise", value={"selected": "middle"}), "there is no selected 'middle'"),
        (task(type="rating", value={"rating": 4.5}), "'rating' is 4.5"),
        (task(type="rating", value=[4]), "'value' is [4]"),
        (task(type="ranker", value={"ranker": ["none"]}), "'ranker' is ['none']. Give a list of the items one, two"),
        (task(value={}), "'type' is missing"),
        ({"data": {"question": "Why?", "one": "So."}, "annotations": [3]}, "annotations 1: 3 is no object"),
        ({"data": [1], "annotations": []}, "'data' is [1]"),
        ({"data": {"question": "Why?", "one": ""}, "annotations": []}, "'one' is ''"),
        ({"data": {"question": "Why?", "items": [{"body": "a"}]}, "annotations": []}, "'id' is missing"),
        (
            {
                "data": {"question": "Why?", "one": "So."},
                "annotations": [{"result": [{"type": "pairwise", "value": {"selected": "left"}}]}],
            },
            "the two responses that were compared are not known",
        ),
    ],
)
def test_what_is_no_task(tmp_path: Path, row: object, sentence: str) -> None:
    assert_refused(read, tmp_path / "a.json", row, sentence)


@pytest.mark.parametrize(
    ("row", "lost"),
    [
        (task(type="rating", value={"rating": 4}), "ratings_of_no_single_response"),
        (task(type="choices", value={"choices": ["yes"]}), "choices_of_no_single_response"),
        (task(type="labels", value={}), "labels"),
        (task(type="ranker", value={"ranker": ["one"]}), "rankings_of_one"),
        (
            {**task(type="pairwise", value={"selected": "left"}), "data": {"question": "a", "one": "b", "two": "b"}},
            "equal_texts",
        ),
    ],
)
def test_what_has_no_place_here_is_named(tmp_path: Path, row: object, lost: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row]), encoding="utf-8")
    assert dict(read(path).lost.counts) == {lost: 1}


def test_more_stars_than_five(tmp_path: Path) -> None:
    rows = [task(type="rating", value={"rating": stars}) for stars in (0, 8)]
    for row in rows:
        row["data"] = {"question": "Why?", "response": "So."}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert [one.scale for one in read(path).judgments if isinstance(one, Rating)] == [(0, 8), (0, 8)]


@pytest.mark.parametrize(
    ("result", "truth", "gold"),
    [
        ({"type": "rating", "value": {"rating": 2}}, {"type": "rating", "value": {"rating": 4}}, 4),
        ({"type": "choices", "value": {"choices": ["a"]}}, {"type": "choices", "value": {"choices": ["b"]}}, "b"),
        ({"type": "rating", "value": {"rating": 2}}, {"type": "choices", "value": {"choices": ["b"]}}, None),
    ],
)
def test_the_annotation_that_is_marked_as_true_is_gold(
    tmp_path: Path, result: dict[str, object], truth: dict[str, object], gold: object
) -> None:
    annotations = [{"completed_by": 1, "result": [result]}, {"ground_truth": True, "result": [truth]}]
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps([{"data": {"question": "Why?", "response": "So."}, "annotations": annotations}]), encoding="utf-8"
    )
    assert read(path).judgments[0].gold == gold


def test_a_true_ranking_is_gold(tmp_path: Path) -> None:
    items = [{"id": 1, "body": "a"}, {"id": 2, "body": "b"}]
    ranked = {"type": "ranker", "value": {"ranker": [2, 1]}}
    annotations = [{"ground_truth": True, "result": [ranked]}, {"was_cancelled": True, "ground_truth": True}]
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps([{"data": {"question": "Why?", "items": items}, "annotations": annotations}]), encoding="utf-8"
    )
    told, skip = read(path).judgments
    assert isinstance(told, Ranking)
    assert told.gold == [list(tier) for tier in told.tiers]
    assert skip.gold is None


JUDGMENTS: tuple[Judgment, ...] = (
    Comparison(rater="a", left=GRASS.id, right=SUGAR.id, choice=-1),
    Comparison(rater="b", left=GRASS.id, right=SUGAR.id, choice=1),
    Rating(rater="a", response=LAZY.id, value=2),
    Ranking(rater="a", tiers=((GRASS.id,), (SUGAR.id, LAZY.id))),
    Rating(rater="a", response="unknown", value=2),
    Skip(rater="a", reason=""),
)


def test_tasks_to_be_annotated_show_what_was_judged(tmp_path: Path) -> None:
    exported = export(Feedback(PROMPTS, RESPONSES, JUDGMENTS), "label-studio")
    tasks = [one["data"] for one in json.loads(exported.text)]
    asked = {"prompt": FROST.text, "prompt_id": FROST.id}
    assert tasks[0] == asked | {
        "left": GRASS.text,
        "left_id": GRASS.id,
        "right": SUGAR.text,
        "right_id": SUGAR.id,
    }
    assert tasks[1] == asked | {"response": LAZY.text, "response_id": LAZY.id}
    assert {one["id"] for one in tasks[2]["items"]} == {GRASS.id, SUGAR.id, LAZY.id}
    assert len(tasks) == 3
    assert dict(exported.lost.counts) == {"comparisons": 2, "ratings": 2, "rankings": 1, "skips": 1, "without_text": 1}


def test_who_is_behind_an_annotation_is_kept(tmp_path: Path) -> None:
    task = json.loads(export(Feedback(PROMPTS, RESPONSES, JUDGMENTS[:1]), "label-studio").text)[0]
    result = {"from_name": "p", "type": "pairwise", "value": {"selected": "left"}}
    path = tmp_path / "a.json"
    for source, kept, meta in (("judge", "judge", {}), ("shed", "people", {"source": "shed"})):
        data = {**task["data"], "source": source}
        path.write_text(json.dumps([{"data": data, "annotations": [{"result": [result]}]}]), encoding="utf-8")
        (said,) = read(path, Reading(NAME)).judgments
        assert (said.source, said.meta) == (kept, {**meta, "question": "p"})


def test_without_judgments_every_response_is_a_task() -> None:
    exported = export(Feedback(PROMPTS, RESPONSES, ()), "label-studio")
    assert [one["data"]["response"] for one in json.loads(exported.text)] == [one.text for one in RESPONSES]
    assert not exported.lost


def test_an_annotated_task_of_ours_is_about_our_responses(tmp_path: Path) -> None:
    """Who annotates what was exported, and imports it again, judges the responses of the project."""
    tasks = json.loads(export(Feedback(PROMPTS, RESPONSES, JUDGMENTS), "label-studio").text)
    results = (
        {"from_name": "p", "type": "pairwise", "value": {"selected": "right"}},
        {"from_name": "clarity", "type": "rating", "value": {"rating": 3}},
        {"from_name": "r", "type": "ranker", "value": {"ranker": [SUGAR.id, GRASS.id, LAZY.id]}},
    )
    for one, result in zip(tasks, results, strict=True):
        one["annotations"] = [{"completed_by": 9, "result": [result]}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    found = read(path, Reading(NAME))
    compared, rated, ranked = found.judgments
    assert isinstance(compared, Comparison)
    assert (compared.left, compared.right, compared.choice, compared.prompt) == (GRASS.id, SUGAR.id, 1, FROST.id)
    assert isinstance(rated, Rating)
    assert (rated.response, rated.criterion) == (LAZY.id, "clarity")
    assert isinstance(ranked, Ranking)
    assert ranked.tiers == ((SUGAR.id,), (GRASS.id,), (LAZY.id,))
    assert {one.id for one in found.responses} == {GRASS.id, SUGAR.id, LAZY.id}
