"""Prompts, responses and judgments such as a round leaves, to be written into files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from expound.errors import JudgmentError
from expound.records import Prompt, Response
from expound.tasks.imported import Feedback, Imported
from expound.tasks.material import prompt_of

NAME = "notes"


def response(prompt: Prompt, text: str) -> Response:
    """Return a response of a file called NAME."""
    policy = f"file:{NAME}"
    return Response(Response.make_id(prompt.id, policy, 0, 0, text), prompt.id, text, policy, 0, 0, finished=True)


FROST, MIST = prompt_of("Why does frost form on grass?"), prompt_of("Why does mist lie in valleys?", "Cold air sinks.")
GRASS, SUGAR, LAZY = (
    response(FROST, text) for text in ("Grass cools and vapour freezes on it.", "It is sugar.", "It is lazy; it lies.")
)
SINKS = response(MIST, "Cold, damp air collects there.")
PROMPTS = (FROST, MIST)
RESPONSES = (GRASS, SUGAR, LAZY, SINKS)


def as_feedback(found: Imported) -> Feedback:
    """Return what a file gave as what a file can be made of."""
    return Feedback(found.prompts, found.responses, found.judgments)


def assert_refused(read: Callable[[Path], object], path: Path, item: object, sentence: str) -> None:
    """Write a file of one item and see it refused, by that sentence and the item's place."""
    path.write_text(json.dumps([item]), encoding="utf-8")
    with pytest.raises(JudgmentError) as caught:
        read(path)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"{path}: item 1")
