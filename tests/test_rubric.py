"""Anchored scales: every point has a label that fits a button and a sentence, in every language of the question."""

from __future__ import annotations

import pytest

from expound.errors import TaskError
from expound.rubric import MAX_LABEL, Criterion, Point, Rubric, in_language

QUESTION = {"en": "Is it clear?", "zh": "清楚吗？"}


def point(value: int, label: str = "poor", *, meaning: str = "Nobody can follow it.", zh: str = "差") -> Point:
    return Point(value, {"en": label, "zh": zh}, {"en": meaning, "zh": "没人看得懂。"})


def test_a_scale_is_its_lowest_and_highest_point() -> None:
    assert Criterion("clarity", QUESTION, (point(1), point(2), point(3))).scale == (1, 3)
    assert Criterion("clarity", QUESTION, (point(-1), point(0), point(1))).scale == (-1, 1)


@pytest.mark.parametrize("values", [(), (1,), (1, 3), (2, 1), (1, 1)])
def test_points_that_are_no_scale_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(TaskError, match=r"criterion 'clarity' has the scale points .*steps of one"):
        Criterion("clarity", QUESTION, tuple(point(value) for value in values))


@pytest.mark.parametrize(
    "second", [point(2, ""), point(2, "x" * (MAX_LABEL + 1)), point(2, meaning=""), point(2, zh="")]
)
def test_a_point_without_its_words_is_refused(second: Point) -> None:
    with pytest.raises(TaskError, match=r"criterion 'clarity', point 2, language '(en|zh)'.*at most 16 characters"):
        Criterion("clarity", QUESTION, (point(1), second))


def test_a_label_of_just_that_length_fits() -> None:
    assert Criterion("clarity", QUESTION, (point(1), point(2, "x" * MAX_LABEL))).scale == (1, 2)


def test_an_unknown_criterion_is_answered_with_those_there_are() -> None:
    criteria = tuple(Criterion(name, QUESTION, (point(1), point(2))) for name in ("clarity", "truth"))
    rubric = Rubric("answer", QUESTION, criteria, QUESTION, 5, 60)
    assert rubric.criterion("truth") is criteria[1]
    with pytest.raises(TaskError, match=r"task 'answer' has no criterion 'tone'. It has clarity, truth."):
        rubric.criterion("tone")


@pytest.mark.parametrize(
    ("text", "language", "shown"),
    [(QUESTION, "zh", "清楚吗？"), (QUESTION, "de", "Is it clear?"), ({"zh": "清楚吗？"}, "de", "清楚吗？")],
)
def test_a_text_in_another_language_falls_back(text: dict[str, str], language: str, shown: str) -> None:
    assert in_language(text, language) == shown
