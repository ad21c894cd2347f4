"""The nouns of the road, as frozen dataclasses.

A record's id is a hash of its content, so that the same thing found twice is one thing. Nothing here knows files,
tensors or clocks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from typing_extensions import TypeAliasType

Json = TypeAliasType("Json", "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None")

Split = Literal["train", "held_out"]
Source = Literal["people", "simulated", "judge", "function"]
BallotKind = Literal["comparison", "rating", "ranking"]
OVERALL = "overall"
SIDES, DRAWN = "sides", "drawn"  # in the meta of a comparison whose file does not say which response stood left

AnyJudgment = TypeVar("AnyJudgment", bound="Judgment")


def content_id(*parts: Json) -> str:
    """Return 20 hex digits that depend on nothing but the parts."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


# --- what is asked of the model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """A part of a prompt in words; `role` is "question" or "source"."""

    role: Literal["question", "source"]
    text: str


@dataclass(frozen=True)
class Prompt:
    """What the model is to explain.

    `id` is the hash of the parts, which are all that a model, a rater and a reward ever see. `name` is what the user
    calls it. `meta` is carried along unread, except by the simulated panel, whose hidden utility lives there.
    """

    id: str
    parts: tuple[Text, ...]
    name: str = ""
    split: Split | None = None
    group: str | None = None
    reference: str | None = None
    gold: str | None = None
    meta: Mapping[str, Json] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the question."""
        return next(part.text for part in self.parts if part.role == "question")

    @property
    def source(self) -> str:
        """Return the passage that the question is about, or an empty string."""
        return next((part.text for part in self.parts if part.role == "source"), "")


@dataclass(frozen=True)
class Conversation:
    """A prompt as the model will see it, before its chat template."""

    system: str
    user: str


@dataclass(frozen=True)
class SamplingKey:
    """What the randomness of a response is drawn from, beside its prompt and its index."""

    seed: int
    round: int
    purpose: str


@dataclass(frozen=True)
class Response:
    """What a policy said to a prompt.

    `tokens` are its token ids, the end token included; text is never tokenised again. `finished` is False when
    `max_new_tokens` cut it.
    """

    id: str
    prompt: str
    text: str
    policy: str
    round: int
    sample: int
    finished: bool
    tokens: tuple[int, ...] = ()

    @staticmethod
    def make_id(prompt: str, policy: str, round_: int, sample: int, text: str) -> str:
        """Return the id of a response: equal texts of different samples stay two."""
        return content_id("response", prompt, policy, round_, sample, text)


# --- what people are asked and say ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ballot:
    """What one rater is shown: the responses in the order shown (the first is the left one).

    An overlapping question is several ballots that differ in `copy`; copies alternate sides. A rating asks for a point
    of each of `criteria`; the other kinds are about `criterion` alone. A rating without any criteria asks the user's
    own function for a number, and is put to nobody else.
    """

    id: str
    kind: BallotKind
    prompt: str
    responses: tuple[str, ...]
    round: int
    split: Split
    copy: int = 0
    criterion: str = OVERALL
    strength: int = 1
    ties: bool = True
    criteria: tuple[str, ...] = ()

    @property
    def question(self) -> tuple[str, ...]:
        """Return what copies of one question have in common; a rater answers a question once."""
        return (self.kind, self.criterion, self.prompt, *sorted(self.responses))

    @staticmethod
    def make_id(kind: str, prompt: str, responses: Sequence[str], round_: int, copy: int) -> str:
        return content_id("ballot", kind, prompt, list(responses), round_, copy)


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """What a rater said of a ballot; the subclasses say what kind of thing.

    `gold` is the known right value, as the subclass says it (choice, value, tiers); `meta` came along in a file.
    """

    rater: str
    ballot: str | None = None
    prompt: str | None = None
    split: Split = "train"
    round: int = 1
    revision: int = 0
    source: Source = "people"
    criterion: str = OVERALL
    seconds: float | None = None
    shown_at: str | None = None
    comment: str | None = None
    gold: Json = None
    meta: Mapping[str, Json] = field(default_factory=dict)


def on_ballot(judgment: AnyJudgment, ballot: Ballot) -> AnyJudgment:
    """Return the judgment with what it takes over from the ballot that it answers."""
    return replace(judgment, ballot=ballot.id, prompt=ballot.prompt, split=ballot.split, round=ballot.round)


@dataclass(frozen=True, kw_only=True)
class Comparison(Judgment):
    """Choice from -strength (left much better) to strength (right much better); 0 is a tie.

    `both_bad` says of a tie that neither is any good.
    """

    left: str
    right: str
    choice: int
    strength: int = 1
    ties: bool = True
    both_bad: bool = False

    @property
    def has_sides(self) -> bool:
        """Say whether left and right are as they were shown."""
        return self.meta.get(SIDES) != DRAWN


@dataclass(frozen=True, kw_only=True)
class Ranking(Judgment):
    """Responses in tiers, the best first; those of a tier are about the same. What was not ranked is missing."""

    tiers: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Rating(Judgment):
    """A point of an anchored scale, for one response and one criterion."""

    response: str
    value: int
    scale: tuple[int, int] = (1, 5)


@dataclass(frozen=True, kw_only=True)
class Score(Judgment):
    """What the user's own function says a response is worth: any finite number, on a scale that nobody else knows."""

    response: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Check(Judgment):
    """A category of one response, such as "yes" for faithful."""

    response: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Edit(Judgment):
    """A better wording of a response."""

    response: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Highlight(Judgment):
    """What is wrong, or good, between two characters of a response (`end` exclusive); severity from 1."""

    response: str
    start: int
    end: int
    type: str
    severity: int = 1


