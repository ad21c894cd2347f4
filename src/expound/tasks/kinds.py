"""Kinds of explanation: what the model is told, how a prompt is put to it, and what a good answer is.

A kind is a TOML file: one that comes with the package, or `task.toml` in the project folder.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from pydantic import Field, ValidationError

from expound.errors import SettingsError, TaskError, nearest
from expound.files import read_text
from expound.records import Conversation, Prompt
from expound.rubric import Criterion, Form, Length, Point, Rubric
from expound.settings import LONGEST, first_mistake, must, shown, toml_as_json

PLACE = re.compile(r"\{(\w+)\}")
PLACES = ("text", "source")
OWN_FILE = "task.toml"
SKELETON, UNNAMED = "skeleton.toml", 'name = "NAME"'
NAME = re.compile(r"\w[\w -]*")
ALIKE = 0.75  # of a built-in name: more like it than this, and a new name is taken for a slip


class Task(Rubric):
    """A kind of explanation: its rubric, and how a prompt is put to the model.

    `template` has {text} for the question and may have {source} for the passage.
    """

    system: str
    template: str
    criteria: tuple[Criterion, ...] = Field(min_length=1)

    def asked(self, named: Sequence[str]) -> tuple[str, ...]:
        """Return the criteria that ratings ask about: those named, or all. Errors: SettingsError for an unknown one."""
        known = tuple(criterion.name for criterion in self.criteria)
        for name in named:
            if name not in known:
                raise SettingsError(f"[asking] criteria: '{self.name}' has no '{name}'.", nearest(name, known))
        return tuple(named) or known

    def render(self, prompt: Prompt) -> Conversation:
        """Return the prompt as the model will see it; without a source, its paragraphs of the template are left out."""
        values = {"text": prompt.text, "source": prompt.source}
        paragraphs = self.template.split("\n\n")
        kept = paragraphs if prompt.source else [one for one in paragraphs if "{source}" not in one]
        return Conversation(self.system, PLACE.sub(lambda found: values[found[1]], "\n\n".join(kept)))


def load(name: str, folder: Path) -> Task:
    """Return the task of that name: one of the package's, or the one in the folder's task.toml.

    Errors: TaskError for an unknown name (with the nearest one) and for a file that is no task.
    """
    if name in built_in():
        return parse(_packaged(f"{name}.toml"), f"{name}.toml")
    own = folder / OWN_FILE
    if not own.is_file():
        raise _unknown(name, built_in())
    task = parse(read_text(own, TaskError), OWN_FILE)
    if task.name != name:
        raise _unknown(name, (*built_in(), task.name))
    return task


def built_in() -> tuple[str, ...]:
    """Return the names of the tasks that come with the package."""
    names = (file.name for file in resources.files("expound.tasks").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml") and name != SKELETON))


def skeleton(name: str) -> str:
    """Return the text of a task file with which a task of one's own begins: complete, with comments to follow.

    Errors: TaskError for what is no name, and for one that looks like a slip in a built-in task's.
    """
    if not NAME.fullmatch(name):
        raise TaskError(f"a task cannot be called '{name}'.", "Use letters, digits, spaces and hyphens.")
    if difflib.get_close_matches(name, built_in(), n=1, cutoff=ALIKE):
        remedy = nearest(name, built_in())
        raise TaskError(f"there is no task '{name}'.", f"{remedy} Give a task of your own a name less like that.")
    return _packaged(SKELETON).replace(UNNAMED, f"name = {json.dumps(name, ensure_ascii=False)}", 1)


def is_untouched(text: str) -> bool:
    """Say whether a task file is still as `skeleton` gave it."""
    return re.sub(r"^name = .*$", UNNAMED, text, count=1, flags=re.MULTILINE) == _packaged(SKELETON)


def _packaged(file: str) -> str:
    return resources.files("expound.tasks").joinpath(file).read_text(encoding="utf-8")


def parse(text: str, where: str) -> Task:
    """Return the task that the text of a TOML file describes; `where` names the file in errors.

    Errors: TaskError for broken TOML, missing or unknown keys (with the nearest name), and a template without {text}.
    """
    told = toml_as_json(text, where, TaskError)
    try:
        task = Task.model_validate_json(told)
    except ValidationError as error:
        raise _explain(error, where) from error
    except TaskError as error:
        raise TaskError(f"{where}: {error.what}", error.remedy) from error
    _check_template(task.template, where)
    return task


def _check_template(template: str, where: str) -> None:
    places = PLACE.findall(template)
    unknown = next((place for place in places if place not in PLACES), None)
    if unknown is not None:
        raise TaskError(f"{where}: the template has {{{unknown}}}.", nearest(unknown, PLACES))
    if not any("text" in PLACE.findall(part) and "{source}" not in part for part in template.split("\n\n")):
        raise TaskError(
            f"{where}: the template has no paragraph with {{text}} and without {{source}}.",
            "Put the question into a paragraph of its own; that of the source is left out where there is none.",
        )


def _explain(error: ValidationError, where: str) -> TaskError:
    first = first_mistake(error)
    path = ".".join(str(step)[:LONGEST] for step in first["loc"])
    if first["type"] == "missing":
        return TaskError(f"{where}: '{path}' is missing.", "Add it.")
    if first["type"] == "extra_forbidden":
        return TaskError(f"{where}: there is no key '{path}'.", nearest(str(first["loc"][-1]), _known(first["loc"])))
    return TaskError(f"{where}: '{path}' {must([first])}, not {shown(first['input'])}.", "Change it.")


def _known(path: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return the keys that may stand where an unknown one does."""
    forms: Mapping[str, type[Form]] = {"criteria": Criterion, "points": Point, "length": Length}
    tables = [step for step in path[:-1] if isinstance(step, str)]
    return tuple((forms[tables[-1]] if tables else Task).model_fields)


def _unknown(name: str, known: Sequence[str]) -> TaskError:
    return TaskError(f"there is no task '{name}'.", f"{nearest(name, known)} Your own task goes into {OWN_FILE}.")
