"""Making a project folder: from a finished example, from prompt files, or from prompts given in Python.

A task that the package does not have begins as a complete task.toml for the user to edit, with sample prompts where
none were given.
"""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from expound.errors import InputError, ProjectNotFound, PromptError, TaskError, command
from expound.files import read_text, staged_folder, write_file
from expound.project import read_settings
from expound.records import Json
from expound.tasks.kinds import OWN_FILE, built_in, is_untouched, skeleton
from expound.tasks.kinds import load as load_task
from expound.tasks.material import SPLITS, check_splits, read_prompts

SHOWN = 1500
"""Characters of a prompt that a preview shows."""

Given = str | Path | Mapping[str, Json]
SAMPLES = "prompts/samples.jsonl"
SAMPLE_PROMPTS: tuple[Mapping[str, Json], ...] = (
    {
        "id": "sample-greenhouse",
        "split": "train",
        "text": "Why were the tomatoes in the greenhouse cold?",
        "source": "On Tuesday the tomatoes were cold to the touch. A gull had cracked a pane, and wind blew in."
        " The thermometer by the hole read four degrees, the one at the door twelve.",
    },
    {
        "id": "sample-ferry",
        "split": "held_out",
        "text": "Why did the ferry leave late?",
        "source": "The ferry left at nine instead of eight. Its ramp would not rise, because sand had filled the hinge."
        " When the crew had washed the sand out, the ramp went up at once.",
    },
)
PEOPLE_TOML = """[project]
format = 1
name = {}
task = {}
model = {}
prompts = "prompts/*"

[panel]
kinds = ["people"]

[asking]
ballots = ["comparison"]
overlap = 3
overlap_share = 0.0                 # 0.2 once three people or more judge

[stopping]
max_rounds = 5
"""


def create(folder: Path, *, task: str, model: str, prompts: Sequence[Given], example: str | None) -> None:
    """Make a project folder that appears whole or not at all.

    A `task` that does not exist yet is begun: task.toml is there to edit, and sample prompts where there are none.
    Errors: ProjectNotFound when something is there, InputError for an unknown example, PromptError, TaskError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectNotFound(f"{folder} is there already and not empty.", "Name a folder that does not exist yet.")
    beneath = next(parent for parent in folder.absolute().parents if parent.exists())
    if not beneath.is_dir():
        raise ProjectNotFound(f"{beneath} is a file, so that no folder can be made in it.", "Name another folder.")
    # An empty folder stays what it is, since a shell may stand in it: the project is made inside and moved up.
    target = folder / "project" if folder.is_dir() else folder
    with staged_folder(target) as staging:
        if example is not None:
            _copy_example(example, staging)
        else:
            _write(staging, folder.resolve().name, task, model, prompts)
        _check(staging, folder)
    if target != folder:
        # project.toml comes last: without it the folder is no project.
        for entry in sorted(target.iterdir(), key=lambda entry: entry.name == "project.toml"):
            entry.rename(folder / entry.name)
        target.rmdir()


def _check(staging: Path, folder: Path) -> None:
    try:
        settings = read_settings(staging)
        load_task(settings.project.task, staging)
        check_splits(read_prompts(staging, settings.project.prompts))
    except InputError as error:  # Nobody has seen the staging folder.
        raise type(error)(error.what.replace(str(staging), str(folder)), error.remedy) from error


def examples() -> tuple[str, ...]:
    """Return the names of the finished examples in the package."""
    root = resources.files("expound.examples")
    return tuple(sorted(entry.name for entry in root.iterdir() if (entry / "project.toml").is_file()))


def _copy_example(name: str, target: Path) -> None:
    if name not in examples():
        raise InputError(f"there is no example '{name}'.", f"There are: {', '.join(examples())}.")
    with resources.as_file(resources.files("expound.examples") / name) as source:
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def _write(target: Path, name: str, task: str, model: str, prompts: Sequence[Given]) -> None:
    if isinstance(prompts, str):
        raise PromptError("one text was given where a list of prompts belongs.", "Put it into brackets.")
    if task not in built_in():
        _begin_task(task, target, has_prompts=bool(prompts))
    elif not prompts:
        raise PromptError("a project needs prompts, and none were given.", "Give --prompts FILE, or --example answer.")
    here = Path(model)  # a folder or file, which is to be found from wherever the command is called
    values = (name, task, str(here.resolve()) if here.exists() else model)
    write_file(target / "project.toml", PEOPLE_TOML.format(*(json.dumps(one, ensure_ascii=False) for one in values)))
    told = [_columns(given) for given in prompts if not isinstance(given, Path)]
    if told:
        write_file(target / "prompts" / "prompts.jsonl", _lines(told))
    for given in prompts:
        if isinstance(given, Path):
            _copy_prompts(given, target / "prompts")


def _begin_task(task: str, target: Path, *, has_prompts: bool) -> None:
    write_file(target / OWN_FILE, skeleton(task))
    if not has_prompts:
        write_file(target / SAMPLES, _lines(SAMPLE_PROMPTS))


def _columns(given: str | Mapping[str, Json]) -> Mapping[str, Json]:
    if not isinstance(given, str | Mapping):
        raise PromptError(
            f"{given!r} is no prompt.", "Give a text, an object with 'text', or the path of a prompt file."
        )
    return {"text": given} if isinstance(given, str) else given


def _lines(prompts: Sequence[Mapping[str, Json]]) -> str:
    return "".join(json.dumps(dict(prompt), ensure_ascii=False) + "\n" for prompt in prompts)


def _copy_prompts(source: Path, folder: Path) -> None:
    if not source.is_file():
        raise PromptError(f"there is no prompt file {source}.", "Give the path of a .jsonl, .csv or .txt file.")
    read_prompts(source.parent, glob.escape(source.name))  # Here, so that errors name the user's own file.
    if (folder / source.name).exists():
        raise PromptError(f"two of the prompt files are called {source.name}.", "Rename one of them.")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / source.name)


def preview(folder: Path, first: int = 3) -> str:
    """Return the first prompts as the model will see them, and how many there are of each split."""
    settings = read_settings(folder)
    task = load_task(settings.project.task, folder)
    prompts = read_prompts(folder, settings.project.prompts)
    shown = []
    for prompt in prompts[:first]:
        conversation = task.render(prompt)
        user, size = conversation.user, len(conversation.user)
        user = user if size <= SHOWN else f"{user[:SHOWN]} … ({size} characters in all)"
        shown.append(f"--- {prompt.name}\n[system] {conversation.system}\n[user] {user}")
    counts = {split: sum(prompt.split == split for prompt in prompts) for split in SPLITS}
    spread = ", ".join(f"{count} {split.replace('_', '-')}" for split, count in counts.items())
    shown.append(f"\n{len(prompts)} prompts: {spread}.\n{_next_step(folder, settings.project.task)}")
    return "\n".join(shown)


def _next_step(folder: Path, task: str) -> str:
    """Return what to do: write a task that is still as it was begun, put prompts in place of the samples, run."""
    own, samples = folder / OWN_FILE, folder / SAMPLES
    steps = []
    if task not in built_in() and is_untouched(read_text(own, TaskError)):
        steps.append(f"write your task into {own} (a working example; its comments say what each part is for)")
    if samples.exists():
        steps.append(f"put your prompts into {samples.parent} and remove {samples.name}")
    return f"Next: {', then '.join([*steps, command('run', folder)])}"