@dataclass(frozen=True, kw_only=True)
class Skip(Judgment):
    """The rater cannot judge this ballot; it goes to somebody else."""

    reason: str


JUDGMENTS: Mapping[str, type[Judgment]] = {  # by the names that rows and files give them
    kind.__name__.lower(): kind for kind in (Rating, Score, Comparison, Ranking, Check, Edit, Highlight, Skip)
}


@dataclass(frozen=True)
class Answer:
    """What a rater posts for a ballot in one go: one row of the log under one key.

    Two answers under one key are the same when their judgments are, whatever seconds, time and device say.
    """

    key: str
    ballot: str
    rater: str
    judgments: tuple[Judgment, ...]
    revision: int = 0
    device: str = ""
    locale: str = ""
    surplus: bool = False


@dataclass(frozen=True)
class Rater:
    """Somebody whose judgments count; `id` is what the log holds, `name` what the owner calls them."""

    id: str
    name: str
    source: Source = "people"
    locale: str = ""
    active: bool = True


@dataclass(frozen=True)
class RaterProgress:
    """How far a rater is: answers so far, and about how many are left for this rater."""

    judged: int
    left: int


# --- what the panel thinks --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What the panel says of a response, from `n` judgments.

    `value` is in prior standard deviations, 0 an average response. Of a criterion that was rated and never compared it
    is the rating to expect of an average rater.
    """

    response: str
    criterion: str
    value: float
    sd: float
    n: int


@dataclass(frozen=True)
class PairVerdict:
    """How likely the left response is the better one."""

    left: str
    right: str
    criterion: str
    p_left: float


@dataclass(frozen=True)
class CheckVerdict:
    """How likely a response is of each category, the likeliest first."""

    response: str
    criterion: str
    label: str
    p: float


@dataclass(frozen=True)
class Skill:
    """How far a rater is to be trusted: 1 always right, 0 no information, below 0 inverted.

    `discrimination` is of the comparisons; without any of the rankings, else of the ratings, else of the checks.
    `severity` (of ratings) and `side_bias` (of comparisons) are None without such judgments.
    """

    rater: str
    skill: float
    skill_se: float
    discrimination: float
    severity: float | None
    side_bias: float | None
    n: int
    alarm: str | None = None


@dataclass(frozen=True)
class Settlement:
    """Verdicts and skills of one fit, and how the fit ended."""

    round: int
    verdicts: tuple[Verdict, ...]
    pairs: tuple[PairVerdict, ...]
    skills: tuple[Skill, ...]
    iterations: int
    judgments_hash: str
    checks: tuple[CheckVerdict, ...] = ()


# --- what is learnt, and is it better ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A response with what it is worth: the target of the reward model."""

    response: str
    prompt: str
    value: float
    sd: float


