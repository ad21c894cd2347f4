"""What a good explanation is, for a task: criteria with anchored scales, and guidelines for raters."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from expound.errors import TaskError

Localised = Mapping[str, str]
Told = Annotated[Localised, Field(min_length=1)]
MAX_LABEL = 16


class Form(BaseModel):
    """A table of a task file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Point(Form):
    """One point of a scale: the number, a label of one or two words and a full sentence, by language."""

    value: int
    label: Localised
    meaning: Localised


class Criterion(Form):
    """One thing to judge: a short name, the question put to the rater, and the anchored points, lowest first."""

    name: str
    question: Told
    points: tuple[Point, ...]

    @property
    def scale(self) -> tuple[int, int]:
        """Return the lowest and the highest point."""
        return self.points[0].value, self.points[-1].value

    def model_post_init(self, _context: object) -> None:
        """Refuse points that are no scale, or not told in every language of the question."""
        values = [point.value for point in self.points]
        if len(values) < 2 or values != list(range(values[0], values[0] + len(values))):
            raise TaskError(
                f"criterion '{self.name}' has the scale points {values}.", "Number them in steps of one, lowest first."
            )
        for point, language in product(self.points, self.question):
            label, meaning = point.label.get(language, ""), point.meaning.get(language, "")
            if not label or not meaning or len(label) > MAX_LABEL:
                raise TaskError(
                    f"criterion '{self.name}', point {point.value}, language '{language}': label '{label}', "
                    f"meaning '{meaning}'.",
                    f"Give every point a label of at most {MAX_LABEL} characters and a sentence in each language.",
                )


class Length(Form):
    """How many words a good explanation has."""

    shortest_words: int = Field(ge=0)
    longest_words: int = Field(ge=1)


class Rubric(Form):
    """The criteria of the task `name`, the question of its comparisons and the guidelines for its raters."""

    name: str = Field(min_length=1)
    comparison: Told
    guidelines: Told
    length: Length
    criteria: tuple[Criterion, ...]
