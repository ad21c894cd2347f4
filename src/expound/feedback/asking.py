"""Which ballots a round makes. Everything random is a hash of seed, round and ids; the order of input is nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeVar

from expound.records import Ballot, BallotKind, Json, PolicyRecord, Response, Round, SamplingKey, Split, content_id
from expound.settings import AskingSettings, Settings

PER_PROMPT, FEWEST, MOST = 2, 60, 600
RANKED, FEWEST_RANKED = 5, 3  # responses in a ranking
EARLIER_SHARE = 0.2  # of a later round's comparisons look back: they put the rounds on one scale

T = TypeVar("T")
Groups = Mapping[str, Sequence[Response]]
Doubts = Mapping[str, float]
"""How far the members of a reward disagree about responses, and about prompts: that of the worst response."""


@dataclass(frozen=True)
class Question:
    """A ballot before its copies: the responses in the order that the even copies show."""

    kind: BallotKind
    prompt: str
    responses: tuple[str, ...]
    criteria: tuple[str, ...] = ()

    def copy(self, number: int, current: Round, split: Split) -> Ballot:
        """Return the ballot of one copy; copies alternate sides."""
        shown = self.responses if number % 2 == 0 else self.responses[::-1]
        name = Ballot.make_id(self.kind, self.prompt, shown, current.number, number)
        return Ballot(name, self.kind, self.prompt, shown, current.number, split, number, criteria=self.criteria)


def questions(count: int | Literal["auto"], prompts: int) -> int:
    """Return how many questions of each kind a round asks: as set, or two a train prompt between 60 and 600."""
    return min(MOST, max(FEWEST, PER_PROMPT * prompts)) if count == "auto" else count


def responses_needed(prompts: int, settings: Settings, round_: int) -> int:
    """Return how many responses a train prompt needs: as many as the round's questions use, at least two.

    At most `responses_per_prompt`, in the first round half as many again, because all later rewards build on it.
    """
    usual = settings.sampling.responses_per_prompt
    most = (3 * usual + 1) // 2 if round_ == 1 else usual
    each = -(-questions(settings.asking.count, prompts) // max(1, prompts))
    kinds = settings.asking.ballots
    enough = (k for k in range(2, most) if all(_uses(kind, k) >= each for kind in kinds))
    return next(enough, most)


def _uses(kind: BallotKind, responses: int) -> int:
    """Return how many questions of a kind the responses to one prompt make."""
    match kind:
        case "comparison":
            return responses * (responses - 1) // 2
        case "rating":
            return responses
        case "ranking":
            return responses // RANKED or responses >= FEWEST_RANKED


def of_round(responses: Sequence[Response], policies: Sequence[PolicyRecord], round_: int) -> list[Response]:
    """Return a round's responses of the policy with which it began, and of none that its tuning went through.

    `policies` are those of all rounds, the reference first.
    """
    begun_with = [record.id for record in policies if record.round < round_][-1:]
    return [one for one in responses if one.round == round_ and one.policy in begun_with]


def ask_train(
    fresh: Sequence[Response],
    earlier: Sequence[Response],
    settings: AskingSettings,
    current: Round,
    criteria: tuple[str, ...] = (),
    doubts: Doubts | None = None,
) -> tuple[Ballot, ...]:
    """Return the round's ballots about train responses, those of most doubt first, else in a drawn order.

    `fresh` are the round's responses, `earlier` those of the round before; `criteria` are what ratings ask about;
    `doubts` how far the members of the last reward disagree about fresh responses. Responses of a prompt with equal
    texts are one. A prompt with a single text has no comparison, so there may be fewer than `count` questions.
    """
    doubts = _with_prompts(doubts or {}, fresh)
    now, before = _groups(fresh, current.seed, doubts), _groups(earlier, current.seed, {})
    count = questions(settings.count, len(now))
    ballots: list[Ballot] = []
    for kind in settings.ballots:
        match kind:
            case "comparison":
                asked = _comparisons(now, before, count, current, doubts)
            case "rating":
                rated = _spread(now, count, current.key(kind), doubts)
                asked = [Question(kind, one.prompt, (one.id,), criteria) for one in rated]
            case "ranking":
                asked = _rankings(now, count, current, doubts)
        overlap = (settings.overlap, settings.overlap_share)
        ballots += _with_overlap(asked, overlap, current, "train", doubts)
    order = current.key("order")
    return tuple(sorted(ballots, key=lambda ballot: (-_doubt(ballot.responses, doubts), _draw(order, ballot.id))))


def _with_prompts(doubts: Doubts, responses: Sequence[Response]) -> Doubts:
    found = dict(doubts)
    for one in responses:
        found[one.prompt] = max(found.get(one.prompt, 0.0), doubts.get(one.id, 0.0))
    return found


def _doubt(ids: Sequence[str], doubts: Doubts) -> float:
    return max(doubts.get(id_, 0.0) for id_ in ids)


def _comparisons(now: Groups, before: Groups, count: int, current: Round, doubts: Doubts) -> list[Question]:
    key = current.key("comparison")
    across = {prompt: _across(group, before.get(prompt, ())) for prompt, group in now.items()}
    looking_back = _spread(across, round(EARLIER_SHARE * count), key, doubts)
    inside = {prompt: _ring_and_diagonals(group) for prompt, group in now.items()}
    pairs = [*looking_back, *_spread(inside, count - len(looking_back), key, doubts)]
    return [_with_sides(first, second, key) for first, second in pairs]


def _rankings(now: Groups, count: int, current: Round, doubts: Doubts) -> list[Question]:
    """Return questions that each rank up to five responses of a prompt, in the order drawn for it."""
    key = current.key("ranking")
    chunks = {
        prompt: [chunk for start in range(0, len(group), RANKED) if len(chunk := group[start : start + RANKED]) > 2]
        for prompt, group in now.items()
    }
    drawn = _spread(chunks, count, key, doubts)
    shown = [sorted(chunk, key=lambda one: _draw(key, "shown", one.id)) for chunk in drawn]
    return [Question("ranking", chunk[0].prompt, tuple(one.id for one in chunk)) for chunk in shown]


def _groups(responses: Sequence[Response], seed: int, doubts: Doubts) -> dict[str, list[Response]]:
    """Return the responses of each prompt, of equal texts the first, in the order in which they are asked about.

    Those of most doubt are first. Else it is drawn with the round of the response, so that a later round finds first
    what was asked most.
    """
    texts: dict[str, dict[str, Response]] = {}
    for response in sorted(responses, key=lambda one: (one.sample, one.id)):
        texts.setdefault(response.prompt, {}).setdefault(response.text, response)
    return {
        prompt: sorted(
            found.values(),
            key=lambda one: (-_doubt((one.id,), doubts), _draw(SamplingKey(seed, one.round, "ring"), one.id)),
        )
        for prompt, found in texts.items()
    }


def _ring_and_diagonals(group: Sequence[Response]) -> list[tuple[Response, Response]]:
    """Return every pair once: neighbours of a ring first, so that few questions already join all responses."""
    size = len(group)
    steps = [(start, start + step) for step in range(1, size // 2 + 1) for start in range(size)]
    pairs = dict.fromkeys(frozenset((first, second % size)) for first, second in steps)
    return [(group[min(pair)], group[max(pair)]) for pair in pairs]


def _across(fresh: Sequence[Response], earlier: Sequence[Response]) -> list[tuple[Response, Response]]:
    """Return every pair of a fresh and an earlier response with different texts, each response early on."""
    places = [(start, (start + step) % len(earlier)) for step in range(len(earlier)) for start in range(len(fresh))]
    return [(fresh[one], earlier[two]) for one, two in places if fresh[one].text != earlier[two].text]


def _spread(by_prompt: Mapping[str, Sequence[T]], count: int, key: SamplingKey, doubts: Doubts) -> list[T]:
    """Return up to `count` items: one of every prompt, then a second of every prompt, and so on.

    Prompts of most doubt are first, else their order is drawn.
    """
    order = sorted(by_prompt, key=lambda prompt: (-_doubt((prompt,), doubts), _draw(key, prompt)))
    passes = zip_longest(*(by_prompt[prompt] for prompt in order))
    return [item for one_pass in passes for item in one_pass if item is not None][:count]


def _with_overlap(
    asked: Sequence[Question], overlap: tuple[int, float], current: Round, split: Split, doubts: Doubts
) -> list[Ballot]:
    """Return a ballot of each question, and as many as the overlap's raters of its share: of most doubt, else drawn."""
    key, (raters, share) = current.key("overlap"), overlap
    drawn = sorted(
        asked, key=lambda one: (-_doubt(one.responses, doubts), _draw(key, one.kind, *sorted(one.responses)))
    )
    overlapping = int(share * len(drawn) + 0.5)
    copies = [raters if place < overlapping else 1 for place in range(len(drawn))]
    return [question.copy(copy, current, split) for question, n in zip(drawn, copies, strict=True) for copy in range(n)]


