"""`fit` on a file: judgments that bring their texts train a reward on text, and held-out pairs say what it learnt."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from expound.errors import JudgmentError
from expound.feedback.evidence import Graded, collect
from expound.feedback.skill import fit
from expound.filing import Fields, read_file
from expound.machine import free_cores
from expound.models.loading import Loaded, load
from expound.models.texts import Said, read_texts
from expound.ports import Progress
from expound.records import OVERALL, Comparison, Ranking, Rating, content_id
from expound.reward.calibration import Counted, PairAccuracy, accuracy_of
from expound.reward.fit import predict
from expound.reward.linear import Learnt, fit_judged
from expound.reward.losses import Judged, joined, preferences
from expound.statistics import ratio_interval
from expound.tasks.imported import FILE, Lost, has_odds, newest, whole_text

HELD_OUT_ONE_IN = 5
"""Of the prompts of a file that is given alone."""
ALIKE = math.log(1.15)
"""Texts are about as long as one another where their lengths are in a smaller ratio."""
FEWEST_ALIKE = 50

Pair = tuple[Said, Said]
"""The better and the worse one of a prompt's responses."""


@dataclass(frozen=True)
class Told:
    """What a file says: judgments, and the text of each response that they are about."""

    name: str
    judgments: tuple[Graded, ...]
    texts: Mapping[str, Said]

    @property
    def prompts(self) -> set[str]:
        """Return what was asked."""
        return {self.prompt(judgment) for judgment in self.judgments}

    def prompt(self, judgment: Graded) -> str:
        """Return what the judged responses answer."""
        return self.texts[_judged_ones(judgment)[0]].prompt

    def part(self, judgments: Sequence[Graded]) -> Told:
        """Return some of the judgments."""
        return Told(self.name, tuple(judgments), self.texts)

    def said(self) -> list[Said]:
        """Return the judged texts, each once."""
        return list(dict.fromkeys(self.texts[name] for found in self.judgments for name in _judged_ones(found)))


@dataclass(frozen=True)
class TextReward:
    """What a reward that was learnt from a file makes of pairs that it was not fitted on.

    `length` is the accuracy of the number of characters alone, the longer or the shorter one preferred, whichever is
    right more often in the same pairs; `alike` that of the reward on pairs of about equal length. `gain` over length
    has an `interval` by prompt, None below 20 prompts. `scores` are those of held-out texts.
    """

    judgments: int
    prompts: int
    raters: int
    held_out_prompts: int
    accuracy: PairAccuracy
    length: PairAccuracy
    alike: PairAccuracy
    gain: float
    interval: tuple[float, float] | None
    penalty: float
    seconds_reading: float
    seconds_fitting: float
    scores: Mapping[Said, float]

    def __str__(self) -> str:
        """Return the figures in words."""
        raters = f" by {self.raters} raters" if self.raters else ""
        return (
            f"The reward orders {_told(self.accuracy)} of {self.accuracy.pairs:,} held-out pairs "
            f"({self.held_out_prompts:,} prompts) right; length alone {_told(self.length)}.\n"
            f"{_about_length(self)}\n{_about_alike(self.alike)}\n"
            f"Learnt from {self.judgments:,} judgments of {self.prompts:,} prompts{raters}: "
            f"{self.seconds_reading:.0f} s to read the texts, {self.seconds_fitting:.0f} s to fit "
            f"(penalty {self.penalty:g}, chosen on training prompts)."
        )


def fit_text(
    file: Path,
    held_out: Path | None,
    model: str,
    progress: Progress,
    *,
    format_: str | None = None,
    fields: Fields | None = None,
) -> TextReward:
    """Return what is known of the reward that the file's judgments teach the model's states.

    Without a held-out file the lines' own splits are held out, or one prompt in five. A prompt that is held out never
    teaches. Errors: JudgmentError, ModelNotFound, ModelRefused, PromptError, NothingToLearn, DidNotConverge.
    """
    told = read_told(file, progress, format_, fields)
    if held_out is None:
        train, other = _divided(told, progress)
    else:
        train, other = _apart(told, read_told(held_out, progress, format_, fields), progress)
    pairs = list(pairs_of(other))
    if not pairs:
        raise JudgmentError(f"{other.name} prefers no response to another.", "Hold out comparisons that are decided.")
    torch.set_num_threads(free_cores())
    loaded = load(model, base=Path.cwd(), say=progress.say)
    return _measured(train, pairs, _learn(loaded, train, other, progress))


# --- the files ----------------------------------------------------------------------------------------------------


