"""Every error the product raises, each with its exit code.

ExpoundError                 1   a bug, or anything not named below
├─ InputError                2   what the user gave is wrong
│  ├─ SettingsError              project.toml
│  ├─ PromptError                prompt files
│  ├─ TaskError                  a task or its rubric
│  ├─ JudgmentError              an answer or a file of judgments
│  ├─ ModelNotFound              the model reference leads nowhere
│  ├─ ModelRefused               it is there, but cannot or must not be used
│  ├─ ProjectNotFound            no project folder here, or one that is there already
│  ├─ FolderBusy                 another process works in this folder
│  └─ PortInUse                  the address of the rating site is taken
├─ WaitingForPeople          3   judgments are missing
├─ StorageError              4   the disk or the database failed
├─ StoppedItself             5   going on would be wrong
│  ├─ DidNotConverge             a fit
│  ├─ TrainingStopped            an alarm of the tuning
│  └─ NothingToLearn             a constant reward, or no judgments that tell anything
└─ Interrupted             130   Ctrl-C; the same command continues
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

QUOTED = re.compile(r"'expound ([a-z]+(?: [A-Z]+)?)'")
"""A command in a sentence that knows no folder, such as 'expound run' or 'expound invite NAME'."""


class ExpoundError(Exception):
    """What went wrong in one sentence, and what to do in another."""

    exit_code = 1

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".strip()


def command(verb: str, folder: Path) -> str:
    """Return a command for a project folder as it can be pasted; `verb` may bring what comes after the folder."""
    name, _, rest = verb.partition(" ")
    named = [] if folder == Path() and not rest else [quote(str(folder))]
    return " ".join(["expound", name, *named, *filter(None, [rest])])


def with_folder(text: str, folder: Path) -> str:
    """Return a text with the project folder in every command that it quotes."""

    def named(found: re.Match[str]) -> str:
        told = command(found[1], folder)
        return f'"{told}"' if "'" in told else f"'{told}'"

    return QUOTED.sub(named, text)


def nearest(word: str, known: Sequence[str]) -> str:
    """Return the remedy for an unknown word: the known one that it is like, or all of them."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f"Did you mean '{near[0]}'?" if near else f"There are {', '.join(known)}."


class InputError(ExpoundError):
    """What the user gave is wrong."""

    exit_code = 2


class SettingsError(InputError):
    """A key or a value of project.toml."""


class PromptError(InputError):
    """A prompt file or a prompt in it."""


class TaskError(InputError):
    """A task, its template or its rubric."""


class JudgmentError(InputError):
    """An answer that does not fit its ballot."""


class ModelNotFound(InputError):
    """The model reference leads nowhere."""


class ModelRefused(InputError):
    """The model is there, but cannot or must not be used."""


class ProjectNotFound(InputError):
    """There is no project folder here, or there is one already."""


class FolderBusy(InputError):
    """Another process works in this folder."""


class PortInUse(InputError):
    """The address of the rating site is taken."""


class WaitingForPeople(ExpoundError):
    """Judgments are missing."""

    exit_code = 3


class StorageError(ExpoundError):
    """The disk or the database failed; nothing acknowledged is lost."""

    exit_code = 4


class StoppedItself(ExpoundError):
    """Going on would be wrong."""

    exit_code = 5


class DidNotConverge(StoppedItself):
    """A fit ended before it reached its tolerance."""


class TrainingStopped(StoppedItself):
    """An alarm of the tuning asked to stop."""


class NothingToLearn(StoppedItself):
    """The judgments or the reward tell nothing apart."""


class Interrupted(ExpoundError):
    """Ctrl-C; the same command continues."""

    exit_code = 130
