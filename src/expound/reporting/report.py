"""What the report of a round says, gathered from the book: the page and report.json are made from this alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from expound.ports import Book, GoldLine, ReportInput
from expound.records import (
    Alarm,
    Ballot,
    Comparison,
    Decision,
    Evaluation,
    Judgment,
    Prompt,
    Response,
    RewardCard,
    Skill,
    content_id,
)
from expound.reporting.sentences import Known, headline, is_known, limits
from expound.settings import undump

PAIRS_SHOWN = 5


@dataclass(frozen=True)
class RaterLine:
    """A rater's skill under the name that the owner gave; `is_known` is False when there are too few to tell."""

    name: str
    source: str
    is_known: bool
    skill: Skill


@dataclass(frozen=True)
class Side:
    """One response of a pair."""

    text: str
    finished: bool


@dataclass(frozen=True)
class Pair:
    """A held-out prompt before and after the tuning, and how the panel voted."""

    name: str
    question: str
    source: str
    before: Side
    after: Side
    votes_before: int
    votes_after: int
    ties: int


@dataclass(frozen=True)
class Report:
    """All that a report shows. `is_simulated` says that nobody real judged; `earlier` are the rounds before."""

    project: str
    round: int
    seed: int
    is_simulated: bool
    headline: str
    limits: tuple[str, ...]
    decision: Decision | None
    evaluation: Evaluation | None
    earlier: tuple[Evaluation, ...]
    gold: tuple[GoldLine, ...]
    card: RewardCard | None
    skills: tuple[RaterLine, ...]
    alarms: tuple[Alarm, ...]
    metrics: tuple[Mapping[str, float | None], ...]
    seconds: Mapping[str, float]
    settings: Mapping[str, Mapping[str, object]]
    versions: Mapping[str, str]
    pairs: tuple[Pair, ...]


def gather(book: Book, given: ReportInput) -> Report:
    """Return the report of a round, of whatever the round has so far."""
    number, settings = given.round.number, undump(given.round.settings)
    evaluation = next((found for found in book.evaluations() if found.round == number), None)
    decision = next((found for found in book.decisions() if found.round == number), None)
    card = next((found for found in reversed(book.rewards()) if found.round == number), None)
    sources = evaluation.sources if evaluation else ()
    is_simulated = "simulated" in (*settings.panel.kinds, *sources)
    known = Known(number, settings, is_simulated, evaluation, card, tuple(given.gold))
    return Report(
        project=given.project,
        round=number,
        seed=given.round.seed,
        is_simulated=known.is_simulated,
        headline=headline(known),
        limits=limits(known, raters=_people(book, given.skills)),
        decision=decision,
        evaluation=evaluation,
        earlier=tuple(found for found in book.evaluations() if found.round < number),
        gold=tuple(given.gold),
        card=card,
        skills=_raters(book, given.skills),
        alarms=tuple(given.alarms),
        metrics=tuple(given.metrics),
        seconds=dict(given.seconds),
        settings=settings.model_dump(mode="json", exclude_none=True),
        versions=json.loads(given.round.versions),
        pairs=draw_pairs(book, number, given.round.seed),
    )


def as_json(report: Report) -> str:
    return json.dumps(asdict(report), ensure_ascii=False, allow_nan=False, indent=1)


def draw_pairs(book: Book, round_: int, seed: int, count: int = PAIRS_SHOWN) -> tuple[Pair, ...]:
    """Return before and after of `count` held-out prompts, drawn by hash of seed and prompt: nobody saw the texts."""
    by_prompt: dict[str, list[Ballot]] = {}
    for ballot in book.ballots("held_out", round_=round_):
        if ballot.kind == "comparison":
            by_prompt.setdefault(ballot.prompt, []).append(ballot)
    drawn = sorted(by_prompt, key=lambda prompt: content_id("report", seed, round_, prompt))[:count]
    ballots = [min(by_prompt[prompt], key=lambda ballot: content_id("report", seed, ballot.id)) for prompt in drawn]
    prompts = {prompt.id: prompt for prompt in book.prompts("held_out")}
    responses = {response.id: response for response in book.responses("held_out")}
    reference = book.policies()[0].id if drawn else ""
    judgments = book.judgments("held_out", round_=round_)
    return tuple(_pair(ballot, prompts[ballot.prompt], responses, reference, judgments) for ballot in ballots)


def _pair(
    ballot: Ballot, prompt: Prompt, responses: Mapping[str, Response], reference: str, judgments: Sequence[Judgment]
) -> Pair:
    left, right = (responses[id_] for id_ in ballot.responses)
    before, after = (left, right) if left.policy == reference else (right, left)
    votes = [  # below 0 means before and above 0 after
        found.choice if found.left == before.id else -found.choice
        for found in judgments
        if isinstance(found, Comparison) and {found.left, found.right} == {before.id, after.id}
    ]
    return Pair(
        name=prompt.name,
        question=prompt.text,
        source=prompt.source,
        before=Side(before.text, before.finished),
        after=Side(after.text, after.finished),
        votes_before=sum(vote < 0 for vote in votes),
        votes_after=sum(vote > 0 for vote in votes),
        ties=votes.count(0),
    )


def _people(book: Book, skills: Sequence[Skill]) -> int:
    """Return how many of the raters who judged are no model."""
    judges = {rater.id for rater in book.raters() if rater.source == "judge"}
    return sum(skill.n > 0 and skill.rater not in judges for skill in skills)


def _raters(book: Book, skills: Sequence[Skill]) -> tuple[RaterLine, ...]:
    known = {rater.id: (rater.name, rater.source) for rater in book.raters()}
    best_first = sorted(skills, key=lambda found: (-found.skill, found.rater))
    return tuple(RaterLine(*known.get(skill.rater, (skill.rater, "")), is_known(skill), skill) for skill in best_first)
