"""Low-rank deltas on frozen linear layers: x W' + (32 / 16) x A' B', with A normal and B zero at the start.

A live layer is named as the whole model counts it: "20.mlp.up_proj" is in layer 20, wherever it stands in a branch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from expound.errors import ModelRefused
from expound.models.cut import decoder_of, layers_of, shared_copy

RANK = 16
ALPHA = 32
SCALE = ALPHA / RANK
_DELTA = (".a", ".b")
_OTHER_MODEL = "The policy was tuned on another model; name that one in project.toml."


class LowRank(nn.Module):
    """A frozen linear layer (or GPT-2's Conv1D, which keeps its weight transposed) with a delta that learns.

    `a` [rank, inputs] is normal with variance 1 / inputs; `b` [outputs, rank] is zero, so the layer starts unchanged.
    """

    def __init__(self, frozen: nn.Linear | Conv1D, generator: torch.Generator) -> None:
        super().__init__()
        self.frozen = frozen
        outputs, inputs = (frozen.weight.T if isinstance(frozen, Conv1D) else frozen.weight).shape
        draw = torch.randn(RANK, inputs, generator=generator) / math.sqrt(inputs)
        self.a = Parameter(draw.to(frozen.weight.device, frozen.weight.dtype))
        self.b = Parameter(self.a.new_zeros(outputs, RANK))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's output with the delta added."""
        output: Tensor = self.frozen(inputs)
        return output + functional.linear(functional.linear(inputs, self.a), self.b * SCALE)


def make_low_rank(decoder: PreTrainedModel, live: int, first: int, generator: torch.Generator) -> dict[str, Parameter]:
    """Put a delta on every linear layer of the last `live` layers of a decoder, in place.

    Returns what learns, in a fixed order, as "20.mlp.up_proj.a" and ".b"; `first` is the number that the whole model
    gives to the first of these layers.
    """
    learning: dict[str, Parameter] = {}
    for index, layer in enumerate(list(layers_of(decoder))[-live:], start=first):
        for path, linear in list(layer.named_modules()):
            if isinstance(linear, nn.Linear | Conv1D):
                low_rank = LowRank(linear, generator)
                parent, _, child = path.rpartition(".")
                layer.get_submodule(parent).add_module(child, low_rank)
                learning |= {f"{index}.{path}.a": low_rank.a, f"{index}.{path}.b": low_rank.b}
    return learning


def with_learnt(model: PreTrainedModel, learnt: Mapping[str, Tensor]) -> PreTrainedModel:
    """Return the model with what was learnt in any mode: deltas, or weights in place of its own.

    Errors: ModelRefused when a name or a shape does not fit the model.
    """
    if all(name.endswith(_DELTA) for name in learnt):
        return merged_copy(model, learnt)
    own = copy.deepcopy(model)
    weights = dict(own.named_parameters())
    wrong = sorted(set(weights) ^ set(learnt)) or sorted(
        name for name, one in learnt.items() if one.shape != weights[name].shape
    )
    if wrong:
        raise ModelRefused(f"The stored weights do not fit the model (first difference: {wrong[0]}).", _OTHER_MODEL)
    with torch.no_grad():
        for name, one in learnt.items():
            weights[name].copy_(one)
    return own


def merged_copy(model: PreTrainedModel, deltas: Mapping[str, Tensor]) -> PreTrainedModel:
    """Return the model with deltas added to weights of its own; everything else is shared.

    Errors: ModelRefused when a name or a shape does not fit the model.
    """
    merged = shared_copy(model)
    layers = layers_of(decoder_of(merged))
    for name in _names(deltas):
        linear = _linear(layers, name)
        linear.weight = Parameter(linear.weight.detach().clone(), requires_grad=False)
    merge_into(merged, model, deltas)
    return merged


@torch.no_grad()
def merge_into(merged: PreTrainedModel, model: PreTrainedModel, deltas: Mapping[str, Tensor]) -> None:
    """Set the weights of `merged`, which `merged_copy` made, to those of the model plus the deltas.

    Errors: ModelRefused when a name or a shape does not fit the model.
    """
    own, frozen = layers_of(decoder_of(merged)), layers_of(decoder_of(model))
    for name in _names(deltas):
        source, target = _linear(frozen, name), _linear(own, name)
        delta = (deltas[f"{name}.b"].to(source.weight) * SCALE) @ deltas[f"{name}.a"].to(source.weight)
        delta = delta.T if isinstance(source, Conv1D) else delta
        if delta.shape != source.weight.shape:
            raise ModelRefused(f"The delta of layer {name} has another shape than the layer.", _OTHER_MODEL)
        torch.add(source.weight, delta, out=target.weight.data)


def _names(deltas: Mapping[str, Tensor]) -> list[str]:
    return [name.removesuffix(".a") for name in deltas if name.endswith(".a")]


def _linear(layers: nn.ModuleList, name: str) -> nn.Linear | Conv1D:
    try:
        found = layers.get_submodule(name)
    except AttributeError:
        found = None
    if not isinstance(found, nn.Linear | Conv1D):
        raise ModelRefused(f"The model has no linear layer {name}.", _OTHER_MODEL)
    return found
