"""What another tool's file gives, as records of a project: which of it the project knows, and what is new.

A prompt or a response is known by its words, a rater by id or pseudonym. What nobody can tell is not guessed: a name in
a file that is like that of somebody who was invited is another rater. What a rater has said in the project already,
about the same responses and criterion, is not taken again, so that a file that is read twice brings nothing new. Where
a file names nobody, what is said as often in the project is not taken again, whatever the file is called. Every
judgment gets a ballot of its own, of round 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from expound.records import (
    Answer,
    Ballot,
    BallotKind,
    Check,
    Comparison,
    Json,
    Judgment,
    Prompt,
    Ranking,
    Rater,
    Rating,
    Response,
    Source,
    Split,
    content_id,
    on_ballot,
)
from expound.tasks.imported import FILE, Imported, Lost, has_odds, newest, pseudonym, whole_text
from expound.tasks.judgments import NAMES, columns_of, line
from expound.tasks.labelling import about
from expound.tasks.material import prompt_of

ROUND = 0
NAMED = "named:"  # before the name that a file gives to a rater: nobody who was invited has such an id
ASKED: Mapping[str, BallotKind] = {"comparison": "comparison", "ranking": "ranking", "response": "rating"}

Adoptable = Comparison | Rating | Ranking | Check


@dataclass(frozen=True)
class Known:
    """What a project has: prompts with their splits, responses, raters, judgments.

    `key` made the pseudonyms of its exports; `takes` are the sources whose judgments it may hold.
    """

    prompts: Sequence[Prompt]
    responses: Sequence[Response]
    raters: Sequence[Rater]
    judgments: Sequence[Judgment]
    key: str
    takes: Collection[Source]


@dataclass(frozen=True)
class Adopted:
    """Records to add: prompts, responses and raters, and an answer to a ballot of its own for each judgment.

    `known` judgments are the project's already; `lost` says why others are left out.
    """

    prompts: tuple[Prompt, ...]
    responses: tuple[Response, ...]
    raters: tuple[Rater, ...]
    ballots: tuple[Ballot, ...]
    answers: tuple[Answer, ...]
    known: int
    lost: Lost = field(default_factory=Lost)


def adopt(found: Imported, known: Known) -> Adopted:
    """Return what a file gives as records of a project; a new prompt teaches, unless the file says that it does not."""
    names = _names(found, known)
    judgments, lost = newest(found.judgments)
    here = {_question(one) for one in known.judgments}
    unnamed = Counter(_unnamed(one) for one in known.judgments if one.rater.startswith(FILE))
    told: list[tuple[Rater, Ballot, Answer]] = []
    repeated: Counter[str] = Counter()
    already = 0
    for one in judgments:
        if trouble := names.trouble(one, known.takes):
            lost[trouble] += 1
            continue
        rater = names.rater(one)
        said = names.renamed(one, rater.id)
        if rater.id.startswith(FILE):
            is_known = unnamed[_unnamed(said)] > 0
            unnamed[_unnamed(said)] -= is_known
        else:
            is_known = _question(said) in here
        if is_known:
            already += 1
        else:
            told.append((rater, *_asked(said, repeated)))
    ballots = tuple(ballot for _, ballot, _ in told)
    prompts = {ballot.prompt for ballot in ballots}
    responses = {id_ for ballot in ballots for id_ in ballot.responses}
    lost.update(found.lost.counts)
    return Adopted(
        tuple({one.id: one for one in names.prompts.values() if one.id in prompts}.values()),
        tuple({one.id: one for one in names.responses.values() if one.id in responses}.values()),
        tuple({rater.id: rater for rater, _, _ in told}.values()),
        ballots,
        tuple(answer for _, _, answer in told),
        already,
        Lost({name: number for name, number in sorted(lost.items()) if number}),
    )


@dataclass(frozen=True)
class _Names:
    """What the ids of a file stand for in the project: its prompts, responses and raters."""

    prompts: Mapping[str, Prompt]
    responses: Mapping[str, Response]
    raters: Mapping[str, Rater]

    def rater(self, one: Judgment) -> Rater:
        """Return who judged. Nobody judges under a name from a file, so such a rater is not active."""
        if one.rater in self.raters:
            return self.raters[one.rater]
        if one.rater.startswith(FILE):
            return Rater(one.rater, one.rater, one.source, active=False)
        told = one.rater if one.source == "people" else f"{one.source}:{one.rater}"
        return Rater(NAMED + told, f"{one.rater} (from a file)", one.source, active=False)

    def trouble(self, one: Judgment, takes: Collection[Source]) -> str:
        """Return why the judgment has no place in the project, or an empty string."""
        if not isinstance(one, Adoptable):
            return f"{NAMES[type(one)]}s"
        if has_odds(one):
            return "pairs_with_odds"
        if one.source not in takes:
            return f"{one.source}_judgments"
        ids = about(one)[1]
        if any(id_ not in self.responses for id_ in ids):
            return "without_text"
        shown = [self.responses[id_] for id_ in ids]
        if len({response.prompt for response in shown}) > 1:
            return "across_prompts"
        return "equal_texts" if len({response.id for response in shown}) < len(ids) else ""

    def renamed(self, one: Judgment, rater: str) -> Judgment:
        """Return the judgment in the project's ids; what is held out on either side is held out."""
        prompt = self.prompts[self.responses[about(one)[1][0]].prompt]
        split: Split = "held_out" if "held_out" in (one.split, prompt.split) else "train"
        place: dict[str, Json] = {} if one.ballot is None else {"ballot": one.ballot, "round": one.round}
        said = replace(one, rater=rater, prompt=prompt.id, split=split, round=ROUND, ballot=None, revision=0)
        said = replace(said, meta={**one.meta, **place})
        match said:
            case Comparison():
                return _ordered(replace(said, left=self._id(said.left), right=self._id(said.right)))
            case Ranking():
                gold = None if said.gold is None else self._tiers(said.gold)
                return replace(said, tiers=self._tiers(said.tiers), gold=gold)
            case Rating() | Check():
                return replace(said, response=self._id(said.response))
        raise AssertionError(said)

    def _id(self, id_: str) -> str:
        return self.responses[id_].id if id_ in self.responses else id_

    def _tiers(self, tiers: Json) -> tuple[tuple[str, ...], ...]:
        assert isinstance(tiers, list | tuple)
        return tuple(tuple(self._id(str(id_)) for id_ in tier) for tier in tiers)


