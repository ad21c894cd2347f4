"""What a foreign file gives, what a file is made of, and what either could not hold."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from expound.errors import JudgmentError
from expound.records import OVERALL, Comparison, Json, Judgment, Prompt, Response, Settlement, Source
from expound.tasks.judgments import SOURCES, SPLITS
from expound.tasks.material import prompt_of
from expound.tasks.rows import SHOWN, Row

FILE = "file:"  # with the file's name, the policy of its responses, and the rater where it names none
NAMED_PARTS = ("rater", "source", "criterion", "split", "seconds", "comment")

Said = TypeVar("Said", bound=Judgment)
Thing = TypeVar("Thing", Prompt, Response)


@dataclass(frozen=True)
class Lost:
    """What a format could not hold: how many of each."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts)

    @property
    def sentence(self) -> str:
        """Return the list in words, or an empty string."""
        return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(self.counts.items()))


@dataclass(frozen=True)
class Imported:
    """What a file gives: prompts, responses of the policy "file:NAME" and round 0, and judgments of them."""

    prompts: tuple[Prompt, ...]
    responses: tuple[Response, ...]
    judgments: tuple[Judgment, ...]
    lost: Lost = field(default_factory=Lost)


@dataclass(frozen=True)
class Feedback:
    """What a file is made of; with a settlement, of what the panel thinks, else of what each rater said."""

    prompts: Sequence[Prompt]
    responses: Sequence[Response]
    judgments: Sequence[Judgment]
    settlement: Settlement | None = None


@dataclass(frozen=True)
class Exported:
    """The content of a file, and what it could not hold."""

    text: str
    lost: Lost = field(default_factory=Lost)


@dataclass(frozen=True)
class Reading:
    """The name of the file, and what a labelling tool's fields are called that hold the texts.

    Where one response is shown alone, it stands in `response`.
    """

    name: str
    prompt: str = "prompt"
    left: str = "left"
    right: str = "right"
    response: str = "response"


@dataclass(frozen=True)
class Piece:
    """What one row gives; `where` is its place, `lost` what of it has no place here."""

    where: str
    prompts: tuple[Prompt, ...] = ()
    responses: tuple[Response, ...] = ()
    judgments: tuple[Judgment, ...] = ()
    lost: tuple[str, ...] = ()


# --- in ---------------------------------------------------------------------------------------------------------


def gather(pieces: Iterable[Piece]) -> Imported:
    """Return the pieces as one, every prompt and response once. Errors: JudgmentError for two things of one id."""
    prompts: dict[str, Prompt] = {}
    responses: dict[str, Response] = {}
    judgments: list[Judgment] = []
    lost: Counter[str] = Counter()
    for piece in pieces:
        for prompt in piece.prompts:
            _keep(prompts, prompt, piece.where)
        for response in piece.responses:
            _keep(responses, response, piece.where)
        judgments += piece.judgments
        lost.update(piece.lost)
    return Imported(tuple(prompts.values()), tuple(responses.values()), tuple(judgments), Lost(dict(lost)))


def prompt_in(row: Row, text: str, id_: str | None = None) -> Prompt:
    """Return the prompt of a text; a split that the row names is its split. Errors: JudgmentError for an empty text."""
    if not text.strip():
        raise row.error("the prompt is empty", "Say what the responses were asked.")
    prompt = prompt_of(text)
    split = next((split for split in SPLITS if row.columns.get("split") == split), None)
    return dataclasses.replace(prompt, id=id_ or prompt.id, split=split)


def response_in(row: Row, prompt: Prompt, text: str, name: str, id_: str | None = None) -> Response:
    """Return the response of a text to a prompt. Errors: JudgmentError for an empty text."""
    if not text.strip():
        raise row.error("a response is empty", "Remove that line, or give its text.")
    policy = FILE + name
    own = Response.make_id(prompt.id, policy, 0, 0, text)
    return Response(id_ or own, prompt.id, text, policy, 0, 0, finished=True)


def source_in(row: Row) -> Source | None:
    """Return who is behind a row, where it says so in a word of ours."""
    return next((source for source in SOURCES if row.columns.get("source") == source), None)


def dressed(judgment: Said, row: Row, prompt: Prompt, used: Collection[str] = ()) -> Said:
    """Return the judgment with what the row says beside it; columns that are not `used` and not known are its meta."""
    source = source_in(row)
    is_read = {"source": source is not None, "split": prompt.split is not None}
    known = [name for name in NAMED_PARTS if is_read.get(name, True)]
    return dataclasses.replace(
        judgment,
        prompt=prompt.id,
        source=source or judgment.source,
        split=prompt.split or judgment.split,
        criterion=row.name("criterion") or judgment.criterion,
        seconds=row.seconds("seconds"),
        comment=row.text_or_none("comment") if row.has("comment") else judgment.comment,
        meta={**judgment.meta, **row.without(*used, *known)},
    )


