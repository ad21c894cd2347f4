"""Every class of error: its exit code, its place in the tree, and how it reads."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest

from expound import errors
from expound.errors import ExpoundError, command, with_folder

CODES = {
    "ExpoundError": 1,
    "InputError": 2,
    "SettingsError": 2,
    "PromptError": 2,
    "TaskError": 2,
    "JudgmentError": 2,
    "ModelNotFound": 2,
    "ModelRefused": 2,
    "ProjectNotFound": 2,
    "FolderBusy": 2,
    "PortInUse": 2,
    "WaitingForPeople": 3,
    "StorageError": 4,
    "StoppedItself": 5,
    "DidNotConverge": 5,
    "TrainingStopped": 5,
    "NothingToLearn": 5,
    "Interrupted": 130,
}
CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, Exception) and found.__module__ == errors.__name__
]
TREE = re.compile(r"^(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+) {2,}(?P<rest>\S.*)$", re.MULTILINE)


def drawn() -> dict[str, tuple[str | None, int]]:
    """Return what the tree at the top of the module says: each class with its parent and its exit code."""
    found: dict[str, tuple[str | None, int]] = {}
    above: list[tuple[int, str]] = []
    for line in TREE.finditer(errors.__doc__ or ""):
        depth, name = len(line["indent"]), line["name"]
        above = [(at, parent) for at, parent in above if at < depth]
        parent = above[-1][1] if above else None
        number = re.match(r"\d+", line["rest"])
        code = int(number[0]) if number else found[parent or ""][1]
        found[name] = (parent, code)
        above.append((depth, name))
    return found


def test_every_class_has_its_exit_code() -> None:
    assert {found.__name__: found.exit_code for found in CLASSES} == CODES


def test_the_tree_at_the_top_is_the_truth() -> None:
    truth = {
        found.__name__: (None if found is ExpoundError else found.__bases__[0].__name__, found.exit_code)
        for found in CLASSES
    }
    assert drawn() == truth


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_says_what_and_what_to_do(kind: type[ExpoundError]) -> None:
    error = kind("The pump is dry.", "Fill it.")
    assert str(error) == "The pump is dry. Fill it."
    assert (error.what, error.remedy) == ("The pump is dry.", "Fill it.")
    assert isinstance(error, Exception)
    assert kind.__doc__


@pytest.mark.parametrize("folder", ["incidents", "../a b", "it's", "$HOME", "-x", "."])
def test_a_command_brings_its_folder_whatever_it_is_called(folder: str) -> None:
    assert shlex.split(command("invite NAME", Path(folder))) == ["expound", "invite", folder, "NAME"]
    assert shlex.split(command("run", Path(folder))) == ["expound", "run", *([] if folder == "." else [folder])]


def test_commands_in_a_sentence_bring_the_folder_and_what_is_no_command_stays() -> None:
    text = "Run 'expound run', or 'expound invite NAME'; 'expound init FOLDER --example answer' and 'x' stay."
    told = with_folder(text, Path("a b"))
    assert told == (
        "Run \"expound run 'a b'\", or \"expound invite 'a b' NAME\"; "
        "'expound init FOLDER --example answer' and 'x' stay."
    )
    assert with_folder(told, Path("a b")) == told
    assert with_folder("Run 'expound run'.", Path("demo")) == "Run 'expound run demo'."
