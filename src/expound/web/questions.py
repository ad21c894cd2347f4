"""The questions that a ballot puts: what their fields hold, what is missing, and what they say. One class a kind.

Fields are the texts of a form by the names of its inputs. A response is known by its letter, in the order shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from expound.records import Ballot, Comparison, Judgment, Ranking, Rating
from expound.rubric import Criterion, Localised, Point, Rubric
from expound.web.messages import Language, told

LETTERS = "ABCDEFG"
CHOICES = {"a": -1, "same": 0, "b": 1}
FEWEST_PLACED = 2
PREFIXES = ("choice", "rate-", "place-")

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a form: the id of the element to mend, the message that says how, and the question meant."""

    element: str
    message: str
    question: Localised = field(default_factory=dict)

    def sentence(self, t: Language) -> str:
        """Return the message in words."""
        return t(self.message, {"question": told(self.question, t).text} if self.question else {})


@dataclass(frozen=True)
class ComparisonQuestion:
    """Which of two responses is better; all kinds of question have these methods, and in `part` their template."""

    ballot: Ballot
    part = "comparison"

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the values that may be chosen, in the order of the page."""
        return tuple(name for name, value in CHOICES.items() if value or self.ballot.ties)

    def faults(self, fields: Fields) -> tuple[Fault, ...]:
        """Return what keeps the fields from being stored, in the order of the page."""
        return () if fields.get("choice") in self.choices else (Fault("q-choice", "fault_choice"),)

    def judgments(self, fields: Fields, rater: str) -> tuple[Judgment, ...]:
        """Return what faultless fields say."""
        ballot, (left, right) = self.ballot, self.ballot.responses
        choice = CHOICES[fields["choice"]]
        return (
            Comparison(
                rater=rater,
                criterion=ballot.criterion,
                left=left,
                right=right,
                choice=choice,
                strength=ballot.strength,
                ties=ballot.ties,
            ),
        )

    def fields(self, judgments: Sequence[Judgment]) -> dict[str, str]:
        """Return the fields that led to judgments, to be changed."""
        names = {value: name for name, value in CHOICES.items()}
        chosen = [names[found.choice] for found in judgments if isinstance(found, Comparison)]
        return {"choice": chosen[0]} if chosen else {}

    def in_words(self, fields: Fields, t: Language) -> tuple[str, ...]:
        """Return what was entered, in words."""
        return (t(f"choice_{fields['choice']}"),) if fields.get("choice") in self.choices else ()


@dataclass(frozen=True)
class RatingQuestion:
    """A point of each criterion's scale for one response."""

    ballot: Ballot
    criteria: tuple[Criterion, ...]
    part = "rating"

    def faults(self, fields: Fields) -> tuple[Fault, ...]:
        """Return which criteria have no point yet."""
        return tuple(
            Fault(f"q-{name}", "fault_point", one.question)
            for name, one in self.named()
            if fields.get(name) not in _points(one)
        )

    def judgments(self, fields: Fields, rater: str) -> tuple[Judgment, ...]:
        (response,) = self.ballot.responses
        return tuple(
            Rating(
                rater=rater,
                criterion=one.name,
                response=response,
                value=int(fields[name]),
                scale=(one.points[0].value, one.points[-1].value),
            )
            for name, one in self.named()
        )

    def fields(self, judgments: Sequence[Judgment]) -> dict[str, str]:
        values = {found.criterion: str(found.value) for found in judgments if isinstance(found, Rating)}
        return {name: values[one.name] for name, one in self.named() if one.name in values}

    def in_words(self, fields: Fields, t: Language) -> tuple[str, ...]:
        points = ((one, _points(one).get(fields.get(name, ""))) for name, one in self.named())
        return tuple(
            f"{told(one.question, t).text} {point.value}, {told(point.label, t).text}"
            for one, point in points
            if point is not None
        )

    def named(self) -> list[tuple[str, Criterion]]:
        """Return the criteria with the names of their inputs."""
        return [(f"rate-{place}", one) for place, one in enumerate(self.criteria)]


@dataclass(frozen=True)
class RankingQuestion:
    """Places for several responses; equal places are ties, and not every response needs one."""

    ballot: Ballot
    part = "ranking"

    @property
    def places(self) -> range:
        """Return the places that may be given."""
        return range(1, len(self.ballot.responses) + 1)

    def faults(self, fields: Fields) -> tuple[Fault, ...]:
        """Return whether too few are placed, or a place is none."""
        allowed = {"", "none", *map(str, self.places)}
        strange = [name for name, _ in self.named() if fields.get(name, "") not in allowed]
        if strange:
            return (Fault(f"q-{strange[0]}", "fault_place"),)
        return () if len(self._placed(fields)) >= FEWEST_PLACED else (Fault("q-place-0", "fault_few_placed"),)

    def judgments(self, fields: Fields, rater: str) -> tuple[Judgment, ...]:
        """Return the ranking; gaps between places close."""
        return (Ranking(rater=rater, criterion=self.ballot.criterion, tiers=_tiers(self._placed(fields))),)

    def fields(self, judgments: Sequence[Judgment]) -> dict[str, str]:
        tiers = next((found.tiers for found in judgments if isinstance(found, Ranking)), ())
        places = {response: str(place) for place, tier in enumerate(tiers, start=1) for response in tier}
        return {name: places.get(response, "none") for name, response in self.named()} if tiers else {}

    def in_words(self, fields: Fields, t: Language) -> tuple[str, ...]:
        """Return the order, such as B › A = C."""
        del t
        letters = {response: LETTERS[place] for place, response in enumerate(self.ballot.responses)}
        tiers = _tiers(self._placed(fields))
        return (" › ".join(" = ".join(letters[one] for one in tier) for tier in tiers),) if tiers else ()

    def named(self) -> list[tuple[str, str]]:
        """Return the responses with the names of their inputs."""
        return [(f"place-{place}", response) for place, response in enumerate(self.ballot.responses)]

    def _placed(self, fields: Fields) -> dict[str, int]:
        given = ((response, fields.get(name, "")) for name, response in self.named())
        return {response: int(place) for response, place in given if place in map(str, self.places)}


Question = ComparisonQuestion | RatingQuestion | RankingQuestion


def question_of(ballot: Ballot, rubric: Rubric) -> Question:
    """Return what a ballot asks."""
    match ballot.kind:
        case "comparison":
            return ComparisonQuestion(ballot)
        case "rating":
            return RatingQuestion(ballot, tuple(one for one in rubric.criteria if one.name in ballot.criteria))
        case "ranking":
            return RankingQuestion(ballot)


def fields_of(form: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a form that belong to questions."""
    return {name: value for name, value in form.items() if name.startswith(PREFIXES)}


def _points(criterion: Criterion) -> Mapping[str, Point]:
    return {str(point.value): point for point in criterion.points}


def _tiers(placed: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    by_place: Iterable[tuple[str, int]] = sorted(placed.items(), key=lambda item: item[1])
    return tuple(tuple(response for response, _ in tier) for _, tier in groupby(by_place, key=lambda item: item[1]))
