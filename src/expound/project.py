"""A project folder, opened: its settings, lock, book, models, learner and panel.

The only file, beside `loop` and `api`, that sees everything. What a step needs is built when it is first asked for,
so that asking for the status of a project loads no model.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter

from expound.errors import (
    DidNotConverge,
    ExpoundError,
    InputError,
    ModelRefused,
    NothingToLearn,
    ProjectNotFound,
    SettingsError,
    TaskError,
    TrainingStopped,
    with_folder,
)
from expound.files import locked, read_text, storage_errors, write_file
from expound.machine import free_cores, versions
from expound.panel.function import (
    OwnFunction,
    RankingFunction,
    RankingPanel,
    ScoreFunction,
    ScorePanel,
    check_goes_on,
    require,
)
from expound.panel.judge import JudgePanel
from expound.panel.people import Panels, People
from expound.panel.simulated import SimulatedPanel
from expound.ports import GoldLine, Panel, Policy, Progress, ReportInput, RewardTask
from expound.records import (
    Alarm,
    Decision,
    Json,
    PolicyRecord,
    Prompt,
    RewardCard,
    Round,
    Settlement,
    Split,
    content_id,
)
from expound.settings import Settings, changed_keys, dump, parse, undump, with_function
from expound.store.book import LogBook, open_book
from expound.tasks.kinds import OWN_FILE, Task, built_in
from expound.tasks.kinds import load as load_task
from expound.tasks.material import check_splits, read_prompts

if TYPE_CHECKING:
    from expound.models.learner import BranchLearner
    from expound.models.loading import Loaded

T = TypeVar("T")
OfRound = TypeVar("OfRound", Settlement, RewardCard, PolicyRecord)
LOG = "log.jsonl"
AT_ONCE = ("project.name", "project.model", "site.host", "site.port")
"""Keys that no round freezes: they change nothing of what is learnt. Another model is refused by its identity."""


class Project:
    """An open project folder; close it, or use `open_project`."""

    def __init__(
        self, folder: Path, progress: Progress, *, wait: bool = True, function: OwnFunction | None = None
    ) -> None:
        """Open it. With a `function` of the user's, it alone judges in the rounds that begin."""
        self.folder = folder
        self.progress = progress
        self.settings = with_function(read_settings(folder), function.kind if function else None)
        self.book: LogBook = open_book(folder)
        self._wait, self._function = wait, function
        self.is_served: Callable[[], bool] = lambda: True
        """Whether people can reach the rating site; whoever starts it says how to tell."""

    def close(self) -> None:
        """Let go of the database."""
        self.book.close()

    # --- rounds ---------------------------------------------------------------------------------------------------

    @property
    def in_force(self) -> Settings:
        """Return the frozen settings of the open round, or those of project.toml where none is open."""
        latest = self.latest_round()
        return self.settings_of(latest) if latest is not None and self.is_open(latest) else self.settings

    def is_open(self, current: Round) -> bool:
        """Return whether the round is not decided yet."""
        return all(decision.round != current.number for decision in self.book.decisions())

    def load_prompts(self) -> tuple[Prompt, ...]:
        """Return the prompts of the prompt files, when the model can be tuned and they can be put to it.

        Errors: PromptError for what cannot be read or does not fit the model; SettingsError, ModelRefused.
        """
        from expound.models.branches import live_count
        from expound.models.cut import decoder_of, layers_of
        from expound.models.loading import prompt_ids

        self.task.asked(self.settings.asking.criteria)
        live_count(self.settings.ppo.live_layers, len(layers_of(decoder_of(self.loaded.model))))
        prompts = read_prompts(self.folder, self.settings.project.prompts, self.book.prompts())
        check_splits(prompts)
        for prompt in prompts:
            prompt_ids(self.loaded, self.task.render(prompt), prompt.name, self.settings.sampling.max_new_tokens)
        return prompts

    def prompts(self, split: Split | None, current: Round) -> tuple[Prompt, ...]:
        """Return the prompts, of one split or all, that were in the prompt files when the round began."""
        known = frozenset(current.prompts)
        return tuple(prompt for prompt in self.book.prompts(split) if prompt.id in known)

    def open_round(self) -> Round:
        """Return the round that is not decided yet, or open the next one and freeze its settings."""
        latest = self.latest_round()
        if latest is not None and self.is_open(latest):
            check_goes_on(latest.number, self.settings_of(latest).panel.function, self._function)
            self._tell_changed(latest)
            return latest
        number = 1 if latest is None else latest.number + 1
        if number > self.settings.stopping.max_rounds:
            raise SettingsError(
                f"round {number} would be beyond [stopping] max_rounds = {self.settings.stopping.max_rounds}.",
                "Raise it in project.toml if going on is worth it.",
            )
        if latest is not None and self.settings_of(latest) != self.settings:
            for made_before in ("task", "learner", "reference", "panel"):
                vars(self).pop(made_before, None)
        self._check_what_learns()
        prompts = self.load_prompts()
        current = Round(
            number,
            self.settings.project.seed,
            dump(self.settings),
            json.dumps(versions(), sort_keys=True),
            tuple(prompt.id for prompt in prompts),
            content_id(self.task.model_dump_json()),
        )
        folder = self.round_folder(current)
        if (folder / LOG).exists():
            raise InputError(
                f"{folder} is there already, but the project's database knows no such round.",
                "Move that folder away, or put the database back that belongs to it.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / "settings.json", current.settings)
        self.book.add([*prompts, PolicyRecord(self.loaded.identity, 0, ""), current])
        return current

    def _check_what_learns(self) -> None:
        tuned = [record.round for record in self.book.policies() if record.round]
        if not tuned:
            return
        before, now = self.settings_of(self.round(tuned[-1])).ppo, self.settings.ppo
        for key, was in (("mode", before.mode), ("live_layers", before.live_layers)):
            if was != vars(now)[key]:
                what = f"[ppo] {key} cannot change once a policy is tuned, since the next goes on from it."
                raise SettingsError(what, f"Set it back to {was!r}, or begin a new project.")

    def _tell_changed(self, current: Round) -> None:
        frozen = self.settings_of(current)
        now = with_function(self.settings, frozen.panel.function)
        keys = [key for key in changed_keys(frozen, now) if key not in AT_ONCE]
        if keys:
            self.progress.say(
                f"project.toml has changed ({', '.join(keys)}); round {current.number} is open and keeps its settings, "
                f"the change takes effect in round {current.number + 1}."
            )

    def latest_round(self) -> Round | None:
        """Return the newest round, or None before the first."""
        rounds = self.book.rounds()
        return rounds[-1] if rounds else None

    def round(self, number: int | None) -> Round:
        """Return a round by its number, the newest by default."""
        rounds = {found.number: found for found in self.book.rounds()}
        wanted = number if number is not None else max(rounds, default=0)
        if wanted not in rounds:
            what = f"there is no round {wanted} in {self.folder}." if number is not None else "no round has begun yet."
            known = f"There are rounds 1 to {max(rounds)}." if rounds else first("run")
            raise ProjectNotFound(what, known)
        if number is None and self.is_open(rounds[wanted]):
            self._tell_changed(rounds[wanted])
        return rounds[wanted]

    def settings_of(self, current: Round) -> Settings:
        """Return the settings that were frozen when the round began."""
        return undump(current.settings)

    def round_folder(self, current: Round) -> Path:
        """Return rounds/NNN."""
        return self.folder / "rounds" / f"{current.number:03d}"

    def has_page(self, current: Round) -> bool:
        """Return whether the round's report was written."""
        return (self.round_folder(current) / "report.html").exists()

    def policy_folder(self, current: Round) -> Path:
        """Return where the round's tuned policy is, or will be."""
        return self.round_folder(current) / "policy"

    def reward_task(self, current: Round) -> RewardTask:
        """Return where the round's reward goes."""
        return RewardTask(current.number, current.seed, self.round_folder(current) / "reward")

    # --- what the rounds have ---------------------------------------------------------------------------------------

    def settlement(self, current: Round) -> Settlement | None:
        """Return the newest settlement of the round."""
        return _newest_of(current, self.book.settlements())

    def reward(self, current: Round) -> RewardCard | None:
        """Return the newest reward of the round."""
        return _newest_of(current, self.book.rewards())

    def tuned_policy(self, current: Round) -> PolicyRecord | None:
        """Return the policy that the round ended with."""
        return _newest_of(current, self.book.policies())

    def require_settlement(self, current: Round) -> Settlement:
        """Return the settlement, or say which verb makes it."""
        return self._require(self.settlement(current), f"round {current.number} is not settled yet", "settle")

    def require_reward(self, current: Round) -> RewardCard:
        """Return the reward, or say which verb makes it."""
        return self._require(self.reward(current), f"round {current.number} has no reward yet", "fit")

    def require_tuned(self, current: Round) -> PolicyRecord:
        """Return the tuned policy, or say which verb makes it."""
        return self._require(self.tuned_policy(current), f"round {current.number} has no tuned policy yet", "tune")

    def require_ballots(self, current: Round) -> None:
        """Say which verb makes ballots when the round has none."""
        ballots = self.book.ballots("train", round_=current.number)
        self._require(ballots or None, f"round {current.number} has no ballots yet", "ask")

    def _require(self, found: T | None, lack: str, verb: str) -> T:
        if found is None:
            raise InputError(f"{lack}.", first(verb))
        return found

    @cached_property
    def task(self) -> Task:
        """Return the task: how a prompt is put to the model, and what a good explanation is.

        Errors: TaskError, also when task.toml is not what it was when the open round began.
        """
        task, latest = load_task(self.in_force.project.task, self.folder), self.latest_round()
        is_own = task.name not in built_in()
        if is_own and latest and self.is_open(latest) and latest.task != content_id(task.model_dump_json()):
            raise TaskError(
                f"{OWN_FILE} has changed since round {latest.number} began.",
                "Put it back as it was until the round is decided; then change it for the next.",
            )
        return task

    # --- models -----------------------------------------------------------------------------------------------------

    @cached_property
    def loaded(self) -> Loaded:
        """Return the model of the settings; loads it when it is first asked for.

        Errors: ModelNotFound; ModelRefused, also for another model than that of round 1.
        """
        import torch

        from expound.models.loading import load

        threads, name = free_cores(), self.settings.project.model
        torch.set_num_threads(threads)
        self.progress.say(f"Loading {name} ({threads} {'thread' if threads == 1 else 'threads'}).")
        loaded = load(name, base=self.folder, say=self.progress.say)
        if any(record.round == 0 and record.id != loaded.identity for record in self.book.policies()):
            raise ModelRefused(
                f"{name} is not the model with which round 1 began, to which every policy here is compared.",
                f"Set [project] model back to {self.settings_of(self.round(1)).project.model}, or begin a new project.",
            )
        return loaded

    @cached_property
    def learner(self) -> BranchLearner:
        """Return the learner over the reference's trunk."""
        from expound.models.learner import BranchLearner

        latest = self.latest_round()
        settings = self.settings if latest is None else self.settings_of(latest)
        return BranchLearner(self.loaded, self.task.render, self.progress, settings.sampling)

    @cached_property
    def reference(self) -> Policy:
        """Return the policy at the start of round 1."""
        return self.learner.reference()

    def policy(self, record: PolicyRecord) -> Policy:
        """Return a policy of the book."""
        return self.reference if record.round == 0 else self.learner.policy(record.id, self.folder / record.folder)

    def starting_policy(self, current: Round) -> Policy:
        """Return the policy with which a round begins: the last tuned one, or the reference."""
        return self.newest_policy(before=current.number) or self.reference

    def newest_policy(self, before: float = math.inf) -> Policy | None:
        """Return the last tuned policy of the rounds before that one, or None."""
        tuned = [record for record in self.book.policies() if 0 < record.round < before]
        return self.policy(tuned[-1]) if tuned else None

    def sample_into_book(self, split: Split, policy: Policy, responses: int, current: Round) -> None:
        """Sample what is missing, chunk by chunk; a chunk is stored whole, so that a repeated run finds equal ones.

        Held-out responses of the rounds before do as well, back to the last change of [sampling].
        """
        prompts, sampling = self.prompts(split, current), self.settings_of(current).sampling
        rounds = [one for one in reversed(self.book.rounds()) if one == current or split == "held_out"]
        alike = {one.number for one in takewhile(lambda one: self.settings_of(one).sampling == sampling, rounds)}
        stored = self.book.responses(split, policy=policy.id)
        have = Counter(response.prompt for response in stored if response.round in alike)
        chunks = policy.chunks(prompts)
        missing = [chunk for chunk in chunks if any(have[prompt.id] < responses for prompt in chunk)]
        if not missing:
            return
        done = sum(len(chunk) for chunk in chunks if chunk not in missing) * responses
        what = f"sample {split}"
        key = current.key(what)
        with self.step(current, what), self.progress.bar(what, len(prompts) * responses, done) as advance:
            for chunk in missing:
                self.book.add(policy.sample(chunk, responses, sampling, key))
                advance(len(chunk) * responses)

    # --- people -----------------------------------------------------------------------------------------------------

    @property
    def needs_site(self) -> bool:
        """Return whether people are to be waited for, in the open round or in the next."""
        kinds = (*self.in_force.panel.kinds, *self.settings.panel.kinds)
        functions = (self._function, self.in_force.panel.function)
        return self._wait and functions == (None, None) and "people" in kinds

    @cached_property
    def panel(self) -> Panel:
        """Return whoever judges: a judge before the people, who may take days; or a function alone."""
        settings = self.in_force
        match settings.panel.function:
            case "score function":
                return self.scorer
            case "ranking function":
                return RankingPanel(self.book, require(RankingFunction, self._function, self.folder))
        made: list[Panel] = []
        if "simulated" in settings.panel.kinds:
            made.append(SimulatedPanel(self.book, settings.project.seed, self.task.criteria))
        if settings.judge is not None and "judge" in settings.panel.kinds:
            made.append(JudgePanel(self.book, self.task, settings.judge))
        if "people" in settings.panel.kinds:
            made.append(People(self.book, wait=self._wait, folder=self.folder, is_served=self.is_served))
        return made[0] if len(made) == 1 else Panels(tuple(made))

    @property
    def scorer(self) -> ScorePanel:
        """Return the user's function that is the reward. Errors: InputError when it is not given."""
        return ScorePanel(self.book, require(ScoreFunction, self._function, self.folder))

    # --- notes ------------------------------------------------------------------------------------------------------

    @contextmanager
    def step(self, current: Round, verb: str) -> Iterator[None]:
        """Note in the round's log how long a step took, in seconds.

        A step that would fail again and again ends the round, so that the next can begin with other settings.
        """
        begun = time.monotonic()
        try:
            yield
        except (DidNotConverge, NothingToLearn, TrainingStopped) as error:
            self.book.add(Decision(current.number, "too_little", f"The round was given up: {error.what}", error.remedy))
            raise
        finally:
            self._log(current, {"verb": verb, "seconds": time.monotonic() - begun})

    def log_lines(self, current: Round) -> list[dict[str, Json]]:
        """Return the lines of the round's log."""
        lines = _lines(self.round_folder(current) / LOG)
        return [json.loads(line) for line in lines if line.endswith("}")]  # a crash may have cut one short

    def seconds(self, current: Round) -> dict[str, float]:
        """Return the wall seconds that each verb of the round took, all its calls together."""
        spent: dict[str, float] = {}
        for line in self.log_lines(current):
            verb, seconds = line.get("verb"), line.get("seconds")
            if isinstance(verb, str) and isinstance(seconds, float):
                spent[verb] = spent.get(verb, 0.0) + seconds
        return spent

    def seconds_lines(self) -> list[str]:
        """Return a line a round: the seconds by verb, and the threads used."""
        rounds = [(current.number, self.seconds(current)) for current in self.book.rounds()]
        lines = [
            f"  round {number}: " + ", ".join(f"{v} {s:.0f}" for v, s in spent.items()) for number, spent in rounds
        ]
        return [*lines, f"  threads: {free_cores()}"]

    def gold_path(self, current: Round) -> Path:
        """Return where a demonstration keeps what the hidden utility says of a round."""
        return self.round_folder(current) / "gold.json"

    def gold_lines(self, current: Round) -> tuple[GoldLine, ...]:
        """Return what the hidden utility says of the rounds up to this one; empty but in a demonstration."""
        paths = [self.gold_path(known) for known in self.book.rounds() if known.number <= current.number]
        reader = TypeAdapter(tuple[GoldLine, ...])
        lines = [line for path in paths if path.exists() for line in reader.validate_json(path.read_text("utf-8"))]
        return tuple(dict.fromkeys(lines))  # every round says the same of the reference

    def report_input(self, current: Round) -> ReportInput:
        """Return what the round's report shows beside the book."""
        settlement = self.settlement(current)
        metrics = map(json.loads, _lines(self.round_folder(current) / "metrics.jsonl"))
        alarms = [line["alarm"] for line in self.log_lines(current) if "alarm" in line]
        return ReportInput(
            project=self.settings.project.name,
            round=current,
            metrics=[{name: one for name, one in line.items() if not isinstance(one, list)} for line in metrics],
            alarms=TypeAdapter(list[Alarm]).validate_python(alarms),
            skills=settlement.skills if settlement else (),
            seconds=self.seconds(current),
            gold=self.gold_lines(current),
        )

    def note_alarms(self, current: Round, alarms: Sequence[Alarm]) -> None:
        """Say the alarms of the tuning and keep them in the round's log."""
        for alarm in alarms:
            self.progress.say(f"Alarm '{alarm.name}': {alarm.sentence} {alarm.remedy}")
            self._log(current, {"alarm": asdict(alarm)})

    def _log(self, current: Round, line: Mapping[str, object]) -> None:
        path = self.round_folder(current) / LOG
        with storage_errors(path), path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def first(verb: str) -> str:
    """Return the remedy for a step whose step before is missing."""
    return f"Run 'expound {verb}' first."


def _newest_of(current: Round, records: Sequence[OfRound]) -> OfRound | None:
    return next((record for record in reversed(records) if record.round == current.number), None)


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


@contextmanager
def open_project(
    folder: Path, progress: Progress, *, lock: bool = True, wait: bool = True, function: OwnFunction | None = None
) -> Iterator[Project]:
    """Open a project folder, alone unless `lock` is False; `function` judges where a round begins with it.

    Errors: ProjectNotFound, SettingsError, TaskError, FolderBusy, StorageError; and of what is done with the project
    any, whose remedies name the folder from here on.
    """
    try:
        load_task(read_settings(folder).project.task, folder)
        held = locked(folder) if lock else nullcontext()
        with held, closing(Project(folder, progress, wait=wait, function=function)) as project:
            yield project
    except ExpoundError as error:
        error.remedy = with_folder(error.remedy, folder)
        raise


def read_settings(folder: Path) -> Settings:
    """Return the settings of a project folder."""
    path = folder / "project.toml"
    try:
        return parse(read_text(path, SettingsError), str(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ProjectNotFound(
            f"{folder.resolve()} has no project.toml.",
            "Name a project folder, or make one with 'expound init FOLDER --example answer'.",
        ) from error
