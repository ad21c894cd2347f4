"""The simulated panel: five made-up raters who see a hidden utility through their own noise and habits.

Whatever they say is marked as simulated. With `utility` this is the only module that reads a prompt's `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from expound.panel.utility import Facts, gold_utility
from expound.ports import Book, Progress
from expound.records import (
    OVERALL,
    Answer,
    Ballot,
    Comparison,
    Judgment,
    Prompt,
    Ranking,
    Rater,
    Rating,
    Response,
    Round,
    Split,
    on_ballot,
)
from expound.rubric import Criterion
from expound.statistics import keyed_generator

TIE_WIDTH = 0.03
"""Utility within which a rater says "about the same"."""

BATCH = 500
"""Answers stored together."""


@dataclass(frozen=True)
class Habit:
    """How a rater judges: sees `sign` times the utility, with noise, and adds a liking or a bias.

    `noise` is a standard deviation in units of utility; `severity` is added to ratings; `side_bias` to the left
    response of a comparison; `length_liking` for each 15 words beyond 35.
    """

    name: str
    noise: float
    severity: float = 0.0
    side_bias: float = 0.0
    length_liking: float = 0.0
    sign: int = 1

    @property
    def rater(self) -> Rater:
        """Return the rater of the book."""
        return Rater(f"simulated-{self.name}", self.name, source="simulated")


HABITS = (
    Habit("careful", noise=0.07),
    Habit("noisy", noise=0.25, length_liking=0.10),
    Habit("harsh", noise=0.10, severity=-0.2),
    Habit("side-biased", noise=0.10, side_bias=0.15),
    Habit("adversarial", noise=0.10, sign=-1),
)


def gold_of(prompt: Prompt, text: str, *, finished: bool) -> float:
    """Return the hidden utility of a response, 0 to 1. Errors: PromptError when the prompt carries no facts."""
    facts = Facts.parse(prompt.meta, f"prompt '{prompt.name or prompt.id}'")
    return gold_utility(text, question=prompt.text, source=prompt.source, facts=facts, finished=finished)


class SimulatedPanel:
    """Answers every open ballot at once (fulfils ports.Panel); what it says depends on seed, rater and ballot alone."""

    def __init__(self, book: Book, seed: int, criteria: Sequence[Criterion] = ()) -> None:
        """Take the book and the task's criteria, on whose scales they are rated; others from 1 to 5."""
        self._book = book
        self._seed = seed
        self._scales = {criterion.name: criterion.scale for criterion in criteria}

    def collect(self, round_: Round, split: Split, progress: Progress) -> None:
        """Answer the ballots of the round and split that have no answer yet."""
        answered = self._book.answered()
        ballots = [one for one in self._book.ballots(split, round_=round_.number) if one.id not in answered]
        if not ballots:
            return
        self._book.add([habit.rater for habit in HABITS])
        prompts = {prompt.id: prompt for prompt in self._book.prompts(split)}
        responses = {response.id: response for response in self._book.responses(split)}
        with progress.bar(f"simulated judgments ({split})", len(ballots)) as advance:
            for start in range(0, len(ballots), BATCH):
                batch = ballots[start : start + BATCH]
                shown = {id_: responses[id_] for one in batch for id_ in one.responses}
                seen = {
                    id_: gold_of(prompts[one.prompt], one.text, finished=one.finished) for id_, one in shown.items()
                }
                self._book.answer([self._answer(one, seen, responses) for one in batch])
                advance(len(batch))

    def _answer(self, ballot: Ballot, utilities: Mapping[str, float], responses: Mapping[str, Response]) -> Answer:
        habit = self._habit(ballot)
        generator = keyed_generator("simulated", self._seed, habit.name, ballot.id)
        seen = [
            habit.sign * utilities[id_]
            + habit.noise * float(generator.standard_normal())
            + habit.length_liking * max(0, len(responses[id_].text.split()) - 35) / 15
            for id_ in ballot.responses
        ]
        given = self._judgments(habit, ballot, seen, generator)
        said = tuple(on_ballot(one, ballot) for one in given)
        return Answer(f"simulated-{ballot.id}", ballot.id, habit.rater.id, said)

    def _habit(self, ballot: Ballot) -> Habit:
        """Return who answers: copies of one question go to different raters."""
        order = keyed_generator("panel", self._seed, list(ballot.question)).permutation(len(HABITS))
        return HABITS[int(order[ballot.copy % len(HABITS)])]

    def _judgments(
        self, habit: Habit, ballot: Ballot, seen: Sequence[float], generator: np.random.Generator
    ) -> tuple[Judgment, ...]:
        match ballot.kind:
            case "comparison":
                return (_compared(habit, ballot, seen),)
            case "rating":
                return tuple(self._rated(habit, ballot, seen[0], generator))
            case "ranking":
                return (_ranked(habit, ballot, seen),)

    def _rated(self, habit: Habit, ballot: Ballot, seen: float, generator: np.random.Generator) -> Iterator[Judgment]:
        """Yield a rating of each criterion; their noise is half the rater's and comes on top of what all share."""
        (response,) = ballot.responses
        for criterion in ballot.criteria or (OVERALL,):
            low, high = self._scales.get(criterion, Rating.scale)
            own = 0.5 * habit.noise * float(generator.standard_normal()) if criterion != OVERALL else 0.0
            # An adversary's scale is turned round about its middle, so that its ratings still fill it.
            level = seen + own + habit.severity + (0.5 if habit.sign < 0 else 0.0)
            value = min(high, max(low, round(low + (high - low + 1) * level)))
            yield Rating(
                rater=habit.rater.id,
                source="simulated",
                criterion=criterion,
                response=response,
                value=value,
                scale=(low, high),
            )


def _compared(habit: Habit, ballot: Ballot, seen: Sequence[float]) -> Judgment:
    left, right = ballot.responses
    difference = seen[0] - seen[1] + habit.side_bias
    choice = 0 if abs(difference) < TIE_WIDTH else -1 if difference > 0 else 1
    return Comparison(rater=habit.rater.id, source="simulated", left=left, right=right, choice=choice)


def _ranked(habit: Habit, ballot: Ballot, seen: Sequence[float]) -> Judgment:
    """Return all responses in tiers; what is within the width of a tie of a tier's best is in that tier."""
    worth = dict(zip(ballot.responses, seen, strict=True))
    tiers: list[list[str]] = []
    for response in sorted(worth, key=lambda one: -worth[one]):
        if tiers and worth[tiers[-1][0]] - worth[response] < TIE_WIDTH:
            tiers[-1].append(response)
        else:
            tiers.append([response])
    return Ranking(rater=habit.rater.id, source="simulated", tiers=tuple(map(tuple, tiers)))
