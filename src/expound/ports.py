"""The Protocols: what a stranger may implement, and what siblings hand each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from expound.records import (
    Alarm,
    Answer,
    Ballot,
    Conversation,
    Decision,
    Evaluation,
    Example,
    Judgment,
    PolicyRecord,
    Prompt,
    Rater,
    RaterProgress,
    Record,
    Response,
    RewardCard,
    Round,
    SamplingKey,
    Settlement,
    Skill,
    Split,
)
from expound.settings import PpoSettings, RewardSettings, SamplingSettings


class Advance(Protocol):
    """Says that some of the work is done."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` as done and show `note` beside the bar."""


class Progress(Protocol):
    """Shows long work: bars with time left, and lines."""

    def bar(self, what: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """Open a bar over `total` steps of which `done` are done already."""

    def say(self, line: str) -> None:
        """Print one line."""


# --- the log ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """An answer that is in the log: `repeated` when the same answer was there already."""

    key: str
    sequence: int
    repeated: bool


class Book(Protocol):
    """The append-only log of a project. Everything is in the order in which it was added."""

    def add(self, records: Iterable[Record] | Record) -> int:
        """Append what is not there yet, in one transaction, and return how many were new."""

    def answer(self, answers: Sequence[Answer]) -> Sequence[Stored]:
        """Append answers; return after the commit. JudgmentError when a key is there with another content."""

    def head(self) -> int:
        """Return the sequence of the last row."""

    def prompts(self, split: Split | None = None) -> tuple[Prompt, ...]:
        """Return the prompts, of one split or all."""

    def responses(
        self, split: Split | None = None, *, round_: int | None = None, policy: str | None = None
    ) -> tuple[Response, ...]:
        """Return the responses to prompts of a split, of a round, of a policy."""

    def ballots(self, split: Split | None = None, *, round_: int | None = None) -> tuple[Ballot, ...]:
        """Return the ballots, of a split, of a round."""

    def judgments(self, split: Split | None = None, *, round_: int | None = None) -> tuple[Judgment, ...]:
        """Return the judgments of the newest revision of each (ballot, rater), skips among them."""

    def answers(self, rater: str, limit: int = 50) -> tuple[Answer, ...]:
        """Return the newest revisions of a rater's answers, newest first."""

    def answered(self) -> Mapping[str, tuple[str, ...]]:
        """Return for every ballot with an answer that is no skip the raters who gave it."""

    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        """Return for every skipped ballot the raters who skipped it."""

    def raters(self) -> tuple[Rater, ...]:
        """Return the raters in their newest state."""

    def rounds(self) -> tuple[Round, ...]:
        """Return the rounds, oldest first."""

    def policies(self) -> tuple[PolicyRecord, ...]:
        """Return the policies, the reference first."""

    def settlements(self) -> tuple[Settlement, ...]:
        """Return the newest settlement of each round, oldest round first."""

    def rewards(self) -> tuple[RewardCard, ...]:
        """Return the newest reward of each round, oldest round first."""

    def evaluations(self) -> tuple[Evaluation, ...]:
        """Return the newest evaluation of each round, oldest round first."""

    def decisions(self) -> tuple[Decision, ...]:
        """Return the newest decision of each round, oldest round first."""


# --- the model --------------------------------------------------------------------------------------------------


class Policy(Protocol):
    """A language model that explains."""

    @property
    def id(self) -> str:
        """Identity of its weights."""

    def chunks(self, prompts: Sequence[Prompt]) -> Sequence[tuple[Prompt, ...]]:
        """Return the prompts in groups that are sampled together; depends on the prompts alone."""

    def sample(
        self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
    ) -> tuple[Response, ...]:
        """Return `responses` responses to each prompt; each depends on its key, its index and the weights alone."""

    def explain(self, conversation: Conversation, sampling: SamplingSettings, key: SamplingKey) -> str:
        """Return one explanation; temperature 0 is greedy."""

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder with a generation config."""


@dataclass(frozen=True)
class RewardTask:
    """Where a fitted reward goes and what its randomness follows from."""

    round: int
    seed: int
    folder: Path


@dataclass(frozen=True)
class RewardValue:
    """What a response is worth, when one number does not say it all.

    `mean` is its worth as a whole and `sd` how unsure that is. Beside it, `tokens` says what each token of the response
    is worth, the end token included, and `spans` what a passage is: (start, end, value), in characters of the text,
    `end` exclusive. `parts` are shown alone.
    """

    mean: float
    sd: float | None = None
    tokens: Sequence[float] | None = None
    spans: Sequence[tuple[int, int, float]] | None = None
    parts: Mapping[str, float] | None = None

    @property
    def total(self) -> float:
        """Return the worth of the whole, the tokens and the spans together."""
        return self.mean + sum(self.tokens or ()) + sum(value for _, _, value in self.spans or ())


class Scorer(Protocol):
    """A reward without a model: the user's own function."""

    @property
    def name(self) -> str:
        """Return what the function is called."""

    def values(self, responses: Sequence[Response], round_: int) -> Sequence[RewardValue]:
        """Return what each response is worth in a round; what has no score yet is stored and scored.

        Errors: InputError for what the function does wrong.
        """


@dataclass(frozen=True)
class TuneTask:
    """What `tune` is to do: checkpoints and metrics go below `folder`, and the finished policy into it.

    `scorer` is asked for the rewards where the reward in its folder is a function of the user's.
    """

    round: Round
    folder: Path
    prompts: Sequence[Prompt]
    sampling: SamplingSettings
    ppo: PpoSettings
    scorer: Scorer | None = None


class Learner(Protocol):
    """Fits a reward and tunes a policy on one trunk."""

    def fit(
        self,
        examples: Sequence[Example],
        prompts: Mapping[str, Prompt],
        responses: Mapping[str, Response],
        settings: RewardSettings,
        target: RewardTask,
    ) -> RewardCard:
        """Fit the reward model, write it into the target's folder, and return what is known of it."""

    def adopt(self, scorer: Scorer, responses: Sequence[Response], target: RewardTask) -> RewardCard:
        """Make a function of the user's the reward: score responses, and write what is known of it as `fit` does."""

    def doubts(
        self, prompts: Mapping[str, Prompt], responses: Mapping[str, Response], reward: Path
    ) -> Mapping[str, float]:
        """Return how far the members of the fitted reward in that folder disagree about each response."""

    def tune(self, task: TuneTask, reward: Path, progress: Progress) -> tuple[PolicyRecord, Sequence[Alarm]]:
        """Tune the policy of the round with the reward in that folder; resume from the last checkpoint."""


# --- people -----------------------------------------------------------------------------------------------------


class Panel(Protocol):
    """Whoever answers the ballots."""

    def collect(self, round_: Round, split: Split, progress: Progress) -> None:
        """Return when every ballot of the round and split has its answer.

        Errors: WaitingForPeople when it is not to wait and judgments are missing.
        """


@dataclass(frozen=True)
class Opened:
    """A ballot in a rater's hands, with what the page needs.

    `shown_at` is when the rater got it (ISO 8601, UTC), None after a restart. `surplus` is True when somebody else
    has answered it meanwhile.
    """

    ballot: Ballot
    prompt: Prompt
    responses: tuple[Response, ...]
    revision: int
    key: str
    previous: Answer | None
    shown_at: str | None = None
    surplus: bool = False


class Queue(Protocol):
    """Which ballot a rater gets next."""

    def next(self, rater: str) -> Ballot | None:
        """Return the ballot in the rater's hands, or a new one, or None when nothing is left for them."""

    def open(self, rater: str, ballot: str, key: str = "") -> Opened | None:
        """Return a ballot that is leased to the rater or was answered by them; None: not theirs.

        A key that was made for them proves that they were shown it, however long ago, and names the revision.
        """

    def accepted(self, answer: Answer) -> None:
        """Take note of a stored answer."""

    def progress(self, rater: str) -> RaterProgress:
        """Return how far the rater is."""


@dataclass(frozen=True)
class Session:
    """A browser that was let in. `secret` signs its forms; `locale` is empty until the rater chose one."""

    id: str
    rater: Rater
    secret: str
    started: bool
    locale: str


class Admission(Protocol):
    """Invitations and browser sessions: the only rows that change."""

    def invite(self, name: str, *, days: int = 14) -> str:
        """Make an invitation and return its token, which is shown once and stored hashed."""

    def look(self, token: str) -> bool:
        """Return whether the token would be redeemed now; changes nothing."""

    def redeem(self, token: str) -> tuple[str, Session] | None:
        """Use a token: return the cookie's value and the session, or None."""

    def session(self, cookie: str) -> Session | None:
        """Return the live session of a cookie."""

    def start(self, session: Session, locale: str) -> None:
        """Note that the rater consented and chose a language."""

    def leave(self, session: Session) -> None:
        """End the session."""

    def revoke(self, rater: str) -> None:
        """Let the rater in no more."""

    def answer_key(self, rater: str, ballot: str, revision: int) -> str:
        """Return the key of an answer, 32 hex digits of an HMAC: not to be guessed, equal in all tabs."""


# --- what the report adds for a simulated panel -------------------------------------------------------------------


How = Literal["sampled", "tails cut", "greedy"]


@dataclass(frozen=True)
class GoldLine:
    """Mean hidden utility of one policy on the held-out prompts, and its difference to the reference.

    Intervals are 95 %, by prompt; None for the reference itself.
    """

    policy: Literal["reference", "tuned"]
    round: int
    how: How
    mean: float
    difference: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ReportInput:
    """What a report of a round shows beside the book."""

    project: str
    round: Round
    metrics: Sequence[Mapping[str, float | None]]
    alarms: Sequence[Alarm]
    skills: Sequence[Skill]
    seconds: Mapping[str, float]
    gold: Sequence[GoldLine] = ()
