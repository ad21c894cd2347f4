"""A key-value cache that grows in place, so that a decoding step copies one token and not the whole past."""

from __future__ import annotations

from inspect import signature

from torch import Tensor
from torch.nn import Module
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Columns kept free beyond what is held when a buffer is made anew."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer in buffers with room; without gradients only."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_rest: object, **_more: object
    ) -> tuple[Tensor, Tensor]:
        """Append the new columns and return all of them, as views."""
        if self._buffers is None:
            self.lazy_initialization(key_states, value_states)
            self._buffers = (_empty(key_states, 0), _empty(value_states, 0))
        held = self.get_seq_length()
        total = held + key_states.shape[-2]
        if self._buffers[0].shape[-2] < total:
            self._buffers = (_moved(self._buffers[0], held, total), _moved(self._buffers[1], held, total))
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., held:total, :] = new
        return self._show(self._buffers, total)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep, repeat or reorder rows."""
        if self._buffers is not None:
            held = self.get_seq_length()
            self._buffers = (self._buffers[0][indices], self._buffers[1][indices])
            self._show(self._buffers, held)

    def _show(self, buffers: tuple[Tensor, Tensor], columns: int) -> tuple[Tensor, Tensor]:
        keys, values = (buffer[..., :columns, :] for buffer in buffers)
        self.keys, self.values = keys, values
        return keys, values


def new_cache(decoder: PreTrainedModel) -> DynamicCache:
    """Return an empty cache for a decoder; its sliding-window layers keep the kind that transformers gives them."""
    cache = DynamicCache(config=decoder.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def run_decoder(
    decoder: PreTrainedModel, inputs: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache
) -> Tensor:
    """Return the final states [rows, columns, width] of tokens [rows, columns] or embeddings [rows, columns, width].

    `mask` covers what the cache holds and the new columns; the cache grows by them.
    """
    # transformers 5.24 calls the argument "cache", and 5.40 takes the old name away.
    is_new = any(
        "cache" in signature(kind.forward).parameters for kind in type(decoder).__mro__ if issubclass(kind, Module)
    )
    named = {
        "inputs_embeds" if inputs.is_floating_point() else "input_ids": inputs,
        "cache" if is_new else "past_key_values": cache,
    }
    states: Tensor = decoder(attention_mask=mask, position_ids=positions, use_cache=True, **named)[0]
    return states


def _empty(like: Tensor, columns: int) -> Tensor:
    return like.new_empty(*like.shape[:-2], columns, like.shape[-1])


def _moved(buffer: Tensor, held: int, total: int) -> Tensor:
    roomy = _empty(buffer, total + ROOM)
    roomy[..., :held, :] = buffer[..., :held, :]
    return roomy