def ask_blind(
    reference: Sequence[Response], tuned: Sequence[Response], settings: Settings, current: Round
) -> tuple[Ballot, ...]:
    """Return the comparisons of two policies on held-out prompts: sample i of one against sample i of the other.

    Pairs with equal texts are not asked, since nobody can tell them apart: `measure` finds them and counts each as a
    tie. Leaving them out instead would measure only the prompts where the policies differ, and flatter both ways.
    """
    key = current.key("blind")
    theirs = {(found.prompt, found.sample): found for found in sorted(reference, key=lambda one: one.round)}
    pairs = [(theirs[place], found) for found in tuned if (place := (found.prompt, found.sample)) in theirs]
    asked = [
        _with_sides(first, second, key)
        for first, second in pairs
        if first.text != second.text and second.sample < settings.measuring.responses
    ]
    overlap = (settings.measuring.overlap, settings.asking.overlap_share)
    ballots = _with_overlap(asked, overlap, current, "held_out", {})
    return tuple(sorted(ballots, key=lambda ballot: _draw(key, ballot.id)))


def _with_sides(first: Response, second: Response, key: SamplingKey) -> Question:
    ids = sorted((first.id, second.id))
    swapped = int(_draw(key, "side", *ids), 16) % 2
    return Question("comparison", first.prompt, (ids[swapped], ids[1 - swapped]))


def _draw(key: SamplingKey, *parts: Json) -> str:
    """Return hex digits that are as good as random, and the same for the same key and parts."""
    return content_id(key.seed, key.round, key.purpose, *parts)