def read_told(path: Path, progress: Progress, format_: str | None = None, fields: Fields | None = None) -> Told:
    """Return the comparisons, rankings and ratings of a file of any format that brings the texts; say what is left out.

    Errors: JudgmentError for a file that cannot be read, holds none of them, or names responses without their texts.
    """
    _, found = read_file(path, format_, fields)
    asked = {prompt.id: whole_text(prompt) for prompt in found.prompts}
    texts = {response.id: Said(asked[response.prompt], response.text) for response in found.responses}
    kept, lost = newest(found.judgments)
    judgments = tuple(one for one in kept if isinstance(one, Comparison | Ranking | Rating))
    lost.update(found.lost.counts)
    lost["judgments of other kinds"] = len(kept) - len(judgments)
    if left_out := Lost(+lost):
        progress.say(f"Left out of {path}: {left_out.sentence}.")
    if not judgments:
        raise JudgmentError(f"{path} holds no comparison, ranking or rating.", "Give preference pairs.")
    missing = next((name for one in judgments for name in _judged_ones(one) if name not in texts), None)
    if missing is not None:
        raise JudgmentError(
            f"{path} names responses ('{missing[:40]}') without their texts.",
            "Give preference pairs, or another format that holds the texts.",
        )
    return Told(str(path), judgments, texts)


def _judged_ones(judgment: Graded) -> tuple[str, ...]:
    match judgment:
        case Comparison():
            return judgment.left, judgment.right
        case Ranking():
            return tuple(name for tier in judgment.tiers for name in tier)
        case Rating():
            return (judgment.response,)


def _apart(told: Told, other: Told, progress: Progress) -> tuple[Told, Told]:
    """Return the two files, the first without prompts of the second and without what its lines hold out."""
    shared = told.prompts & other.prompts
    if shared:
        progress.say(f"{len(shared)} prompts are in both files: what {told.name} says of them does not teach.")
    train = told.part([one for one in told.judgments if one.split == "train" and told.prompt(one) not in shared])
    if not train.judgments:
        raise JudgmentError(
            f"No prompt of {told.name} is left to learn from.", "Give it other prompts than the held-out."
        )
    return train, other


def _divided(told: Told, progress: Progress) -> tuple[Told, Told]:
    """Return what teaches and what is held out: as the lines say, else one prompt in five by its hash."""
    out = {told.prompt(one) for one in told.judgments if one.split != "train"}
    out = out or {one for one in told.prompts if int(content_id("held out", one), 16) % HELD_OUT_ONE_IN == 0}
    train, other = ([one for one in told.judgments if (told.prompt(one) in out) is is_out] for is_out in (False, True))
    if not (train and other):
        raise JudgmentError(
            f"{told.name} has too few prompts ({len(told.prompts)}) to hold one in {HELD_OUT_ONE_IN} out.",
            "Name a file of other prompts with --held-out.",
        )
    progress.say(f"{len(out)} of {len(told.prompts)} prompts of {told.name} are held out and do not teach.")
    return told.part(train), told.part(other)


# --- what is learnt -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fitted:
    learnt: Learnt
    scores: Mapping[Said, float]
    seconds_reading: float
    seconds_fitting: float


def _learn(loaded: Loaded, train: Told, other: Told, progress: Progress) -> _Fitted:
    begun, taught, asked = time.monotonic(), train.said(), other.said()
    states = read_texts(loaded, taught, progress)
    others = read_texts(loaded, asked, progress)
    read = time.monotonic()
    learnt = fit_judged(states, judged_of(train, taught), [said.prompt for said in taught], seed=0)
    scores, _ = predict(learnt.heads, others)
    return _Fitted(learnt, dict(zip(asked, scores.tolist(), strict=True)), read - begun, time.monotonic() - read)


def judged_of(told: Told, said: Sequence[Said]) -> Judged:
    """Return the judgments as rows about the places of texts.

    Pairs with `p` or `weight`, and pairs of nobody in particular, are taken as they stand; what raters say is settled
    first, and each is believed as far as they proved to be right. Errors: JudgmentError, DidNotConverge.
    """
    place = {one: number for number, one in enumerate(said)}
    places = {name: place[one] for name, one in told.texts.items() if one in place}
    plain = [one for one in told.judgments if isinstance(one, Comparison) and _is_plain(one)]
    settled = [one for one in told.judgments if not (isinstance(one, Comparison) and _is_plain(one))]
    parts = [_taken(told, plain, places)] if plain else []
    return joined([*parts, *([_settled(settled, places, len(said))] if settled else [])])


def _is_plain(one: Comparison) -> bool:
    return not one.ties and one.strength == 1 and (one.rater.startswith(FILE) or has_odds(one))


def _taken(told: Told, plain: Sequence[Comparison], places: Mapping[str, int]) -> Judged:
    sides = [(one.left, one.right) if one.choice < 0 else (one.right, one.left) for one in plain]
    better, worse = (torch.tensor([places[name] for name in column]) for column in zip(*sides, strict=True))
    likely = [_number(told, one, "p", 1.0) for one in plain]
    weight = [_number(told, one, "weight", math.inf) for one in plain]
    return preferences(better, worse, *(torch.tensor(column, dtype=torch.float64) for column in (likely, weight)))


