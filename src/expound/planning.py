"""How much a round asks of people and of this machine, before anything begins. Nothing is stored.

Ballots are counted by making them, for responses that are not there yet. Seconds come from the log of a round with the
same settings, or else from a short trial with the project's own model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from expound.feedback.asking import ask_blind, ask_train, of_round, responses_needed
from expound.ports import Progress
from expound.ppo.sizes import Sizes, first_episodes, known_sizes, timed_sizes
from expound.project import Project, open_project
from expound.quality.measure import smallest_effect
from expound.records import Ballot, Prompt, Response, Round
from expound.reporting.progress import in_words
from expound.settings import Settings, dump
from expound.text import words

if TYPE_CHECKING:
    from expound.models.probe import Memory, Tried

WORDS_A_SECOND, CHARACTERS_A_SECOND = 4.0, 7.0
"""Silent reading of adults in English (Brysbaert 2019: 238 words a minute) and in Chinese characters."""

TRIED_PROMPTS, TRIED_TOKENS = 6, 1200
"""Prompts that are tried, of all lengths; fewer where their responses may have more tokens than this together.

They take SmolLM2-135M about 25 seconds on two free cores. One does where a log tells the pace, for memory alone.
"""

LABEL = 14


@dataclass(frozen=True)
class Asked:
    """The ballots of a kind about prompts of a split, and the judgments that they bring from everybody asked."""

    what: str
    ballots: int
    judgments: int


@dataclass(frozen=True)
class Pace:
    """Seconds to sample a response, to read one and to put one through an update, with where that is known from.

    `texts` are responses that show how long they are.
    """

    sample: float
    read: float
    update: float
    texts: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Plan:
    """What a round asks for: of people in ballots and seconds of reading, of this machine in seconds and bytes.

    `seconds` by verb, without people. `effect` is the smallest one that held-out comparisons find out four times in
    five, over one half, and `effect_alone` the same where the comparisons of a prompt always agree; None without an
    interval. `sizes` is what tuning will likely choose, with no more responses than its prompts have.
    """

    round: int
    train: int
    held_out: int
    asked: tuple[Asked, ...]
    people: bool
    reading: float
    seconds: Mapping[str, float]
    sizes: Sizes
    source: str
    memory: Memory
    each: int
    effect: float | None
    effect_alone: float | None

    @property
    def ballots(self) -> int:
        """Return how many ballots the round has."""
        return sum(one.ballots for one in self.asked)

    @property
    def judgments(self) -> int:
        """Return how many judgments are asked for."""
        return sum(one.judgments for one in self.asked)

    def __str__(self) -> str:
        lines = {
            "Prompts": f"{self.train} train, {self.held_out} held out",
            "Ballots": f"{self.ballots} ({', '.join(f'{one.ballots} {one.what}' for one in self.asked)})",
            "Judgments": f"{self.judgments}",
            "Rating": self._rating(),
            "This machine": self._machine(),
            "Memory": self._memory(),
            "Detectable": self._detectable(),
        }
        head = f"Round {self.round} as it is planned; nothing is stored and nothing begins."
        return "\n".join([head, *(f"{name:{LABEL}}{told}" for name, told in lines.items())])

    def _rating(self) -> str:
        if not self.people:
            return "nobody is asked: no people are in the panel"
        return (
            f"about {in_words(self.reading)} of reading for all people together, {WORDS_A_SECOND:.0f} words or "
            f"{CHARACTERS_A_SECOND:.0f} Chinese characters a second; deciding comes on top"
        )

    def _machine(self) -> str:
        parts = ", ".join(f"{verb} {in_words(seconds)}" for verb, seconds in self.seconds.items())
        tuning = f"{self.sizes.updates} updates of {self.sizes.episodes} responses"
        whole = f"about {in_words(sum(self.seconds.values()))} besides waiting for judgments"
        return f"{whole}: {parts} ({tuning}); from {self.source}"

    def _memory(self) -> str:
        held = self.memory
        parts = (
            f"program {_size(held.program)}",
            f"weights {_size(held.weights)}",
            f"second weights of what learns {_size(held.copies)}",
            f"keys and values while sampling {_size(held.cache)} or activations of an update {_size(held.activations)}",
        )
        return f"about {_size(held.peak)} at the peak: {', '.join(parts)}"

    def _detectable(self) -> str:
        if self.effect is None or self.effect_alone is None:
            return f"nothing: {self.held_out} held-out prompts are too few for an interval; bring 20 or more"
        wanted = f"a win rate of {0.5 + self.effect:.0%} or more is found out four times in five (95 % interval)"
        if self.each == 1:
            return f"{wanted}, one comparison a prompt, without ties"
        agreed = f"{0.5 + self.effect_alone:.0%} where those of a prompt always agree"
        return f"{wanted}, {self.each} independent comparisons a prompt, without ties; {agreed}"


def plan(folder: Path, progress: Progress) -> Plan:
    """Return what the open round asks for as a whole, or the next one where none is open.

    Errors: those of opening a project and of its prompts and model.
    """
    from expound.models import probe

    program = probe.resident()  # the libraries are there, the model is not
    with open_project(folder, progress, lock=False) as project:
        latest, settings = project.latest_round(), project.in_force
        number, prompts = 1 if latest is None else latest.number + 1, project.load_prompts()
        if latest is not None and project.is_open(latest):
            number, prompts = latest.number, project.prompts(None, latest)
        return _plan(project, settings, Round(number, settings.project.seed, dump(settings), ""), prompts, program)


def _plan(project: Project, settings: Settings, current: Round, prompts: Sequence[Prompt], program: int) -> Plan:
    train, held_out = ([one for one in prompts if one.split == split] for split in ("train", "held_out"))
    logged = _pace_of_rounds(project, settings)
    memory, tried = _try(project, settings, train, 1 if logged else _tried(settings), program)
    pace = logged or _pace_of(tried, settings)
    ballots = _ballots(project, settings, current, train, held_out)
    each = settings.measuring.responses
    sizes = _sizes(settings, pace, len(train))
    return Plan(
        round=current.number,
        train=len(train),
        held_out=len(held_out),
        asked=tuple(_asked(ballots, len(settings.panel.kinds))),
        people="people" in settings.panel.kinds,
        reading=_reading_seconds(ballots, {one.id: one for one in prompts}, pace.texts),
        seconds=_seconds(project, settings, current, pace, sizes, (len(train), len(held_out))),
        sizes=sizes,
        source=pace.source,
        memory=memory,
        each=each,
        effect=smallest_effect(len(held_out), each),
        effect_alone=smallest_effect(len(held_out), 1),
    )


# --- what people are asked ----------------------------------------------------------------------------------------


def _ballots(
    project: Project, settings: Settings, current: Round, train: Sequence[Prompt], held_out: Sequence[Prompt]
) -> tuple[Ballot, ...]:
    """Return the ballots that the round will make when no two responses to a prompt have equal texts."""
    wanted = responses_needed(len(train), settings, current.number)
    book = project.book
    earlier = of_round(book.responses("train"), book.policies(), current.number - 1)
    criteria = project.task.asked(settings.asking.criteria)
    fresh = _to_come(train, "starting policy", current, wanted)
    pairs = [_to_come(held_out, policy, current, settings.measuring.responses) for policy in ("reference", "tuned")]
    blind = ask_blind(pairs[0], pairs[1], settings, current)
    if settings.panel.is_scored:
        return blind
    return (*ask_train(fresh, earlier, settings.asking, current, criteria), *blind)


def _to_come(prompts: Sequence[Prompt], policy: str, current: Round, count: int) -> list[Response]:
    """Return responses that nobody has written yet."""
    return [
        Response(f"{policy} {prompt.id} {n}", prompt.id, f"{policy} {n}", policy, current.number, n, finished=True)
        for prompt in prompts
        for n in range(count)
    ]


def _asked(ballots: Sequence[Ballot], panels: int) -> Iterator[Asked]:
    """Yield a line a kind and split; each of the panels answers every ballot."""
    for is_held_out, kind in sorted({(ballot.split == "held_out", ballot.kind) for ballot in ballots}):
        some = [one for one in ballots if (one.split == "held_out", one.kind) == (is_held_out, kind)]
        judgments = panels * sum(max(1, len(ballot.criteria)) for ballot in some)
        yield Asked(f"{'held-out ' * is_held_out}{kind}s", len(some), judgments)


def reading_seconds(text: str) -> float:
    """Return how long people read a text: words and Chinese characters have their own pace."""
    found = words(text)
    characters = sum("㐀" <= word[0] <= "鿿" for word in found)
    return characters / CHARACTERS_A_SECOND + (len(found) - characters) / WORDS_A_SECOND


def _reading_seconds(ballots: Sequence[Ballot], prompts: Mapping[str, Prompt], texts: Sequence[str]) -> float:
    response = fmean(map(reading_seconds, texts))
    asked = {id_: reading_seconds(prompt.text) + reading_seconds(prompt.source) for id_, prompt in prompts.items()}
    return sum(asked[ballot.prompt] + response * len(ballot.responses) for ballot in ballots)


# --- what the machine does ----------------------------------------------------------------------------------------


def _tried(settings: Settings) -> int:
    """Return how many prompts are tried."""
    a_prompt = settings.sampling.responses_per_prompt * settings.sampling.max_new_tokens
    return max(1, min(TRIED_PROMPTS, TRIED_TOKENS // a_prompt))


def _try(
    project: Project, settings: Settings, train: Sequence[Prompt], count: int, program: int
) -> tuple[Memory, Tried]:
    from expound.models import probe

    loaded, render = project.loaded, project.task.render
    project.progress.say("Trying the model on a few prompts; this takes half a minute or so.")
    tried = probe.try_out(loaded, render, train, settings, count)
    return probe.memory(loaded, render, train, settings, tried, program), tried


def _pace_of(tried: Tried, settings: Settings) -> Pace:
    update = tried.sample + tried.prepare + settings.ppo.epochs * tried.epoch
    texts = tuple(response.text for response in tried.responses)
    return Pace(tried.sample, tried.read, update, texts, f"{len(texts)} responses tried just now")


def _pace_of_rounds(project: Project, settings: Settings) -> Pace | None:
    """Return the pace of the newest round with these settings whose log has it all."""
    alike = [one for one in project.book.rounds() if _of_pace(project.settings_of(one)) == _of_pace(settings)]
    found = (_pace_of_round(project, earlier) for earlier in reversed(alike))
    return next((pace for pace in found if pace is not None), None)


def _of_pace(settings: Settings) -> tuple[object, ...]:
    return settings.sampling, settings.ppo, settings.project.model


def _pace_of_round(project: Project, earlier: Round) -> Pace | None:
    seconds, lines = project.seconds(earlier), project.report_input(earlier).metrics
    fresh = of_round(project.book.responses("train"), project.book.policies(), earlier.number)
    if not lines or not fresh or not {"sample train", "fit"} <= seconds.keys():
        return None
    read = [one for one in project.book.responses("train") if one.round <= earlier.number]
    updates = [
        sum(value or 0.0 for name, value in line.items() if name.startswith("seconds_")) / (line["episodes"] or 1)
        for line in lines
    ]
    texts = tuple(response.text for response in fresh)
    pace = (seconds["sample train"] / len(fresh), seconds["fit"] / len(read), fmean(updates))
    return Pace(*pace, texts, f"the log of round {earlier.number}")


def _sizes(settings: Settings, pace: Pace, prompts: int) -> Sizes:
    responses = settings.sampling.responses_per_prompt
    known = known_sizes(settings.ppo, responses)
    episodes = _episodes(first_episodes(settings.ppo, responses), responses, prompts)
    found = known or timed_sizes(settings.ppo, responses, pace.update * episodes)
    return Sizes(found.updates, _episodes(found.episodes, responses, prompts))


def _episodes(wanted: int, responses: int, prompts: int) -> int:
    """Return the responses that an update really has: no prompt is asked about twice."""
    return min(wanted // responses, prompts) * responses


def _seconds(
    project: Project, settings: Settings, current: Round, pace: Pace, sizes: Sizes, prompts: tuple[int, int]
) -> dict[str, float]:
    """Return the seconds by verb; what people and judges take, and the weighing of raters, are not in it."""
    train, held_out = prompts
    fresh = train * responses_needed(train, settings, current.number)
    before = sum(response.round < current.number for response in project.book.responses("train"))
    policies = 2 if current.number == 1 else 1  # the reference's held-out responses are kept
    return {
        "sample": fresh * pace.sample,
        "fit": (before + fresh) * pace.read,
        "tune": sizes.updates * sizes.episodes * pace.update,
        "measure": policies * held_out * settings.measuring.responses * pace.sample,
    }


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
