"""Model reference -> model, tokenizer and identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Loaded:
    """A model that is ready: fp32, eval() for good, nothing requires a gradient.

    `identity` is the hash of config, tokenizer and weights; `end_tokens` end a response; `context` is the number of
    tokens the model can hold, None when it names no limit; `notes` are sentences to show once.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    identity: str
    end_tokens: tuple[int, ...]
    pad_token: int
    context: int | None
    folder: Path
    notes: tuple[str, ...] = ()


def load(reference: str, *, base: Path | None = None, say: Callable[[str], None] | None = None) -> Loaded:
    """Load `package:MODULE/FILE`, a folder, a .gguf file or a hub name; relative paths are relative to `base`."""
    raise NotImplementedError