def rater_in(row: Row, name: str) -> str:
    """Return the rater of a row, or "file:NAME" where it names none. Errors: JudgmentError for what is no name."""
    value = row.columns.get("rater")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return row.name("rater") or FILE + name


def _keep(things: dict[str, Thing], thing: Thing, where: str) -> None:
    known = things.setdefault(thing.id, thing)
    if known != thing:
        raise JudgmentError(
            f"{where}: '{thing.id[:SHOWN]}' is not what it is in a line above (its text, prompt or split).",
            "Give different things different ids, and one thing one split.",
        )


# --- out --------------------------------------------------------------------------------------------------------


def pseudonymous(judgments: Iterable[Judgment], key: str = "") -> tuple[Judgment, ...]:
    """Return the judgments with pseudonyms for their people; without the key nobody can try names out."""
    return tuple(
        dataclasses.replace(judgment, rater=pseudonym(judgment.rater, key)) if is_person(judgment) else judgment
        for judgment in judgments
    )


def pseudonym(rater: str, key: str = "") -> str:
    """Return the name that a rater has in every export of the same key."""
    return f"r{hmac.new(key.encode(), rater.encode(errors='replace'), hashlib.sha256).hexdigest()[:12]}"


def is_person(judgment: Judgment) -> bool:
    """Say whether a judgment names somebody."""
    return judgment.source == "people" and not judgment.rater.startswith(FILE)


def has_odds(judgment: Judgment) -> bool:
    """Say whether a pair brings its own chance or weight: a sum of judgments, which only a reward is fitted to."""
    return isinstance(judgment, Comparison) and not {"p", "weight"}.isdisjoint(judgment.meta)


def newest(judgments: Iterable[Judgment]) -> tuple[tuple[Judgment, ...], Counter[str]]:
    """Return the judgments that no later revision of the same ballot and rater corrects, and how many it does."""
    told = tuple(judgments)
    last: dict[tuple[str, str], int] = {}
    for judgment in told:
        if judgment.ballot is not None:
            place = (judgment.ballot, judgment.rater)
            last[place] = max(last.get(place, 0), judgment.revision)
    kept = tuple(one for one in told if one.ballot is None or one.revision == last[one.ballot, one.rater])
    return kept, Counter({"corrected": len(told) - len(kept)})


def beside(judgment: Judgment, used: Collection[str]) -> tuple[dict[str, object], Counter[str]]:
    """Return the columns that tell a judgment's circumstances, and what of it they do not hold.

    What of its meta has the name of another column, or is null, is lost.
    """
    columns: dict[str, object] = {} if judgment.rater.startswith(FILE) else {"rater": judgment.rater}
    usual: Mapping[str, object] = {"source": "people", "criterion": OVERALL, "split": "train"}
    for name in NAMED_PARTS[1:]:
        value = getattr(judgment, name)
        if value is not None and value != usual.get(name):
            columns[name] = value
    taken = {*used, *columns, "rater", "criterion", "seconds", "comment"}
    words: Collection[Json] = (*SOURCES, *SPLITS)
    meta = {
        name: value
        for name, value in judgment.meta.items()
        if name not in taken and value is not None and not (name in ("source", "split") and value in words)
    }
    lost = unheld(judgment) + Counter({"meta": len(judgment.meta) - len(meta)})
    return {**meta, **columns}, +lost


def unheld(judgment: Judgment, *others: str) -> Counter[str]:
    """Return what no foreign format holds of a judgment, and which of the `others` it has."""
    always: Mapping[str, Json] = {"ballot": None, "revision": 0, "shown_at": None, "gold": None, "round": 1}
    fields = {**always, **dict.fromkeys(others)}
    usual: Mapping[str, Json] = {**fields, "source": "people", "split": "train", "criterion": OVERALL}
    return Counter(name for name in fields if getattr(judgment, name) not in (usual[name], {}))


def source_of(feedback: Feedback) -> dict[str, object]:
    """Return who is behind what a panel thinks, as a column: nothing for people, and always what is simulated."""
    sources = {one.source for one in feedback.judgments}
    if "simulated" in sources:
        return {"source": "simulated"}
    return {"source": sources.pop()} if len(sources) == 1 and "people" not in sources else {}


def whole_text(prompt: Prompt) -> str:
    """Return all that was asked, the passage before the question."""
    return f"{prompt.source}\n\n{prompt.text}" if prompt.source else prompt.text


def texts_of(feedback: Feedback) -> Mapping[str, tuple[Prompt, Response]]:
    """Return every response, by its id, with its prompt; one whose prompt is not known is not there."""
    prompts = {prompt.id: prompt for prompt in feedback.prompts}
    return {one.id: (prompts[one.prompt], one) for one in feedback.responses if one.prompt in prompts}


def exported(text: str, lost: Counter[str]) -> Exported:
    """Return the content of a file and what it could not hold."""
    return Exported(text, Lost({name: number for name, number in lost.items() if number > 0}))
