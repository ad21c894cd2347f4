"""What follows from an evaluation, in words for somebody who knows no statistics."""

from __future__ import annotations

import math
from typing import Literal

from expound.records import Decision, Evaluation, Source
from expound.statistics import FEWEST_CLUSTERS

Outcome = Literal["better", "not_better", "too_little"]

EQUAL_WITHIN = 0.05  # a difference of fewer than five points in a hundred is called none
WORTH_ASKING = 4  # times the prompts there are: beyond that, more comparisons will not settle it
LONGER = 1.5

WHO: dict[Source, str] = {
    "people": "people",
    "simulated": "simulated raters",
    "judge": "a model judge",
    "function": "your own function",
}
ANOTHER_ROUND = "run 'expound run' for another round"
ALL_USED = "All rounds are used"
NEXT_STEPS: dict[tuple[Outcome, bool], str] = {
    (
        "better",
        True,
    ): f"{ALL_USED}: try the policy with 'expound explain QUESTION', or raise [stopping] max_rounds to go on.",
    ("better", False): f"Try the policy with 'expound explain QUESTION'; if it could be better still, {ANOTHER_ROUND}.",
    (
        "not_better",
        True,
    ): f"{ALL_USED} and the newest explanations are no gain: keep an earlier policy or the model you "
    "began with, or change the prompts, what raters are told, or the model, before you raise [stopping] max_rounds.",
    ("not_better", False): f"To learn from what is said of the new explanations, {ANOTHER_ROUND}.",
}
"""By outcome, and whether the round was the last."""


def decide(evaluation: Evaluation, *, max_rounds: int) -> Decision:
    """Return whether the tuned policy is better, not better, or whether there is too little to say.

    Better: the whole interval lies above one half. Not better: below it, or within five points of it on both sides.
    """
    outcome, verdict, meaning = _outcome(evaluation)
    sentence = f"{verdict}: {_figures(evaluation)}.{meaning}{_length(evaluation)}"
    is_last = evaluation.round >= max_rounds
    return Decision(evaluation.round, outcome, sentence, _next_step(outcome, evaluation, is_last=is_last))


def _outcome(evaluation: Evaluation) -> tuple[Outcome, str, str]:
    if evaluation.interval is None:
        return "too_little", "Too little to say", ""
    low, high = evaluation.interval
    if low > 0.5:
        return "better", "Better", " Luck alone would hardly give such a share."
    if high < 0.5:
        return "not_better", "Worse than the start", " Luck alone would hardly give such a share."
    if low >= 0.5 - EQUAL_WITHIN and high <= 0.5 + EQUAL_WITHIN:
        return "not_better", "No better than the start", " If there is a difference, it is below 5 in 100."
    return "too_little", "Too little to say", " That range holds one half, so the difference could be luck."


def _figures(evaluation: Evaluation) -> str:
    prompts = f"{evaluation.prompts} prompts never used for training"
    if not evaluation.sources:
        return f"on {prompts}, every new explanation is word for word the old one"
    who = " and ".join(WHO[source] for source in evaluation.sources)
    won = f"{100 * evaluation.win_rate:.0f} % of {evaluation.comparisons} comparisons"
    share = f"{who} preferred the new explanations in {won}, averaged over {prompts}"
    counts = f"{evaluation.wins} won, {evaluation.losses} lost, {evaluation.ties} tied, a tie counting half"
    if evaluation.equal:
        counts += f"; {evaluation.equal} more pairs, word for word the same, count as tied"
    if evaluation.interval is None:
        return f"{share} ({counts}); below {FEWEST_CLUSTERS} prompts no range can be given"
    low, high = evaluation.interval
    return f"{share} ({counts}; 95 % interval {100 * low:.0f} to {100 * high:.0f} %)"


def _length(evaluation: Evaluation) -> str:
    ratio = evaluation.length_ratio
    if 1 / LONGER <= ratio <= LONGER:
        return ""
    return f" The new explanations are {ratio:.1f} times as long, which may be what was judged."


def _next_step(outcome: Outcome, evaluation: Evaluation, *, is_last: bool) -> str:
    if outcome == "too_little":
        go_on = f"{ALL_USED}; raise [stopping] max_rounds to go on." if is_last else f"Then {ANOTHER_ROUND}."
        return f"{_missing(evaluation)} {go_on}"
    return NEXT_STEPS[outcome, is_last]


def _missing(evaluation: Evaluation) -> str:
    """Return how many more comparisons would decide, if the share stays what it is."""
    if evaluation.wins + evaluation.losses == 0:
        return "The new explanations hardly differ from the old ones."
    prompts = _prompts_that_decide(evaluation)
    if prompts > WORTH_ASKING * max(FEWEST_CLUSTERS, evaluation.prompts):
        return "The difference, if there is one, is so small that more comparisons would hardly settle it."
    comparisons = math.ceil(prompts * evaluation.comparisons / evaluation.prompts)
    return f"About {comparisons} more comparisons on about {prompts} more held-out prompts would decide: add prompts."


def _prompts_that_decide(evaluation: Evaluation) -> int:
    """Return how many more prompts it takes until the interval leaves one half, or closes on it.

    The interval shrinks with the root of the prompts; half its width has to come below what lies between.
    """
    if evaluation.interval is None:
        return max(1, FEWEST_CLUSTERS - evaluation.prompts)
    half, off = (evaluation.interval[1] - evaluation.interval[0]) / 2, abs(evaluation.win_rate - 0.5)
    room = max(off, EQUAL_WITHIN - off)
    return max(1, math.ceil(evaluation.prompts * ((half / room) ** 2 - 1)))
