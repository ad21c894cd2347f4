"""The demonstration: an example walked through two rounds with a simulated panel, to its report.

The simulated raters judge by a hidden utility. Here, and nowhere before, that utility is asked directly: on the
held-out prompts, for reference and tuned responses, as sampled, with unfinished tails cut, and greedy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from expound.creation import create
from expound.errors import InputError, ProjectNotFound
from expound.files import write_file
from expound.loop import run_round
from expound.panel.simulated import gold_of
from expound.ports import GoldLine, How, Policy, Progress
from expound.project import Project, open_project
from expound.records import Prompt, Response, Round, SamplingKey
from expound.reporting.pages import write_report
from expound.statistics import bootstrap_interval
from expound.text import copied_words, finished_part, repeated_ngrams, words

ROUNDS = 2
GREEDY_TOKENS = 64


@dataclass(frozen=True)
class Shown:
    """What the demonstration found: the hidden utility and the text for the terminal."""

    gold: tuple[GoldLine, ...]
    text: str


def walk(folder: Path, seed: int, progress: Progress, example: str = "answer") -> Shown:
    """Make the example's project in `folder` if it is not there, walk what is missing of two rounds, and tell."""
    if not (folder / "project.toml").exists():
        create(folder, task="", model="", prompts=(), example=example)
        _set_seed(folder, seed)
    with open_project(folder, progress) as project:
        _require_own(project, seed)
        decided = {decision.round for decision in project.book.decisions()}
        for number in range(1, ROUNDS + 1):
            if number not in decided:
                run_round(project)
            current = project.round(number)
            if not project.gold_path(current).exists():
                _tell_round(project, current, progress)
        last = project.book.rounds()[ROUNDS - 1]
        gold = project.gold_lines(last)
        return Shown(gold, _terminal_text(project, last, gold))


def _require_own(project: Project, seed: int) -> None:
    """Refuse to walk a project of somebody's own, or the demonstration of another seed."""
    settings = project.in_force
    if settings.panel.kinds != ("simulated",):
        raise ProjectNotFound(f"{project.folder} holds a project with people.", "Name another folder.")
    if settings.project.seed != seed:
        raise InputError(
            f"{project.folder} was begun with seed {settings.project.seed}, not {seed}.",
            f"Give --seed {settings.project.seed} to go on, or another folder.",
        )


def _set_seed(folder: Path, seed: int) -> None:
    path = folder / "project.toml"
    write_file(path, path.read_text(encoding="utf-8").replace("[panel]", f"seed = {seed}\n\n[panel]", 1))


def _tell_round(project: Project, current: Round, progress: Progress) -> None:
    """Ask the hidden utility about the round, keep what it says beside the round, and write the round's page."""
    lines = [asdict(line) for line in _gold(project, current, progress)]
    write_file(project.gold_path(current), json.dumps(lines, indent=1))
    write_report(project.book, project.report_input(current), project.folder)


def _gold(project: Project, current: Round, progress: Progress) -> list[GoldLine]:
    prompts = project.book.prompts("held_out")
    policies = (project.reference, project.policy(project.require_tuned(current)))
    sampled = [list(project.book.responses("held_out", policy=policy.id)) for policy in policies]
    kinds: list[tuple[How, list[list[Response]]]] = [
        ("sampled", sampled),
        ("tails cut", [_cut(found) for found in sampled]),
    ]
    if current.number == ROUNDS:
        kinds.append(("greedy", [_greedy(project, policy, prompts, progress) for policy in policies]))
    lines: list[GoldLine] = []
    for how, (reference, tuned) in kinds:
        lines += _compare(_scores(prompts, reference), _scores(prompts, tuned), how, current.number)
    return lines


def _greedy(project: Project, policy: Policy, prompts: Sequence[Prompt], progress: Progress) -> list[Response]:
    """Return one greedy response to each prompt, unfinished tails cut."""
    update = {"temperature": 0.0, "max_new_tokens": GREEDY_TOKENS}
    sampling = project.settings.sampling.model_copy(update=update)
    key = SamplingKey(project.settings.project.seed, 0, "greedy")
    with progress.bar("greedy explanations", len(prompts)) as advance:
        found = _cut(policy.sample(prompts, 1, sampling, key))
        advance(len(prompts))
    return found


def _cut(responses: Sequence[Response]) -> list[Response]:
    return [replace(found, text=finished_part(found.text), finished=True) for found in responses]


def _scores(prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
    """Return each prompt's mean hidden utility, in the order of their ids."""
    scores: dict[str, list[float]] = {}
    by_id = {prompt.id: prompt for prompt in prompts}
    for found in responses:
        gold = gold_of(by_id[found.prompt], found.text, finished=found.finished)
        scores.setdefault(found.prompt, []).append(gold)
    return [fmean(scores[prompt]) for prompt in sorted(scores)]


def _compare(reference: Sequence[float], tuned: Sequence[float], how: How, round_: int) -> list[GoldLine]:
    differences = [after - before for before, after in zip(reference, tuned, strict=True)]
    interval = bootstrap_interval(differences)
    return [
        GoldLine("reference", 0, how, fmean(reference)),
        GoldLine("tuned", round_, how, fmean(tuned), fmean(differences), interval),
    ]


def form_of(project: Project, policy: str) -> dict[str, float]:
    """Return what the held-out responses of a policy look like: words, and shares finished, copied and repeated.

    Copied are words in runs of nine from the source, repeated are runs of three words that stood there before.
    """
    prompts = {prompt.id: prompt for prompt in project.book.prompts("held_out")}
    responses = project.book.responses("held_out", policy=policy)
    rows = []
    for found in responses:
        text, size = found.text, len(words(found.text))
        copied = copied_words(text, prompts[found.prompt].source) / max(1, size)
        rows.append((len(text.split()), found.finished, copied, repeated_ngrams(text) / max(1, size - 2)))
    return dict(zip(("words", "finished", "copied", "repeated"), map(fmean, zip(*rows, strict=True)), strict=True))


def _terminal_text(project: Project, last: Round, gold: Sequence[GoldLine]) -> str:
    lines = ["", "Hidden utility on the held-out prompts (simulated; 0 to 1; 95 % interval by prompt):"]
    for line in gold:
        name = "reference" if line.policy == "reference" else f"tuned, round {line.round}"
        change = ""
        if line.difference is not None and line.interval is not None:
            change = f"  {line.difference:+.3f} [{line.interval[0]:+.3f}, {line.interval[1]:+.3f}]"
        lines.append(f"  {name:16} {line.how:10} {line.mean:.3f}{change}")
    for name, policy in (("reference", project.reference.id), ("tuned", project.require_tuned(last).id)):
        form = form_of(project, policy)
        lines.append(
            f"  {name:10} {form['words']:.0f} words, finished {form['finished']:.2f}, "
            f"copied {form['copied']:.2f}, repeated {form['repeated']:.2f}"
        )
    for decision in project.book.decisions():
        lines.append(f"Round {decision.round}: {decision.sentence}")
    lines += ["", "Seconds by verb:", *project.seconds_lines(), f"Report: {project.folder / 'report.html'}"]
    return "\n".join(lines)
