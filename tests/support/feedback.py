"""Prompts, responses and judgments such as a round leaves, to be written into files."""

from __future__ import annotations

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
