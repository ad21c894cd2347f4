"""What labelling tools have in common: named fields that were shown, and answers to named questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from expound.records import (
    OVERALL,
    Check,
    Comparison,
    Edit,
    Highlight,
    Json,
    Judgment,
    Prompt,
    Ranking,
    Rating,
    Response,
    Score,
)
from expound.tasks.imported import Reading, prompt_in, response_in
from expound.tasks.judgments import line
from expound.tasks.rows import Row

# Questions that speak of the whole response, not of a criterion of that name.
PLAIN = ("preference", "ranking", "rating", "overall")
NUMBERED = "response-"
_NUMBERED = re.compile(r"response[-_]?\d+")
TOP = 5  # points of a scale of stars, unless more were given


Told = Judgment | str  # a judgment, or the name of what has no place here


@dataclass(frozen=True)
class Shown:
    """A prompt and its responses by the names of their fields; `single` is the one that is judged alone."""

    prompt: Prompt
    responses: Mapping[str, Response]
    left: Response | None
    right: Response | None
    single: Response | None

    @property
    def all(self) -> tuple[Response, ...]:
        return tuple(self.responses.values())


def shown_in(fields: Row, ids: Row, reading: Reading) -> Shown:
    """Return what the fields of a task show; `ids` may name them ("left_id" for the field "left").

    Errors: JudgmentError that lists the fields where none has the name of the prompt, or of a response.
    """
    names = [name for name, value in fields.columns.items() if isinstance(value, str)]
    if reading.prompt not in names:
        raise fields.error(f"no field '{reading.prompt}' holds the prompt", _name_them("--prompt", names))
    prompt = prompt_in(fields, fields.text(reading.prompt), ids.name("prompt_id"))
    wanted = (reading.left, reading.right, reading.response)
    found = [name for name in names if name in wanted or _NUMBERED.fullmatch(name)]
    if not found and not fields.has("items"):
        raise fields.error("no field is known to hold a response", _name_them("--left and --right", names))
    responses = {
        name: response_in(fields, prompt, fields.text(name), reading.name, ids.name(f"{name}_id")) for name in found
    }
    single = responses.get(reading.response) or (next(iter(responses.values())) if len(responses) == 1 else None)
    return Shown(prompt, responses, responses.get(reading.left), responses.get(reading.right), single)


def criterion_of(question: str) -> str:
    """Return the criterion that a question is about."""
    return OVERALL if question in PLAIN or not question else question


def scales_of(stars: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Return each question's scale: from 1, or from 0 where somebody gave 0, to 5 or to the most given."""
    scales: dict[str, tuple[int, int]] = {}
    for question, given in stars:
        low, high = scales.get(question, (1, TOP))
        scales[question] = min(low, given), max(high, given)
    return scales


def rated(stars: Row, key: str, shown: Shown, question: str, scale: tuple[int, int]) -> Told:
    """Return the rating of the single response, of a rater to be named. Errors: JudgmentError outside the scale."""
    if shown.single is None:
        return "ratings_of_no_single_response"
    value = stars.integer(key, *scale)
    return Rating(rater="", response=shown.single.id, value=value, scale=scale, criterion=criterion_of(question))


def id_of(value: Json) -> str | None:
    """Return the id that a tool gives as a number, a text or an object with an id; None for anything else."""
    if isinstance(value, Mapping):
        value = value.get("id", value.get("email"))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def about(judgment: Judgment) -> tuple[str, tuple[str, ...]]:
    """Return what a task must show for a judgment: how it is asked, and the responses."""
    match judgment:
        case Comparison():
            return "comparison", (judgment.left, judgment.right)
        case Ranking():
            return "ranking", tuple(sorted(name for tier in judgment.tiers for name in tier))
        case Rating() | Score() | Check() | Edit() | Highlight():
            return "response", (judgment.response,)
    return "skip", ()


def fields_of(kind: str, count: int) -> tuple[str, ...]:
    """Return the names of the fields that show so many responses."""
    if kind == "comparison":
        return "left", "right"
    return ("response",) if kind == "response" else tuple(f"{NUMBERED}{place}" for place in range(1, count + 1))


def array_of(tasks: Iterable[Mapping[str, object]]) -> str:
    """Return a JSON array with a task a line."""
    return "[\n" + ",\n".join(line(task) for task in tasks) + "\n]\n"


def _name_them(option: str, names: Iterable[str]) -> str:
    return f"Name it with {option}; the fields are {', '.join(names) or 'none'}."
