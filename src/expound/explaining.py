"""`explain`: a question put to the newest policy, answered greedily, at a temperature, or with the best of several."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from expound.errors import InputError, nearest
from expound.project import Project, first
from expound.records import Prompt, Response, RewardCard, SamplingKey
from expound.tasks.material import prompt_of, read_prompts

NAME_LIKE = re.compile(r"(?=.*[-_\d])[\w.-]+", re.ASCII)
"""What looks like the id of a prompt and not like a question."""

MOST_DRAWN = 64
"""Responses that are decoded side by side."""


@dataclass(frozen=True)
class Question:
    """What is to be explained, and how.

    `text` may be the name of a prompt; `reference` asks the model before any tuning. Without a `temperature` one
    explanation is greedy, and the best of several is drawn as in the tuning.
    """

    text: str
    source: str = ""
    reference: bool = False
    temperature: float | None = None
    best_of: int = 1

    def check(self) -> None:
        """Refuse what cannot be asked. Errors: InputError."""
        if not self.text.strip():
            raise InputError("nothing is asked.", "Say in the text what is to be explained, or name a prompt.")
        try:
            f"{self.text}{self.source}".encode()
        except UnicodeEncodeError as error:
            raise InputError("what is asked is not UTF-8.", "Set the terminal to UTF-8, or name a prompt.") from error
        given = self.temperature
        if given is not None and not 0 <= given <= 2:
            raise InputError(f"a temperature of {given} cannot be sampled at.", "Give 0, which is greedy, to 2.")
        if not 1 <= self.best_of <= MOST_DRAWN:
            raise InputError(f"the best of {self.best_of} cannot be chosen.", f"Draw 1 to {MOST_DRAWN}.")
        if self.best_of > 1 and given == 0:
            what = f"{self.best_of} explanations at temperature 0 are the same {self.best_of} times."
            raise InputError(what, "Leave the temperature out, or give one above 0.")


def explain(project: Project, question: Question) -> str:
    """Return the explanation. Errors: InputError, PromptError, ModelRefused."""
    prompt, reward = _prompt(project, question), _reward(project) if question.best_of > 1 else None
    tuned = None if question.reference else project.newest_policy()
    if tuned is None and not question.reference:
        project.progress.say("Nothing is tuned yet: the reference explains.")
    policy, sampling = tuned or project.reference, project.settings.sampling
    key = SamplingKey(project.settings.project.seed, 0, "explain")
    if reward is None or question.temperature is not None:
        sampling = sampling.model_copy(update={"temperature": question.temperature or 0.0})
    if reward is None:
        return policy.explain(project.task.render(prompt), sampling, key)
    return _best(project, reward, prompt, policy.sample([prompt], question.best_of, sampling, key))


def _prompt(project: Project, question: Question) -> Prompt:
    text, source = question.text, question.source
    known = project.book.prompts() or read_prompts(project.folder, project.settings.project.prompts)
    named = [prompt for prompt in known if text in (prompt.name, prompt.id)]
    if not named and not source and NAME_LIKE.fullmatch(text):
        remedy = nearest(text, [prompt.name for prompt in known])
        project.progress.say(f"No prompt is called '{text}', so it is taken as a question. {remedy}")
    return named[0] if named and not source else prompt_of(text, source, name="(the one to explain)")


def _reward(project: Project) -> RewardCard:
    """Return the newest reward. Errors: InputError when there is none, or it is a function."""
    cards = project.book.rewards()
    if not cards:
        raise InputError("no reward has been fitted yet, which could choose the best.", first("run"))
    if cards[-1].function:
        raise InputError(
            f"the reward of round {cards[-1].round} is your function '{cards[-1].function}', which no project holds.",
            "Ask for one explanation, or have a round judged, whose reward is fitted.",
        )
    return cards[-1]


def _best(project: Project, card: RewardCard, prompt: Prompt, drawn: Sequence[Response]) -> str:
    """Return the response with the highest reward, caution taken off, and say how far that is from the policy.

    The best of n is at most ln n - (n - 1) / n nats away in KL.
    """
    current, count = project.round(card.round), len(drawn)
    mean, sd = project.learner.rewards(project.reward_task(current).folder, {prompt.id: prompt}, drawn)
    worth = (mean - project.settings_of(current).ppo.caution * sd - card.mean) / card.sd
    bound = math.log(count) - (count - 1) / count
    project.progress.say(
        f"The best of {count} by the reward of round {card.round}: {worth.max():+.2f} spreads, on average "
        f"{worth.mean():+.2f}. Choosing so is a KL of at most {bound:.2f} nats from the policy."
    )
    return drawn[int(worth.argmax())].text