def _names(found: Imported, known: Known) -> _Names:
    by_words = {whole_text(prompt).strip(): prompt for prompt in reversed(known.prompts)}
    prompts: dict[str, Prompt] = {}
    for prompt in known.prompts:
        prompts.setdefault(prompt.id, prompt)
    asked: dict[str, Prompt] = {}
    for prompt in found.prompts:
        text = whole_text(prompt).strip()
        asked[prompt.id] = by_words.setdefault(text, replace(prompt_of(text), split=prompt.split or "train"))
    by_text = {(one.prompt, one.text.strip()): one for one in reversed(known.responses)}
    responses = {one.id: one for one in known.responses}
    for one in found.responses:
        prompt, text = asked[one.prompt], one.text.strip()
        mine = responses.get(one.id)
        if mine is None or (mine.prompt, mine.text.strip()) != (prompt.id, text):
            id_ = Response.make_id(prompt.id, one.policy, ROUND, 0, text)
            new = replace(one, id=id_, prompt=prompt.id, text=text, round=ROUND)
            responses[one.id] = by_text.setdefault((prompt.id, text), new)
    raters = {rater.id: rater for rater in known.raters}
    hidden = {pseudonym(rater.id, known.key): rater for rater in known.raters}
    return _Names({**prompts, **{one.id: one for one in asked.values()}}, responses, {**hidden, **raters})


def _question(said: Judgment) -> tuple[str, ...]:
    kind, responses = about(said)
    return said.rater, NAMES[type(said)], kind, said.criterion, *sorted(responses)


def _unnamed(said: Judgment) -> tuple[object, ...]:
    """Return what was said and of what, where a file names nobody: the file's own name says nothing of who it was."""
    match said:
        case Comparison():
            answer: tuple[object, ...] = (said.left, said.choice, said.strength, said.ties)
        case Ranking():
            answer = said.tiers
        case Rating() | Check():
            answer = (said.value,)
        case _:
            raise AssertionError(said)
    return (*_question(said)[1:], *answer)


def _ordered(said: Comparison) -> Comparison:
    """Return a comparison without sides in the order of the ids, so that every file that says it says the same."""
    if said.has_sides or said.left < said.right:
        return said
    gold = -said.gold if isinstance(said.gold, int) else None
    return replace(said, left=said.right, right=said.left, choice=-said.choice, gold=gold)


def _asked(said: Judgment, repeated: Counter[str]) -> tuple[Ballot, Answer]:
    """Return the ballot that a judgment answers, and the answer; the same said again is another ballot."""
    told = line(columns_of(said))
    id_ = content_id("ingested", told, repeated[told])
    repeated[told] += 1
    kind, shown = about(said)
    assert said.prompt is not None
    criteria = (said.criterion,) if kind == "response" else ()
    ballot = Ballot(id_, ASKED[kind], said.prompt, shown, ROUND, said.split, 0, said.criterion, criteria=criteria)
    if isinstance(said, Comparison):
        ballot = replace(ballot, strength=said.strength, ties=said.ties)
    answered = on_ballot(said, ballot)
    return ballot, Answer(id_, ballot.id, said.rater, (answered,))
