"""What learns in a mode: deltas on the last layers, deltas on all of them, or a whole copy of the model."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional
from transformers import PreTrainedModel

from expound.models.cut import decoder_of
from expound.models.head import Head, head_of
from expound.models.layout import predicted_states
from expound.models.low_rank import make_low_rank, merge_into, merged_copy
from expound.ppo.actor import Prepared
from expound.ppo.rollout import flat_index

VALUE_UNITS = 64


class Voice(Protocol):
    """A policy that learns: the layers that are trained and the model that samples."""

    @property
    def branch(self) -> PreTrainedModel:
        """Return the layers that learn, to be run on what they begin with."""

    @property
    def head(self) -> Head:
        """Return the map from final states to logits."""

    @property
    def learning(self) -> Mapping[str, Parameter]:
        """Return what learns, in a fixed order."""

    def speaking(self) -> PreTrainedModel:
        """Return the whole model with what was learnt up to now."""


class LowRankVoice:
    """Deltas on the last `live` layers of a branch; sampling runs on merged weights."""

    def __init__(self, model: PreTrainedModel, branch: PreTrainedModel, live: int, generator: torch.Generator) -> None:
        """Put zero deltas on the branch, whose last layer is the model's."""
        layers = model.config.num_hidden_layers
        self._model, self.branch, self.head = model, branch, head_of(model)
        self.learning = make_low_rank(branch, live, layers - live, generator)
        self._merged = merged_copy(model, self.learning)

    def speaking(self) -> PreTrainedModel:
        """Return the merged model."""
        merge_into(self._merged, self._model, self.learning)
        return self._merged


class WholeVoice:
    """A copy of the whole model, embeddings and head included."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Begin as the model."""
        self._own = copy.deepcopy(model).requires_grad_(requires_grad=True)
        self.branch, self.head = decoder_of(self._own), head_of(self._own, is_live=True)
        self.learning = dict(self._own.named_parameters())

    def speaking(self) -> PreTrainedModel:
        """Return the copy itself."""
        return self._own


class Critic(Protocol):
    """Says what reward is still to come at each response token."""

    def parameters(self) -> Mapping[str, Parameter]:
        """Return what learns, in a fixed order."""

    def values(self, prepared: Prepared, episodes: Sequence[int]) -> Tensor:
        """Return the value at each response token of some episodes, [n], in their order; carries gradients."""


class PerceptronCritic:
    """A perceptron of 64 units on the reference's final states; it says 0 at the start.

    Layers of its own over the reference's states, two or ten of them, predicted returns of the next update no better
    at a hundred times the cost (docs/performance.md).
    """

    def __init__(self, like: Tensor, generator: torch.Generator) -> None:
        """Draw its weights from the generator; `like` [anything, width] gives width, kind and device."""
        width = like.shape[1]
        first, last = nn.utils.skip_init(nn.Linear, width, VALUE_UNITS), nn.utils.skip_init(nn.Linear, VALUE_UNITS, 1)
        with torch.no_grad():
            first.weight.copy_(torch.randn(VALUE_UNITS, width, generator=generator) / math.sqrt(width))
            for zero in (first.bias, last.weight, last.bias):
                zero.zero_()
        self._net = nn.Sequential(first, nn.Tanh(), last).to(like.device, like.dtype)

    def parameters(self) -> Mapping[str, Parameter]:
        """Return what learns."""
        return dict(self._net.named_parameters())

    def values(self, prepared: Prepared, episodes: Sequence[int]) -> Tensor:
        """Return the value at each response token of some episodes."""
        features = prepared.features[flat_index(prepared.rollouts, episodes)]
        values: Tensor = self._net(functional.layer_norm(features, features.shape[-1:]))
        return values.squeeze(-1)


class WholeCritic:
    """A copy of the whole decoder with a linear head, as the papers have it; it says 0 at the start."""

    def __init__(self, decoder: PreTrainedModel) -> None:
        """Begin as the decoder."""
        self._decoder = copy.deepcopy(decoder).requires_grad_(requires_grad=True)
        like = next(decoder.parameters())
        self._head = nn.utils.skip_init(nn.Linear, decoder.config.hidden_size, 1).to(like.device, like.dtype)
        for part in self._head.parameters():
            nn.init.zeros_(part)

    def parameters(self) -> Mapping[str, Parameter]:
        """Return what learns."""
        head = {f"head.{name}": part for name, part in self._head.named_parameters()}
        return {**dict(self._decoder.named_parameters()), **head}

    def values(self, prepared: Prepared, episodes: Sequence[int]) -> Tensor:
        """Return the value at each response token of some episodes."""
        states = predicted_states(self._decoder, prepared.rollouts, episodes, prepared.rollouts.tokens)
        values: Tensor = self._head(states)
        return values.squeeze(-1)
