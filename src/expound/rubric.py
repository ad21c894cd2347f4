"""What a good explanation is, for a task: criteria with anchored scales, and guidelines for raters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from expound.errors import TaskError

Localised = Mapping[str, str]
MAX_LABEL = 16


@dataclass(frozen=True)
class Point:
    """One point of a scale: the number, a label of one or two words and a full sentence, by language."""

    value: int
    label: Localised
    meaning: Localised


@dataclass(frozen=True)
class Criterion:
    """One thing to judge: a short name, the question put to the rater, and the anchored points, lowest first."""

    name: str
    question: Localised
    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        values = [point.value for point in self.points]
        if len(values) < 2 or values != list(range(values[0], values[0] + len(values))):
            raise TaskError(
                f"criterion '{self.name}' has the scale points {values}.", "Number them in steps of one, lowest first."
            )
        for point in self.points:
            self._check(point)

    def _check(self, point: Point) -> None:
        for language in self.question:
            label, meaning = point.label.get(language, ""), point.meaning.get(language, "")
            if not label or not meaning or len(label) > MAX_LABEL:
                raise TaskError(
                    f"criterion '{self.name}', point {point.value}, language '{language}': label '{label}', "
                    f"meaning '{meaning}'.",
                    f"Give every point a label of at most {MAX_LABEL} characters and a sentence in each language.",
                )

    @property
    def scale(self) -> tuple[int, int]:
        """Return the lowest and the highest value."""
        return self.points[0].value, self.points[-1].value


@dataclass(frozen=True)
class Rubric:
    """The criteria of a task, the question of its comparisons and the guidelines for its raters."""

    task: str
    comparison: Localised
    criteria: tuple[Criterion, ...]
    guidelines: Localised
    shortest_words: int
    longest_words: int

    def criterion(self, name: str) -> Criterion:
        """Return the criterion of that name."""
        for criterion in self.criteria:
            if criterion.name == name:
                return criterion
        names = ", ".join(criterion.name for criterion in self.criteria)
        raise TaskError(f"task '{self.task}' has no criterion '{name}'.", f"It has {names}.")


def in_language(text: Localised, language: str) -> str:
    """Return the text in the language, or in English, or in whatever language there is."""
    return text.get(language) or text.get("en") or next(iter(text.values()))