@dataclass(frozen=True)
class CurvePoint:
    """Pair accuracy, with its 95 % interval, of a reward fitted on a share of the judged prompts."""

    share: float
    prompts: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """How pair accuracy on left-out prompts grows with the prompts that were judged.

    `gain` is what doubling them brought, from a half to all, with its 95 % interval (None below 20 prompts).
    """

    points: tuple[CurvePoint, ...]
    gain: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class RewardCard:
    """What is known of a fitted reward.

    Accuracies are shares of pairs of judged responses, of train prompts left out of the fit, that the reward orders
    like the verdicts; `length_accuracy` does the same by length alone. `mean` and `sd` normalise the reward (on the
    reference's responses); `doubt` is the members' mean spread there. `settlement` is the judgments_hash of what was
    fitted. `curve` says whether more judgments would make a better reward. Where `function` names one of the user's,
    that is the reward, right by definition, and `examples` are the responses it has scored.
    """

    id: str
    round: int
    examples: int
    members: int
    pair_accuracy: float
    pair_accuracy_low: float
    pair_accuracy_high: float
    length_accuracy: float
    pairs: int
    mean: float
    sd: float
    settlement: str = ""
    curve: LearningCurve | None = None
    function: str = ""
    doubt: float = 0.0


@dataclass(frozen=True)
class PolicyRecord:
    """A policy that exists as a folder below the project; the reference has round 0."""

    id: str
    round: int
    folder: str
    ended: str = ""


@dataclass(frozen=True)
class Alarm:
    """Training or raters look wrong: what is seen, and what to do.

    `action`: "note" logs it, "pause" ends the tuning early with the last quiet policy, "stop" is an error.
    """

    name: str
    sentence: str
    remedy: str
    action: Literal["note", "pause", "stop"]


@dataclass(frozen=True)
class Round:
    """An open or finished round, with what was frozen when it began.

    `settings` and `versions` are canonical JSON; `prompts` the ids of those in the files; `task` the task's hash.
    """

    number: int
    seed: int
    settings: str
    versions: str
    prompts: tuple[str, ...] = ()
    task: str = ""

    def key(self, purpose: str) -> SamplingKey:
        """Return the key of everything random that this round does for a purpose."""
        return SamplingKey(self.seed, self.number, purpose)


@dataclass(frozen=True)
class Evaluation:
    """Tuned against reference on held-out prompts: share of wins (ties half) and its 95 % interval by prompt.

    The interval is None below 20 prompts. `length_ratio` is mean words of tuned over mean words of reference.
    `equal` pairs were word for word the same: nobody was asked, and each counts as a tie in `win_rate` alone.
    """

    round: int
    prompts: int
    comparisons: int
    wins: int
    losses: int
    ties: int
    win_rate: float
    interval: tuple[float, float] | None
    length_ratio: float
    sources: tuple[Source, ...]
    equal: int = 0


@dataclass(frozen=True)
class Decision:
    """What follows from an evaluation, in words."""

    round: int
    outcome: Literal["better", "not_better", "too_little"]
    sentence: str
    next_step: str


AnyVerdict = Verdict | PairVerdict | CheckVerdict
Record = Prompt | Response | Ballot | Rater | Settlement | RewardCard | PolicyRecord | Round | Evaluation | Decision
