"""The cut: the last layers of a decoder as a branch of their own, fed with what the layers below gave.

A branch is a copy of the decoder's structure over the same weights, so masks, rotary tables and norms stay the affair
of transformers. What a decoder does to input embeddings is neutralised in it. Whether that holds for a family is
checked at load (`cut_law_gap`), not assumed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from expound.errors import ModelRefused

CUT_TOLERANCE = 1e-5
_LAYER_LISTS = ("layers", "h", "blocks")

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class _NoPositions(nn.Module):
    """Stands where learned positions were added already, below the cut."""

    def forward(self, positions: Tensor, *_rest: object, **_more: object) -> Tensor:
        return torch.zeros((), device=positions.device)


_NEUTRAL = {"wpe": _NoPositions, "embed_positions": _NoPositions, "word_embeddings_layernorm": nn.Identity}
"""What takes the place of a part that acted on the embeddings below the cut."""


def shared_copy(module: ModuleT) -> ModuleT:
    """Return a copy of a module's structure whose weights and buffers are those of the original."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, memo=dict(shared))


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return the stack of layers below the head (OPT and its like keep it one floor further down)."""
    base = model.base_model
    inner = dict(base.named_children()).get("decoder", base)
    assert isinstance(inner, PreTrainedModel)
    return inner


def layers_of(decoder: PreTrainedModel) -> nn.ModuleList:
    """Return the list of decoder layers.

    Errors: ModelRefused when there is none under a name we know.
    """
    return _layer_list(decoder)[1]


def branch_of(decoder: PreTrainedModel, first: int) -> PreTrainedModel:
    """Return the layers from `first` on with the final norm, to be called with `inputs_embeds`."""
    branch = _with_layers(decoder, slice(first, None))
    children = dict(branch.named_children())
    for name, stand_in in _NEUTRAL.items():
        if name in children:
            branch.add_module(name, stand_in())
    if "embedding_multiplier" in vars(branch):
        vars(branch)["embedding_multiplier"] = 1.0
    return branch


def trunk_of(decoder: PreTrainedModel, first: int) -> PreTrainedModel:
    """Return the layers up to `first`, it included: enough to tap what goes into it."""
    return _with_layers(decoder, slice(0, first + 1))


@contextmanager
def tapped(decoder: PreTrainedModel, first: int) -> Iterator[list[Tensor]]:
    """Give a list that grows by the input of layer `first`, [rows, columns, width], at each call in the block."""
    seen: list[Tensor] = []

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        seen.append(inputs[0] if inputs else named["hidden_states"])

    hook = layers_of(decoder)[first].register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


@torch.no_grad()
def cut_law_gap(decoder: PreTrainedModel, branch: PreTrainedModel, first: int) -> float:
    """Return how far the branch on the trunk's output is from the whole decoder, on two short rows.

    Infinite when the branch cannot run.
    """
    device = next(decoder.parameters()).device
    rows = torch.arange(16, device=device).view(2, 8) % decoder.get_input_embeddings().get_parameter("weight").shape[0]
    with tapped(decoder, first) as below:
        whole = decoder(input_ids=rows, attention_mask=torch.ones_like(rows), use_cache=False)[0]
    try:
        above = branch(inputs_embeds=below[0], use_cache=False)[0]
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError):
        return float("inf")
    return float((whole - above).abs().max())


def _with_layers(decoder: PreTrainedModel, kept: slice) -> PreTrainedModel:
    part = shared_copy(decoder)
    name, layers = _layer_list(part)
    remaining = nn.ModuleList(list(layers)[kept])
    part.add_module(name, remaining)
    config = part.config
    config.num_hidden_layers = len(remaining)
    if config.to_dict().get("layer_types"):
        config.layer_types = config.layer_types[kept]
    # A key-value cache of a part begins with the part's own first layer.
    for module in remaining.modules():
        if "layer_idx" in vars(module):
            vars(module)["layer_idx"] -= kept.start
    return part


def _layer_list(decoder: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    children = dict(decoder.named_children())
    for name in _LAYER_LISTS:
        found = children.get(name)
        if isinstance(found, nn.ModuleList) and len(found):
            return name, found
    raise ModelRefused(
        f"{type(decoder).__name__} keeps its layers under no known name ({', '.join(_LAYER_LISTS)}).",
        "Choose another model family, such as Llama, GPT-2 or Qwen2.",
    )
