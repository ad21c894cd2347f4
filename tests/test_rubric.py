"""Anchored scales: every point has a label that fits a button and a sentence, in every language of the question."""

from __future__ import annotations

import pytest

from expound.errors import TaskError
from expound.rubric import MAX_LABEL, Criterion, Point

QUESTION = {"en": "Is it clear?", "zh": "清楚吗？"}


def point(value: int, label: str = "poor", *, meaning: str = "Nobody can follow it.", zh: str = "差") -> Point:
    return Point(value=value, label={"en": label, "zh": zh}, meaning={"en": meaning, "zh": "没人看得懂。"})


def criterion(points: tuple[Point, ...]) -> Criterion:
    return Criterion(name="clarity", question=QUESTION, points=points)


def test_a_scale_goes_up_in_steps_of_one() -> None:
    for values in ((1, 2, 3), (-1, 0, 1)):
        assert [found.value for found in criterion(tuple(map(point, values))).points] == list(values)


@pytest.mark.parametrize("values", [(), (1,), (1, 3), (2, 1), (1, 1)])
def test_points_that_are_no_scale_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(TaskError, match=r"criterion 'clarity' has the scale points .*steps of one"):
        criterion(tuple(point(value) for value in values))


@pytest.mark.parametrize(
    "second", [point(2, ""), point(2, "x" * (MAX_LABEL + 1)), point(2, meaning=""), point(2, zh="")]
)
def test_a_point_without_its_words_is_refused(second: Point) -> None:
    with pytest.raises(TaskError, match=r"criterion 'clarity', point 2, language '(en|zh)'.*at most 16 characters"):
        criterion((point(1), second))


def test_a_label_of_just_that_length_fits() -> None:
    assert len(criterion((point(1), point(2, "x" * MAX_LABEL))).points) == 2
