"""Where a project stands and the next action, in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from expound.errors import command, with_folder
from expound.ports import Book
from expound.records import Ballot, Decision, Round, Split
from expound.settings import Settings, undump


@dataclass(frozen=True)
class AtWork:
    """What goes on in a folder now: the process that holds it, and the address of its rating site; None: none."""

    process: str | None = None
    site: str | None = None


IDLE = AtWork()


def describe(book: Book, settings: Settings, folder: Path, now: AtWork = IDLE) -> str:
    """Return in a few sentences where the project stands, ending with what comes next.

    `settings` are those of project.toml now; an open round's own frozen ones decide what it is waiting for.
    """
    site = f"The rating site is at {now.site}. " if now.site else ""
    rounds = book.rounds()
    if not rounds:
        return site + _before_the_first_round(settings, folder, now.process)
    current = rounds[-1]
    decision = next((found for found in book.decisions() if found.round == current.number), None)
    if decision is not None:
        return site + _decided(decision, settings, folder)
    return site + _open_round(Stage(book, current, undump(current.settings), folder, now.process))


@dataclass(frozen=True)
class Stage:
    """An open round with what its sentences need; `settings` are frozen."""

    book: Book
    round: Round
    settings: Settings
    folder: Path
    process: str | None

    @property
    def is_simulated(self) -> bool:
        """Say whether nobody real judges."""
        return self.settings.panel.kinds == ("simulated",)

    def says(self, sentence: str, verb: str) -> str:
        """Return a sentence about the round, and the verb that comes next unless a process is about it already."""
        following = _following(self.process, verb, self.folder)
        return f"{_name(self.round.number, self.settings)}: {sentence} {following}"


def _following(process: str | None, verb: str, folder: Path) -> str:
    return f"Process {process} is at work." if process else f"Next: {command(verb, folder)}"


def _name(number: int, settings: Settings) -> str:
    return f"Round {number}{' (simulated panel)' if settings.panel.kinds == ('simulated',) else ''}"


def _before_the_first_round(settings: Settings, folder: Path, process: str | None) -> str:
    pattern = settings.project.prompts
    if any(folder.glob(pattern)):
        return f"No round has begun. {_following(process, 'run', folder)}"
    return f"There are no prompts: nothing in {folder} matches '{pattern}'. Next: put a prompt file there."


def _decided(decision: Decision, settings: Settings, folder: Path) -> str:
    name = f"{_name(decision.round, settings)} of at most {settings.stopping.max_rounds}"
    following = with_folder(decision.next_step, folder)
    return f"{name} is decided. {decision.sentence} {following} Report: {folder / 'report.html'}"


def _open_round(stage: Stage) -> str:
    """Look from the end of the road backwards: the furthest record says where the round is."""
    book, number, function = stage.book, stage.round.number, stage.settings.panel.function
    if function is not None:
        again = f"project.run({'feedback' if function == 'score function' else 'ranking'}=...)"
        return f"{_name(number, stage.settings)}: begun with a {function}. Next: {again} goes on."
    tuned = [policy for policy in book.policies() if policy.round == number]
    if tuned:
        return _measuring(stage)
    if any(card.round == number for card in book.rewards()):
        return _tuning(stage)
    settled = [found for found in book.settlements() if found.round == number]
    if settled:
        responses, raters = len({found.response for found in settled[-1].verdicts}), len(settled[-1].skills)
        return stage.says(f"settled, with a verdict on {responses} responses from {raters} raters.", "fit")
    if book.ballots("train", round_=number):
        return _asking(stage)
    return _sampling(stage)


def _sampling(stage: Stage) -> str:
    prompts, responses = stage.book.prompts("train"), stage.book.responses("train", round_=stage.round.number)
    if not responses:
        return stage.says(f"begun with {len(prompts)} train prompts, nothing sampled yet.", "sample")
    reached = len({response.prompt for response in responses})
    if reached < len(prompts):
        return stage.says(f"sampling has reached {reached} of {len(prompts)} train prompts.", "sample")
    return stage.says(f"{len(responses)} responses to {len(prompts)} train prompts, no ballots yet.", "ask")


def _asking(stage: Stage) -> str:
    waiting = _missing(stage, "train")
    return waiting or stage.says("every ballot has its answer, the raters are not weighed yet.", "settle")


def _tuning(stage: Stage) -> str:
    metrics = stage.folder / "rounds" / f"{stage.round.number:03d}" / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
    if lines:
        planned = json.loads(lines[-1]).get("updates", stage.settings.ppo.updates)
        return stage.says(f"tuning, {len(lines)} of {planned} updates done.", "tune")
    card = [found for found in stage.book.rewards() if found.round == stage.round.number][-1]
    accuracy = f"it orders {card.pair_accuracy:.0%} of {card.pairs} left-out pairs like the raters"
    return stage.says(f"the reward is fitted; {accuracy}, length alone {card.length_accuracy:.0%}.", "tune")


def _measuring(stage: Stage) -> str:
    if not stage.book.ballots("held_out", round_=stage.round.number):
        return stage.says("tuned; nobody has compared it on held-out prompts yet.", "measure")
    waiting = _missing(stage, "held_out")
    return waiting or stage.says("every held-out comparison has its answer, nothing is decided yet.", "measure")


def _missing(stage: Stage, split: Split) -> str:
    """Return what the panel still owes, or an empty string; a judge is asked before people are waited for."""
    ballots = stage.book.ballots(split, round_=stage.round.number)
    told = f"{'held-out ' if split == 'held_out' else ''}{_kind(ballots)}"
    if "judge" in stage.settings.panel.kinds:
        asked, left = _asked_of_judge(stage.book, ballots)
        if left:
            return stage.says(f"the judge owes {left} of {asked} {told}.", "run")
        if stage.settings.panel.kinds == ("judge",):
            return ""
    answered = _answered(stage.book)
    missing = sum(not answered.get(ballot.id) for ballot in ballots)
    if not missing:
        return ""
    owed = f"{missing} of {len(ballots)} {told}"
    if stage.is_simulated:
        return stage.says(f"the simulated raters owe {owed}.", "run")
    waiting = f"{owed} {'is' if missing == 1 else 'are'} missing; {_by_rater(stage, ballots)}."
    return stage.says(waiting, "run")


def _answered(book: Book) -> dict[str, tuple[str, ...]]:
    """Return who answered each ballot, without the judges: what they say leaves a ballot open for people."""
    judges = {rater.id for rater in book.raters() if rater.source == "judge"}
    return {ballot: tuple(one for one in who if one not in judges) for ballot, who in book.answered().items()}


def _asked_of_judge(book: Book, ballots: Sequence[Ballot]) -> tuple[int, int]:
    """Return how many questions there are, and how many no judge has answered or skipped."""
    judges = {rater.id for rater in book.raters() if rater.source == "judge"}
    told = [book.answered(), book.skipped()]
    dealt = {one.question for one in ballots if any(judges & {*found.get(one.id, ())} for found in told)}
    asked = {one.question for one in ballots}
    return len(asked), len(asked - dealt)


def _kind(ballots: Sequence[Ballot]) -> str:
    kinds = {ballot.kind for ballot in ballots}
    return f"{kinds.pop()}s" if len(kinds) == 1 else "ballots"


def _by_rater(stage: Stage, ballots: Sequence[Ballot]) -> str:
    asked, answered = {ballot.id for ballot in ballots}, _answered(stage.book)
    counts = Counter(rater for ballot in asked for rater in answered.get(ballot, ()))
    known = [rater for rater in stage.book.raters() if rater.source != "judge"]
    raters = [rater for rater in known if rater.active or counts[rater.id]]
    if not raters:
        return f"nobody is invited yet ({command('invite NAME', stage.folder)})"
    return ", ".join(f"{rater.name} is at {counts[rater.id]}" for rater in raters)