def _number(told: Told, one: Comparison, key: str, most: float) -> float:
    """Return the pair's own number, 1 where it has none. Errors: JudgmentError."""
    value = one.meta.get(key, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise JudgmentError(
            f"{told.name}: '{key}' is {str(value)[:40]} in a pair about '{told.prompt(one)[:40]}'.",
            "Give a number from 0 to 1." if most == 1 else "Give a number, 0 or more.",
        )
    return float(value)


def _settled(judgments: Sequence[Graded], places: Mapping[str, int], count: int) -> Judged:
    evidence = collect(judgments)
    ways = fit(evidence).ways
    bounds, facet = ways.bounds(evidence), evidence.facet
    place = np.array([*(places[name] for name in evidence.responses), count])
    columns = (ways.discrimination[facet], ways.offset[facet], bounds.low, bounds.high, evidence.weight)
    return Judged(*map(torch.from_numpy, (place[evidence.first], place[evidence.second], *columns)))


# --- what it is worth ---------------------------------------------------------------------------------------------


def pairs_of(told: Told) -> Iterator[Pair]:
    """Yield what judgments of `overall` prefer, of any criterion where there are none; ties and even odds are left out.

    Two ratings of one prompt's responses by one rater are a pair where they differ.
    """
    own = [one for one in told.judgments if one.criterion == OVERALL] or told.judgments
    rated: dict[tuple[str, str, str], list[Rating]] = {}
    for one in own:
        match one:
            case Comparison() if one.choice:
                odds = (_number(told, one, "p", 1.0) - 0.5) * -one.choice
                better, worse = (one.left, one.right) if odds > 0 else (one.right, one.left)
                yield from [(told.texts[better], told.texts[worse])] * bool(odds)
            case Ranking():
                tiers = combinations(one.tiers, 2)
                yield from ((told.texts[a], told.texts[b]) for high, low in tiers for a in high for b in low)
            case Rating():
                rated.setdefault((one.rater, one.criterion, told.prompt(one)), []).append(one)
    for ratings in rated.values():
        ordered = sorted(ratings, key=lambda one: -one.value)
        for one, two in combinations(ordered, 2):
            if one.value > two.value:
                yield told.texts[one.response], told.texts[two.response]


def _measured(train: Told, pairs: Sequence[Pair], fitted: _Fitted) -> TextReward:
    longer = sum(np.sign(len(better.text) - len(worse.text)) for better, worse in pairs)
    lengths = {said: float(len(said.text) * (1 if longer >= 0 else -1)) for said in fitted.scores}
    alike = [pair for pair in pairs if abs(math.log(len(pair[0].text) / len(pair[1].text))) < ALIKE]
    by_reward, by_length = counted(pairs, fitted.scores), counted(pairs, lengths)
    gains = [(mine - theirs, n) for (mine, n), (theirs, _) in zip(by_reward, by_length, strict=True)]
    people = {one.rater for one in train.judgments if not one.rater.startswith(FILE)}
    return TextReward(
        judgments=len(train.judgments),
        prompts=len(train.prompts),
        raters=len(people),
        held_out_prompts=len(by_reward),
        accuracy=accuracy_of(by_reward),
        length=accuracy_of(by_length),
        alike=accuracy_of(counted(alike, fitted.scores)),
        gain=sum(gain for gain, _ in gains) / len(pairs),
        interval=ratio_interval(gains),
        penalty=fitted.learnt.penalty,
        seconds_reading=fitted.seconds_reading,
        seconds_fitting=fitted.seconds_fitting,
        scores=fitted.scores,
    )


def counted(pairs: Sequence[Pair], scores: Mapping[Said, float]) -> list[Counted]:
    """Return for each prompt how many of its pairs the scores order right, equal ones by half, and how many it has."""
    found: dict[str, tuple[float, int]] = {}
    for better, worse in pairs:
        right, n = found.get(better.prompt, (0.0, 0))
        found[better.prompt] = (right + 0.5 + 0.5 * float(np.sign(scores[better] - scores[worse])), n + 1)
    return list(found.values())


def _told(found: PairAccuracy) -> str:
    return f"{found.share:.1%} [{found.low:.1%}, {found.high:.1%}]"


def _about_length(reward: TextReward) -> str:
    if reward.interval is None:
        return "Whether that is better than length cannot be said: an interval needs 20 held-out prompts."
    low, high = reward.interval
    figures = f"{100 * reward.gain:+z.1f} points [{100 * low:+z.1f}, {100 * high:+z.1f}]".replace("-", "−")
    if low > 0:
        return f"It is better than length: {figures}."
    return f"Worse than length: {figures}." if high < 0 else f"Not better than length: {figures}."


def _about_alike(found: PairAccuracy) -> str:
    if found.pairs < FEWEST_ALIKE:
        return f"{found.pairs} of the pairs are about equally long: too few to say how it does without length."
    return f"Of the {found.pairs:,} pairs that are about equally long it orders {_told(found)} right."
