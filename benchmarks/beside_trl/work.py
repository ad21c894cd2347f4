"""The questions as prompts, and the folder of weights that both sides open."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.beside_trl.task import SYSTEM
from expound.api import DEFAULT_MODEL
from expound.models.conversion import converted
from expound.models.loading import Loaded, prompt_ids
from expound.models.reference import resolve
from expound.records import Conversation, Prompt, Text


def say(line: str) -> None:
    """Tell what is being done."""
    sys.stderr.write(f"{line}\n")


def weights_folder() -> Path:
    """Return the folder with the default model's fp32 weights and tokenizer."""
    return converted(resolve(DEFAULT_MODEL, Path.cwd()), say)


def questions(wording: str, topics: Sequence[str]) -> list[Prompt]:
    """Return a question about each topic."""
    return [Prompt(topic, (Text("question", wording.format(what=topic)),)) for topic in topics]


def render(prompt: Prompt) -> Conversation:
    """Return a question as the model sees it, before the chat template."""
    return Conversation(SYSTEM, prompt.text)


def ids_of(loaded: Loaded, prompts: Sequence[Prompt]) -> tuple[tuple[int, ...], ...]:
    """Return questions as token ids, chat marks included."""
    return tuple(prompt_ids(loaded, render(one), one.id, 0) for one in prompts)
