"""The user's own functions as feedback: one that ranks is a rater of the panel, one that scores is the reward itself.

They are called for what the book lacks alone, and what they say is stored while they are at work. A function is
given the prompt as one text: the question, and below an empty line the source where there is one.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TypeVar

from pydantic import TypeAdapter

from expound.errors import InputError
from expound.feedback.asking import of_round
from expound.ports import Advance, Book, Progress, RewardValue
from expound.records import Answer, Ballot, Comparison, Prompt, Ranking, Rater, Response, Round, Score, Split, on_ballot
from expound.settings import FunctionKind


class ResponseText(str):
    """A response as a function that scores is given it: its text, and the ids of its tokens, the end token included."""

    tokens: tuple[int, ...] = ()

    @classmethod
    def of(cls, response: Response) -> ResponseText:
        """Return the text of a response, with its tokens."""
        said = cls(response.text)
        said.tokens = response.tokens
        return said


Scoring = Callable[[str, ResponseText], float | RewardValue]
"""score(text, response): what the response is worth; more is better."""

Ranks = Callable[[str, Sequence[str]], Sequence[int]]
"""rank(text, responses): the place of each response; 1 is the best, equal places are ties."""

ARGUMENTS: Mapping[FunctionKind, str] = {"score function": "feedback", "ranking function": "ranking"}
"""What a function is called in `project.run`."""

AGAIN = "Mend it and make the same call again: what it has said so far is kept."
SHOWN = 80
STORED = TypeAdapter(RewardValue)
STORED_SECONDS = 1.0
"""Seconds of answers that are stored together: a quick function need not wait for the disk every time."""


@dataclass(frozen=True)
class ScoreFunction:
    """A function that says what a response is worth."""

    call: Scoring
    kind: FunctionKind = "score function"

    @property
    def rater(self) -> Rater:
        return _rater(self.call)

    def score(self, prompt: Prompt, response: Response) -> RewardValue:
        """Return what the function says, in plain numbers.

        Errors: InputError when it fails, or what it says is no finite number or does not fit the response.
        """
        try:
            said: object = self.call(text_of(prompt), ResponseText.of(response))
        except Exception as error:
            raise _failed(self.call, prompt, error) from error
        try:
            return _plain(said, response)
        except ValueError as error:
            raise _refused(self.call, prompt, said, str(error)) from error


@dataclass(frozen=True)
class RankingFunction:
    """A function that puts responses in order."""

    call: Ranks
    kind: FunctionKind = "ranking function"

    @property
    def rater(self) -> Rater:
        return _rater(self.call)

    def places(self, prompt: Prompt, responses: Sequence[Response]) -> tuple[int, ...]:
        """Return the place of each response, from 1; equal places are ties.

        Errors: InputError when the function fails, or what it says are no such places.
        """
        try:
            said: object = self.call(text_of(prompt), [response.text for response in responses])
            found = list(said) if isinstance(said, Iterable) else []
        except Exception as error:
            raise _failed(self.call, prompt, error) from error
        count = len(responses)
        if len(found) != count:
            raise _refused(self.call, prompt, said, f"holds {len(found)} places for {count} responses")
        places = tuple(int(float(one)) for one in found if isinstance(one, Real) and one in range(1, count + 1))
        if len(places) != count or 1 not in places:
            raise _refused(self.call, prompt, said, f"are no places from 1, the best, to {count}")
        return places


OwnFunction = ScoreFunction | RankingFunction
Own = TypeVar("Own", ScoreFunction, RankingFunction)


def check_goes_on(round_: int, begun: FunctionKind | None, given: OwnFunction | None) -> None:
    """Refuse to go on in a round with another kind of feedback than the one with which it began. Errors: InputError."""
    if begun == (given and given.kind):
        return
    if begun is not None:
        raise InputError(
            f"round {round_} was begun with a {begun}, and goes on only with one.",
            f"Give it to project.run({ARGUMENTS[begun]}=...) until the round is decided.",
        )
    raise InputError(
        f"round {round_} was begun without a function, and goes on only without one.",
        "Finish it with project.run() first; the next round may begin with the function.",
    )


def require(kind: type[Own], given: OwnFunction | None, folder: Path) -> Own:
    """Return the function. Errors: InputError when it was not given."""
    if isinstance(given, kind):
        return given
    raise InputError(
        f"the open round of {folder} was begun with a {kind.kind}, which is needed now.",
        f"Give it to project.run({ARGUMENTS[kind.kind]}=...), which walks the round to its end.",
    )


def text_of(prompt: Prompt) -> str:
    """Return a prompt as a function is given it."""
    return f"{prompt.text}\n\n{prompt.source}" if prompt.source else prompt.text


# --- a function as a panel ----------------------------------------------------------------------------------------


class RankingPanel:
    """Has a function answer every ballot of a round (fulfils ports.Panel)."""

    def __init__(self, book: Book, function: RankingFunction) -> None:
        self._book, self._function = book, function

    def collect(self, round_: Round, split: Split, progress: Progress) -> None:
        """Rank what is shown on each ballot of the round and split that has no answer yet. Errors: InputError."""
        ballots = _unanswered(self._book, round_, split)
        if not ballots:
            return
        rater = self._function.rater
        self._book.add(rater)
        prompts, responses = _prompts(self._book), _responses(self._book, split)
        with progress.bar(f"your function '{rater.name}' ranks ({split})", len(ballots)) as advance:
            _keep(self._book, (self._ranked(rater, ballot, prompts, responses) for ballot in ballots), advance)

    def _ranked(
        self, rater: Rater, ballot: Ballot, prompts: Mapping[str, Prompt], responses: Mapping[str, Response]
    ) -> Answer:
        places = self._function.places(prompts[ballot.prompt], [responses[one] for one in ballot.responses])
        return _answer(rater, ballot, _ordered(rater.id, ballot, places))


class ScorePanel:
    """Has a function score responses (fulfils ports.Panel and ports.Scorer)."""

    def __init__(self, book: Book, function: ScoreFunction) -> None:
        self._book, self._function = book, function

    @property
    def name(self) -> str:
        """Return what the function is called."""
        return self._function.rater.name

    def collect(self, round_: Round, split: Split, progress: Progress) -> None:
        """Score what the reward is normalised on, or compare held-out responses by their scores. Errors: InputError."""
        ballots = [one for one in _unanswered(self._book, round_, split) if one.kind == "comparison"]
        responses = _responses(self._book, split)
        wanted = [responses[one] for ballot in ballots for one in ballot.responses]
        if split == "train":
            wanted = list(scored_sample(self._book, round_))
        missing = len(self._missing(wanted, round_.number))
        if missing:
            what = f"your function '{self.name}' scores ({split})"
            with progress.bar(what, len(wanted), len(wanted) - missing) as advance:
                self._score(wanted, round_.number, advance)
        known, rater = self._known(round_.number), self._function.rater
        self._book.answer([_compared(rater, ballot, known) for ballot in ballots])

    def values(self, responses: Sequence[Response], round_: int) -> tuple[RewardValue, ...]:
        """Return what each response is worth in a round; what has no score yet is stored and scored.

        Errors: InputError.
        """
        self._score(responses, round_)
        known = self._known(round_)
        return tuple(known[response.id] for response in responses)

    def _known(self, round_: int) -> dict[str, RewardValue]:
        """Return the scores of this round alone, by response: before the next, the function may have been changed."""
        scores = [one for one in self._book.judgments(round_=round_) if isinstance(one, Score)]
        return {one.response: STORED.validate_python({**one.meta, "mean": one.value}) for one in scores}

    def _missing(self, responses: Sequence[Response], round_: int) -> list[Response]:
        known = self._known(round_)
        return list({one.id: one for one in responses if one.id not in known}.values())

    def _score(self, responses: Sequence[Response], round_: int, advance: Advance | None = None) -> None:
        missing = self._missing(responses, round_)
        if not missing:
            return
        prompts, rater = _prompts(self._book), self._function.rater
        ballots = [_ballot_of(response, prompts[response.prompt], round_) for response in missing]
        self._book.add([rater, *missing, *ballots])
        said = (
            _answer(rater, ballot, self._scored(rater, prompts[response.prompt], response))
            for response, ballot in zip(missing, ballots, strict=True)
        )
        _keep(self._book, said, advance)

    def _scored(self, rater: Rater, prompt: Prompt, response: Response) -> Score:
        value = self._function.score(prompt, response)
        beside = {name: given for name, given in vars(value).items() if name != "mean" and given is not None}
        return Score(rater=rater.id, source="function", response=response.id, value=value.mean, meta=beside)


def scored_sample(book: Book, round_: Round) -> tuple[Response, ...]:
    """Return what is scored before the tuning: the reference's train responses and the round's own."""
    policies, found = book.policies(), book.responses("train")
    own = of_round(found, policies, round_.number)
    wanted = [*(one for one in found if one.policy == policies[0].id and one.round != round_.number), *own]
    known = frozenset(round_.prompts)
    return tuple(one for one in wanted if one.prompt in known)


def asked_once(ballots: Sequence[Ballot]) -> tuple[Ballot, ...]:
    """Return the ballots without comparisons of what is ranked together: a function would only say the same again."""
    ranked = [set(ballot.responses) for ballot in ballots if ballot.kind == "ranking"]
    return tuple(
        ballot
        for ballot in ballots
        if ballot.kind == "ranking" or not any(together.issuperset(ballot.responses) for together in ranked)
    )


def _keep(book: Book, answers: Iterable[Answer], advance: Advance | None = None) -> None:
    """Store answers while they are made, those of a second together, and what there is when one cannot be made."""
    waiting: list[Answer] = []
    stored = time.monotonic()
    try:
        for answer in answers:
            waiting.append(answer)
            if advance is not None:
                advance()
            if time.monotonic() - stored > STORED_SECONDS:
                book.answer(waiting)
                waiting, stored = [], time.monotonic()
    finally:
        book.answer(waiting)


def _unanswered(book: Book, round_: Round, split: Split) -> list[Ballot]:
    functions, answered = {rater.id for rater in book.raters() if rater.source == "function"}, book.answered()
    ballots = book.ballots(split, round_=round_.number)
    return [ballot for ballot in ballots if functions.isdisjoint(answered.get(ballot.id, ()))]


def _prompts(book: Book) -> Mapping[str, Prompt]:
    return {prompt.id: prompt for prompt in book.prompts()}


def _responses(book: Book, split: Split) -> Mapping[str, Response]:
    return {response.id: response for response in book.responses(split)}


def _ballot_of(response: Response, prompt: Prompt, round_: int) -> Ballot:
    name = Ballot.make_id("score", prompt.id, [response.id], round_, 0)
    return Ballot(name, "rating", prompt.id, (response.id,), round_, prompt.split or "train")


def _answer(rater: Rater, ballot: Ballot, said: Score | Comparison | Ranking) -> Answer:
    return Answer(f"function-{ballot.id}", ballot.id, rater.id, (on_ballot(said, ballot),))


def _compared(rater: Rater, ballot: Ballot, scores: Mapping[str, RewardValue]) -> Answer:
    values = [scores[response].mean for response in ballot.responses]
    places = [1 + sum(other > value for other in values) for value in values]
    return _answer(rater, ballot, _ordered(rater.id, ballot, places))


def _ordered(rater: str, ballot: Ballot, places: Sequence[int]) -> Comparison | Ranking:
    if ballot.kind == "comparison":
        left, right = ballot.responses
        choice = (places[0] > places[1]) - (places[0] < places[1])
        return Comparison(rater=rater, source="function", left=left, right=right, choice=choice)
    tiers = [
        tuple(response for response, own in zip(ballot.responses, places, strict=True) if own == place)
        for place in sorted(set(places))
    ]
    return Ranking(rater=rater, source="function", tiers=tuple(tiers))


# --- what a function says of a response ---------------------------------------------------------------------------


def _plain(said: object, response: Response) -> RewardValue:
    """Return what a function says in plain numbers. Errors: ValueError, which says what is wrong with it."""
    if not isinstance(said, RewardValue):
        return RewardValue(_number(said))
    tokens = None if said.tokens is None else tuple(map(_number, _several(said.tokens)))
    if tokens is not None and len(tokens) != len(response.tokens):
        raise ValueError(f"holds {len(tokens)} token rewards for a response of {len(response.tokens)} tokens")
    sd = None if said.sd is None else _number(said.sd)
    if sd is not None and sd < 0:
        raise ValueError(f"has a spread of {sd:g}, below 0")
    return RewardValue(
        mean=_number(said.mean),
        sd=sd,
        tokens=tokens,
        spans=None if said.spans is None else tuple(_span(one, response.text) for one in _several(said.spans)),
        parts=None if said.parts is None else {str(name): _number(part) for name, part in said.parts.items()},
    )


def _number(said: object) -> float:
    if not isinstance(said, Real):
        raise ValueError("is no number")
    try:
        value = float(said)
    except OverflowError as error:
        raise ValueError("is beyond all bounds") from error
    if not math.isfinite(value):
        raise ValueError("is no finite number")
    return value


def _several(said: object) -> list[object]:
    if not isinstance(said, Iterable):
        raise ValueError(f"holds {said!r} where a list belongs")
    return list(said)


def _span(said: object, text: str) -> tuple[int, int, float]:
    parts = _several(said)
    if len(parts) != 3:
        raise ValueError(f"has a span of {len(parts)} parts, not (start, end, value)")
    start, end, value = map(_number, parts)
    if not (start.is_integer() and end.is_integer() and 0 <= start < end):
        raise ValueError(f"has a span from {start:g} to {end:g}, which holds no character")
    if end > len(text):
        raise ValueError(f"has a span that ends at {end:g} in a text of {len(text)} characters")
    return int(start), int(end), value


# --- what is said of a function -----------------------------------------------------------------------------------


def _name(call: Scoring | Ranks) -> str:
    return call.__name__ if isinstance(call, FunctionType | MethodType | BuiltinFunctionType) else type(call).__name__


def _rater(call: Scoring | Ranks) -> Rater:
    name = _name(call)
    return Rater(f"function-{re.sub(r'[^A-Za-z0-9_]', '', name) or 'unnamed'}"[:64], name, source="function")


def _place(prompt: Prompt) -> str:
    return f"prompt '{prompt.name or prompt.id}'"


def _failed(call: Scoring | Ranks, prompt: Prompt, error: Exception) -> InputError:
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    return InputError(f"your function '{_name(call)}' failed on {_place(prompt)} ({said}).", AGAIN)


def _refused(call: Scoring | Ranks, prompt: Prompt, said: object, why: str) -> InputError:
    shown = repr(said)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    return InputError(f"your function '{_name(call)}' gave {shown} for {_place(prompt)}, which {why}.", AGAIN)
