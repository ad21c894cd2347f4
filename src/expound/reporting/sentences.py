"""The headline of a report, and what the report does not show, from what is there."""

from __future__ import annotations

from dataclasses import dataclass

from expound.ports import GoldLine
from expound.records import Evaluation, LearningCurve, RewardCard, Skill
from expound.settings import Settings

FEW_RATERS = 3
EQUAL_LENGTH = (0.9, 1.1)
"""Ratios of mean words between which length is not worth a warning."""

FEW_JUDGMENTS = 10
"""Judgments of a rater under which their skill is mostly the prior's."""

LITTLE = 0.02
"""A gain of pair accuracy that is not worth as many judgments again: the reward is still wrong about as often."""


@dataclass(frozen=True)
class Known:
    """What is known of a round when its report is written."""

    round: int
    settings: Settings
    is_simulated: bool
    evaluation: Evaluation | None
    card: RewardCard | None
    gold: tuple[GoldLine, ...]

    @property
    def is_judge_alone(self) -> bool:
        """Say whether a model judged and nobody else."""
        return self.settings.panel.kinds == ("judge",)


def is_known(skill: Skill) -> bool:
    """Return whether a rater has judged enough for their skill to be told."""
    return skill.n >= FEW_JUDGMENTS


def headline(known: Known) -> str:
    """Return tuned against reference in one line, with its interval; who judged is named first where it was nobody."""
    told = _told(known)
    if known.settings.panel.function is not None:
        return f"Your own function: {told}"
    if known.is_simulated or known.is_judge_alone:
        return f"{'Simulated panel' if known.is_simulated else 'Model judge'}: {told}"
    return told[0].upper() + told[1:]


def _told(known: Known) -> str:
    lines = (line for line in known.gold if (line.policy, line.round, line.how) == ("tuned", known.round, "sampled"))
    change = next(lines, None)
    if change is not None and change.difference is not None and change.interval is not None:
        low, high = change.interval
        figures = f"{change.difference:+z.3f} [{low:+z.3f}, {high:+z.3f}]".replace("-", "−")
        return f"hidden utility {figures} over the reference"
    if known.evaluation is None:
        return f"round {known.round} is not decided yet"
    interval = known.evaluation.interval
    range_ = f" [{interval[0]:.0%}, {interval[1]:.0%}]" if interval else ""
    if interval is None:
        return f"too few held-out prompts to say; tuned preferred in {known.evaluation.win_rate:.0%} of comparisons"
    return f"tuned preferred in {known.evaluation.win_rate:.0%}{range_} of held-out comparisons"


def enough(curve: LearningCurve) -> str:
    """Return whether more judgments would make a better reward: likely, hardly, or too noisy to say."""
    prompts = f"doubling the judged prompts to {curve.points[-1].prompts}"
    if curve.interval is None:
        return "Too few prompts were judged to say whether more judgments would help: an interval needs 20."
    low, high = curve.interval
    figures = f"{100 * curve.gain:+z.1f} points [{100 * low:+z.1f}, {100 * high:+z.1f}]".replace("-", "−")
    if high < LITTLE:
        return f"More judgments of this kind would bring little: {prompts} changed the accuracy by {figures}."
    if low > 0:
        return f"More judgments would likely make a better reward: {prompts} raised the accuracy by {figures}."
    return f"Whether more judgments would help is too noisy to say: {prompts} changed the accuracy by {figures}."


def limits(known: Known, raters: int) -> tuple[str, ...]:
    """Return a sentence for everything that a reader might take from the report and must not."""
    found = (*_about_raters(known, raters), *_about_prompts(known), *_about_length(known), *_about_reward(known))
    project = known.settings.project
    return (
        *found,
        f"One model ({project.model}), one task ({project.task}), one seed ({project.seed}): another may do otherwise.",
    )


def _about_raters(known: Known, raters: int) -> tuple[str, ...]:
    if known.is_simulated:
        judged = "No person judged anything: the raters are simulated and go by a hidden utility"
        words = f"{judged} that counts wordings and does not understand a sentence."
        return (words,)
    if known.is_judge_alone:
        judged = "No person judged anything: a model did, whose taste and whose blind spots"
        return (f"{judged} need not be those of the people who will read the explanations.",)
    if known.settings.panel.function is not None:
        judged = "No person judged anything: your own function did, also what was compared on held-out prompts"
        return (f"{judged}. Whether people find the explanations better was not asked.",)
    if 0 < raters < FEW_RATERS:
        return (f"Only {raters} {'person' if raters == 1 else 'people'} judged: this is their taste.",)
    return ()


def _about_prompts(known: Known) -> tuple[str, ...]:
    evaluation = known.evaluation
    if evaluation is None:
        return ("Nobody has compared the tuned policy with the reference on held-out prompts yet.",)
    prompts = f"{evaluation.prompts} held-out prompts"
    if evaluation.interval is None:
        few = f"{prompts} were compared: too few for an interval, so the share of wins alone says little."
    else:
        half = (evaluation.interval[1] - evaluation.interval[0]) / 2
        few = f"{prompts} were compared: a difference below about {100 * half:.0f} points could not have been seen."
    asked = "Raters said which explanation is better. Whether it is true was not asked on its own."
    if known.round == 1:
        return few, asked
    again = f"The same held-out prompts were asked about in {known.round} rounds: a later look proves less."
    return few, again, asked


def _about_length(known: Known) -> tuple[str, ...]:
    if known.evaluation is None or EQUAL_LENGTH[0] <= known.evaluation.length_ratio <= EQUAL_LENGTH[1]:
        return ()
    ratio = known.evaluation.length_ratio
    than = f"{ratio:.2f} times as many words as the reference's"
    return (f"Tuned responses have {than}, and nothing here takes the effect of length out of the comparison.",)


def _about_reward(known: Known) -> tuple[str, ...]:
    card = known.card
    if card is None or card.pair_accuracy_low > card.length_accuracy:
        return ()
    alone = f"length alone orders {card.length_accuracy:.0%} of the pairs"
    return (f"The reward is not shown to know more than length: {alone}, which its interval does not exclude.",)
