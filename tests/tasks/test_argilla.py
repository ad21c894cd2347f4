"""Records of Argilla are read to the last answer, and what they can hold comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from expound.records import Check, Comparison, Edit, Judgment, Ranking, Rating, Skip
from expound.tasks.formats import export, guess, imported
from expound.tasks.imported import Feedback, Imported, Reading
from expound.tasks.rows import read_rows
from tests.support.feedback import FROST, GRASS, LAZY, NAME, PROMPTS, RESPONSES, SUGAR, assert_refused

FILES = Path(__file__).parent / "files"


def read(path: Path) -> Imported:
    rows = tuple(read_rows(path))
    assert guess(rows) == "argilla"
    return imported(rows, "argilla", Reading(NAME))


def test_every_answer() -> None:
    found = read(FILES / "argilla.json")
    texts = {one.id: one.text for one in found.responses}
    left, tie, high, low, check, ranking = found.judgments
    assert isinstance(left, Comparison)
    assert isinstance(tie, Comparison)
    assert [(one.rater, one.choice, one.criterion, one.meta) for one in (left, tie)] == [
        ("u-1", -1, "overall", {"lesson": 2}),
        ("u-2", 0, "overall", {"lesson": 2}),
    ]
    assert (texts[left.left], texts[left.right]) == ("Air bends their light.", "They blink.")
    assert isinstance(high, Rating)
    assert isinstance(low, Rating)
    assert [(one.criterion, one.value, one.scale) for one in (high, low)] == [
        ("clarity", 7, (1, 7)),
        ("clarity", 3, (1, 7)),
    ]
    assert isinstance(check, Check)
    assert (check.criterion, check.value) == ("faithful", "yes")
    assert isinstance(ranking, Ranking)
    assert [[texts[one] for one in tier] for tier in ranking.tiers] == [
        ["Air bends their light."],
        ["They blink.", "Dust."],
    ]
    assert dict(found.lost.counts) == {"texts": 1, "answers_of_another_kind": 1}


def test_the_lists_of_version_one() -> None:
    found = read(FILES / "argilla_1.json")
    rating, skip = found.judgments
    assert isinstance(rating, Rating)
    assert (rating.rater, rating.value, rating.criterion, rating.meta) == ("u-1", 4, "clarity", {"external_id": "k"})
    assert isinstance(skip, Skip)
    assert (skip.rater, skip.reason) == ("u-2", "discarded")
    assert dict(found.lost.counts) == {"drafts": 1}


def record(question: str, value: object, **fields: str) -> dict[str, object]:
    shown = {"prompt": "Why?", **(fields or {"left": "So.", "right": "Thus."})}
    return {"fields": shown, "responses": {question: [{"value": value, "user_id": "u"}]}}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"fields": {"text": "a"}, "responses": {}}, "no field 'prompt' holds the prompt"),
        ({"fields": {"prompt": "a", "text": "b"}, "responses": {}}, "no field is known to hold a response"),
        ({"fields": {"prompt": "a", "left": "b"}, "responses": 3}, "'responses' is 3"),
        ({"fields": {"prompt": "a", "left": "b"}, "responses": {"q": 3}}, "'q' is 3. Give a list"),
        (record("q", 400, response="So."), "'value' is 400"),
        (record("q", [{"value": "middle", "rank": 1}]), "there is no value 'middle'"),
        (record("q", [{"value": "left", "rank": "first"}]), "'rank' is 'first'"),
        (
            {**record("q", 4, response="So."), "metadata": {"scale": [1, 3]}},
            "'value' is 4. Give a whole number from 1 to 3",
        ),
    ],
)
def test_what_is_no_record(tmp_path: Path, row: object, sentence: str) -> None:
    assert_refused(read, tmp_path / "a.json", row, sentence)


@pytest.mark.parametrize(
    ("row", "lost"),
    [
        (record("q", 4), "ratings_of_no_single_response"),
        (record("q", "yes"), "labels_of_no_single_response"),
        (record("q", "left", left="So.", right="So."), "equal_texts"),
        (record("q", "two\nlines"), "texts"),
        (record("q", None), "answers_of_another_kind"),
        (record("q", 3.5), "answers_of_another_kind"),
        (record("q", [{"value": "left", "rank": 1}]), "rankings_of_one"),
        (record("q", [{"start": 1, "end": 2, "label": "l"}]), "answers_of_another_kind"),
    ],
)
def test_what_has_no_place_here_is_named(tmp_path: Path, row: object, lost: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row]), encoding="utf-8")
    assert dict(read(path).lost.counts) == {lost: 1}


HELD: tuple[Judgment, ...] = tuple(
    replace(one, prompt=FROST.id)
    for one in (
        Comparison(rater="a", left=GRASS.id, right=SUGAR.id, choice=-1),
        Comparison(rater="b", left=GRASS.id, right=SUGAR.id, choice=0),
        Comparison(rater="b", left=GRASS.id, right=SUGAR.id, choice=1, criterion="clarity"),
        Rating(rater="a", response=LAZY.id, value=2, scale=(0, 4), criterion="clarity"),
        Rating(rater="b", response=LAZY.id, value=0, scale=(0, 4)),
        Rating(rater="a", response=LAZY.id, value=5),
        Check(rater="a", response=GRASS.id, value="yes", criterion="faithful"),
        Ranking(rater="a", tiers=((SUGAR.id,), (LAZY.id, GRASS.id))),
    )
)


def test_what_a_record_can_hold_comes_back(tmp_path: Path) -> None:
    exported = export(Feedback(PROMPTS, RESPONSES, HELD), "argilla", names=True)
    assert not exported.lost
    path = tmp_path / "a.json"
    path.write_text(exported.text, encoding="utf-8")
    found = read(path)
    assert set(map(repr, found.judgments)) == set(map(repr, HELD))
    assert set(found.responses) == {GRASS, SUGAR, LAZY}
    assert found.prompts == (FROST,)
    assert not found.lost


@pytest.mark.parametrize(
    ("judgment", "lost"),
    [
        (
            Comparison(rater="a", left=GRASS.id, right=SUGAR.id, choice=-2, strength=3, ties=False),
            {"degrees", "no_tie_offered"},
        ),
        (Comparison(rater="a", left=GRASS.id, right=SUGAR.id, choice=0, both_bad=True), {"both_bad"}),
        (Check(rater="a", response=GRASS.id, value="a" * 99), {"long_labels"}),
        (Rating(rater="a", response=GRASS.id, value=3, seconds=4.0, meta={"a": 1}), {"seconds", "meta"}),
        (Rating(rater="a", response=GRASS.id, value=3, source="judge", gold=4), {"gold"}),
        (Rating(rater="a", response="unknown", value=3), {"without_text"}),
        (Edit(rater="a", response=GRASS.id, text="b"), {"edits"}),
    ],
)
def test_what_a_record_cannot_hold_is_named(judgment: Judgment, lost: set[str]) -> None:
    counts = export(Feedback(PROMPTS, RESPONSES, (judgment,)), "argilla").lost.counts
    assert dict(counts) == dict.fromkeys(lost, 1)


def test_held_out_stays_held_out(tmp_path: Path) -> None:
    said = replace(HELD[5], split="held_out")
    path = tmp_path / "a.json"
    path.write_text(export(Feedback(PROMPTS, RESPONSES, (said,)), "argilla", names=True).text, encoding="utf-8")
    found = read(path)
    assert found.judgments == (said,)
    assert found.prompts[0].split == "held_out"
