"""A key-value cache that grows in place, so that a decoding step copies one token and not the whole past."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Columns kept free beyond what is held when a buffer is made anew."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer in buffers with room; without gradients only."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_rest: object, **_more: object
    ) -> tuple[Tensor, Tensor]:
        """Append the new columns and return all of them, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held, total = self.get_seq_length(), self.get_seq_length() + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < total:
            self._buffers = tuple(_roomy(old, new, held) for old, new in ((self.keys, key_states), (self.values, value_states)))
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., held:total, :] = new
        self._show(total)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep, repeat or reorder rows."""
        if self._buffers is not None:
            held = self.get_seq_length()
            self._buffers = (self._buffers[0][indices], self._buffers[1][indices])
            self._show(held)

    def _show(self, columns: int) -> None:
        assert self._buffers is not None
        self.keys, self.values = (buffer[..., :columns, :] for buffer in self._buffers)


def new_cache(decoder: PreTrainedModel) -> DynamicCache:
    """Return an empty cache for a decoder; its sliding-window layers keep the kind that transformers gives them."""
    cache = DynamicCache(config=decoder.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _roomy(old: Tensor, new: Tensor, held: int) -> Tensor:
    rows, heads, added, width = new.shape
    buffer = torch.empty(rows, heads, held + added + ROOM, width, dtype=new.dtype, device=new.device)
    if held:
        buffer[..., :held, :] = old
    return buffer
