"""What the frozen model makes of texts that it did not write: a response's mean state, where the branch would begin."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from expound.files import write_file
from expound.models.branches import live_count, rollouts_from
from expound.models.conversion import cache_folder
from expound.models.cut import CUT_TOLERANCE, branch_of, cut_law_gap, decoder_of, layers_of, trunk_of
from expound.models.decoding import Asked, Drawn
from expound.models.layout import read_responses
from expound.models.loading import Loaded, prompt_ids
from expound.ports import Advance, Progress
from expound.records import Conversation, content_id
from expound.reward.fit import Floats

KEPT_TOGETHER, READ_TOGETHER = 256, 32
"""Texts that are kept in one file, and of these, alike in length, that run side by side."""

Row = tuple[Asked, int, Drawn]


@dataclass(frozen=True)
class Said:
    """A response as text, and what was asked."""

    prompt: str
    text: str


@dataclass(frozen=True)
class Trunk:
    """The layers below the branch, enough to see what goes into layer `first`."""

    layers: PreTrainedModel
    first: int


def read_texts(loaded: Loaded, texts: Sequence[Said], progress: Progress) -> Floats:
    """Return the mean state of each response, its end included, behind its prompt, [texts, width].

    What was read stays in the cache folder: an interrupted reading goes on, and a second one takes no time.
    Errors: PromptError for a text that the model cannot hold; StorageError.
    """
    trunk, parts = _trunk_of(loaded), []
    with progress.bar("read responses", len(texts)) as advance:
        for start in range(0, len(texts), KEPT_TOGETHER):
            rows = [_row(loaded, said) for said in texts[start : start + KEPT_TOGETHER]]
            parts.append(_kept(loaded, trunk, rows, advance))
    return np.concatenate(parts).astype(np.float64)


def _trunk_of(loaded: Loaded) -> Trunk:
    decoder = decoder_of(loaded.model)
    layers = len(layers_of(decoder))
    first = layers - live_count("third", layers)
    is_cut = cut_law_gap(decoder, branch_of(decoder, first), first) <= CUT_TOLERANCE
    return Trunk(trunk_of(decoder, first) if is_cut else decoder, first)


def _row(loaded: Loaded, said: Said) -> Row:
    tokens = (*loaded.tokenizer.encode(said.text.strip(), add_special_tokens=False), loaded.end_tokens[0])
    shown = f"'{said.prompt[:40]}…'"
    asked = Asked(said.prompt, prompt_ids(loaded, Conversation("", said.prompt), shown, len(tokens)))
    return asked, 0, Drawn(tokens, (math.nan,) * len(tokens), finished=True)


def _kept(loaded: Loaded, trunk: Trunk, rows: Sequence[Row], advance: Advance) -> NDArray[np.float32]:
    """Return the states of some texts, from the cache folder where they are there."""
    told = [[list(asked.tokens), list(drawn.tokens)] for asked, _, drawn in rows]
    path = cache_folder() / "states" / f"{content_id(loaded.identity, trunk.first, told)}.npy"
    if path.is_file():
        advance(len(rows))
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return found
    order, parts = _alike(rows), []
    for start in range(0, len(order), READ_TOGETHER):
        some = [rows[place] for place in order[start : start + READ_TOGETHER]]
        rollouts = rollouts_from(some, 1.0, loaded.model.device)
        parts.append(read_responses(trunk.layers, rollouts, trunk.first).cpu().numpy())
        advance(len(some))
    states: NDArray[np.float32] = np.concatenate(parts)[np.argsort(order)]
    held = io.BytesIO()
    np.save(held, states, allow_pickle=False)
    write_file(path, held.getvalue())
    return states


def _alike(rows: Sequence[Row]) -> list[int]:
    """Return the places of the texts, those of a prompt in a row and like lengths near, so that little is padded."""
    longest: dict[str, int] = {}
    for asked, _, drawn in rows:
        longest[asked.prompt] = max(longest.get(asked.prompt, 0), len(drawn.tokens))
    names = [asked.prompt for asked, _, _ in rows]
    return sorted(range(len(rows)), key=lambda place: (longest[names[place]], names[place], place))
