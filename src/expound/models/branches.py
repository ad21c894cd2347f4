"""The policy that learns: a frozen trunk, live layers with low-rank deltas, and a value on the reference's states.

`BranchActor` fulfils `ppo.actor.Actor` by structure. The reference is the branch without deltas, for ever.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional
from transformers import DynamicCache

from expound.errors import ModelRefused, PromptError, SettingsError
from expound.models.cut import CUT_TOLERANCE, branch_of, cut_law_gap, decoder_of, layers_of, shared_copy, trunk_of
from expound.models.decoding import Asked, Drawn, Speaker, sample_responses
from expound.models.head import head_of, response_logprobs
from expound.models.layout import lay_out, predicting, read_responses, reference_pass, run_layout
from expound.models.loading import Loaded, prompt_ids
from expound.models.low_rank import make_low_rank, merge_into, merged_copy
from expound.models.policy import text_of
from expound.ppo.actor import Member, Prepared, TokenLogprobs
from expound.ppo.rollout import Rollouts, flat_index, micro_batches
from expound.records import Conversation, Prompt, Response, SamplingKey
from expound.settings import SamplingSettings

Render = Callable[[Prompt], Conversation]
LiveLayers = int | Literal["third"]
VALUE_UNITS = 64
CHECKED_EPISODES = 8
"""Episodes whose log-probabilities are computed again to see that sampler and trainer agree."""
SAMPLER_TOLERANCE = 2e-4  # well below the gap that stops the tuning: other episodes may be further off


class BranchActor:
    """A policy and a value over one frozen trunk."""

    def __init__(self, loaded: Loaded, render: Render, *, live_layers: LiveLayers, seed: int) -> None:
        """Cut the model and start from the reference: deltas are zero, their directions follow from `seed`.

        Errors: SettingsError when the model has fewer layers than are to live.
        """
        self._loaded, self._render = loaded, render
        self._decoder = decoder_of(loaded.model)
        layers = len(layers_of(self._decoder))
        live = live_count(live_layers, layers)
        self._first = layers - live
        self._head = head_of(loaded.model)
        branch = branch_of(self._decoder, self._first)
        self.is_cut = cut_law_gap(self._decoder, branch, self._first) <= CUT_TOLERANCE
        self._branch = branch if self.is_cut else shared_copy(self._decoder)
        generator = torch.Generator().manual_seed(seed)
        self._deltas = make_low_rank(self._branch, live, self._first, generator)
        self._value = _value_net(self._head.weight, generator)
        self._merged = merged_copy(loaded.model, self._deltas)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return sentences to show once: of the model, and when it cannot be cut."""
        slow = "This model cannot be cut into trunk and branch; every pass runs the whole of it, which is slower."
        return self._loaded.notes if self.is_cut else (*self._loaded.notes, slow)

    def sample(
        self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
    ) -> Rollouts:
        """Return `responses` episodes for each prompt, in the order given, those of a prompt side by side.

        Errors: PromptError when a prompt does not fit the context.
        """
        merge_into(self._merged, self._loaded.model, self._deltas)
        asked = [self._ask(prompt, sampling.max_new_tokens) for prompt in prompts]
        speaker = Speaker(decoder_of(self._merged), self._head, self._loaded.end_tokens, self._loaded.pad_token)
        drawn = sample_responses(speaker, asked, responses, sampling, key)
        rows = [
            (one, sample, said) for one, group in zip(asked, drawn, strict=True) for sample, said in enumerate(group)
        ]
        return rollouts_from(rows, sampling.temperature, self._head.weight.device)

    def rollouts_of(self, prompts: Mapping[str, Prompt], responses: Sequence[Response], temperature: float) -> Rollouts:
        """Return stored responses as episodes, in the order given; their `sampler_logprobs` are NaN (not known).

        `prompts` by prompt id; `temperature` is the one that `prepare` divides logits by.
        Errors: PromptError when a response holds no tokens, or does not fit the context with its prompt.
        """
        rows = []
        for response in responses:
            if not response.tokens:
                raise PromptError(f"Response {response.id} was stored without its tokens.", "Sample it again.")
            asked = self._ask(prompts[response.prompt], len(response.tokens))
            unknown = (math.nan,) * len(response.tokens)
            rows.append((asked, response.sample, Drawn(response.tokens, unknown, response.finished)))
        return rollouts_from(rows, temperature, self._head.weight.device)

    def prepare(self, rollouts: Rollouts) -> Prepared:
        """Compute trunk, old and reference log-probabilities, value features and reading, once, without gradient.

        Old log-probabilities are the sampler's where eight episodes computed again agree with it, else computed anew.
        """
        seen = reference_pass(self._decoder, self._head, rollouts, self._first)
        rollouts = dataclasses.replace(rollouts, trunk=seen.trunk if self.is_cut else None)
        return Prepared(
            rollouts=rollouts,
            old_logprobs=self._old_logprobs(rollouts),
            reference_logprobs=seen.logprobs,
            features=seen.features,
            reading=seen.reading,
        )

    def read(self, rollouts: Rollouts) -> Tensor:
        """Return what the reward's heads read of each episode, float32 [episodes, features]."""
        trunk = trunk_of(self._decoder, self._first) if self.is_cut else self._decoder
        return read_responses(trunk, rollouts, self._first)

    def logprobs(self, rollouts: Rollouts, episodes: Sequence[int]) -> TokenLogprobs:
        """Return the policy's of some prepared episodes, in their order; they carry gradients, entropy none."""
        values = rollouts.tokens if rollouts.trunk is None else rollouts.trunk
        layout, cache = lay_out(rollouts, episodes), DynamicCache(config=self._branch.config)
        states = torch.cat(predicting(layout, *run_layout(self._branch, layout, values, cache)))
        targets = rollouts.response_tokens[flat_index(rollouts, episodes)]
        return response_logprobs(states, targets, self._head, rollouts.temperature)

    def text(self, tokens: Sequence[int]) -> str:
        """Return a response's tokens as words."""
        return text_of(self._loaded, tokens)

    def values(self, features: Tensor) -> Tensor:
        """Return the value of each response step [n], from rows of `Prepared.features` [n, width]."""
        values: Tensor = self._value(functional.layer_norm(features, features.shape[-1:]))
        return values.squeeze(-1)

    def parameters(self, member: Member) -> Sequence[Parameter]:
        """Return what learns in a member, always in the same order."""
        return list(self._deltas.values()) if member == "policy" else list(self._value.parameters())

    def state(self) -> dict[str, Tensor]:
        """Return copies of all that learns: names begin with "policy." or "value."."""
        return {name: tensor.detach().clone() for name, tensor in self._learning().items()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over tensors that `state` gave.

        Errors: ModelRefused when names or shapes do not fit this model and its live layers.
        """
        own = self._learning()
        wrong = sorted(set(own) ^ set(state)) or sorted(name for name in state if state[name].shape != own[name].shape)
        if wrong:
            raise ModelRefused(
                f"The stored policy does not fit this model and its live layers (first difference: {wrong[0]}).",
                "Set [project] model and [ppo] live_layers as they were, or begin a new project.",
            )
        for name, tensor in state.items():
            own[name].copy_(tensor)

    def _learning(self) -> dict[str, Parameter]:
        policy = {f"policy.{name}": tensor for name, tensor in self._deltas.items()}
        return policy | {f"value.{name}": tensor for name, tensor in self._value.named_parameters()}

    def _ask(self, prompt: Prompt, new_tokens: int) -> Asked:
        return Asked(prompt.id, prompt_ids(self._loaded, self._render(prompt), prompt.name or prompt.id, new_tokens))

    def _old_logprobs(self, rollouts: Rollouts) -> Tensor:
        checked = self._again(rollouts, min(rollouts.episodes, CHECKED_EPISODES))
        sampled = rollouts.sampler_logprobs
        if float((checked - sampled[: len(checked)]).abs().max()) <= SAMPLER_TOLERANCE:
            return sampled
        return self._again(rollouts, rollouts.episodes)

    @torch.no_grad()
    def _again(self, rollouts: Rollouts, episodes: int) -> Tensor:
        """Return the policy's log-probabilities of the first episodes, flat."""
        found = rollouts.sampler_logprobs[: int(rollouts.response_lengths[:episodes].sum())].clone()
        for rows in micro_batches(rollouts, range(episodes)):
            found[flat_index(rollouts, rows)] = self.logprobs(rollouts, rows).logprobs
        return found


def live_count(live_layers: LiveLayers, layers: int) -> int:
    """Return how many layers live: a third of them, rounded up, or the number given.

    Errors: SettingsError when the model has fewer.
    """
    live = -(-layers // 3) if live_layers == "third" else live_layers
    if not 1 <= live <= layers:
        raise SettingsError(
            f"[ppo] live_layers = {live}, but the model has {layers} layers.", f"Give a number from 1 to {layers}."
        )
    return live


def _value_net(like: Tensor, generator: torch.Generator) -> nn.Sequential:
    """Return a perceptron of 64 units, drawn from the generator, that says 0 at the start."""
    width = like.shape[1]
    first, last = nn.utils.skip_init(nn.Linear, width, VALUE_UNITS), nn.utils.skip_init(nn.Linear, VALUE_UNITS, 1)
    with torch.no_grad():
        first.weight.copy_(torch.randn(VALUE_UNITS, width, generator=generator) / math.sqrt(width))
        for zero in (first.bias, last.weight, last.bias):
            zero.zero_()
    return nn.Sequential(first, nn.Tanh(), last).to(like.device, like.dtype)


def rollouts_from(rows: Sequence[tuple[Asked, int, Drawn]], temperature: float, device: torch.device) -> Rollouts:
    """Return responses, each with what was asked and its index, as episodes in the order given."""
    tokens = [torch.tensor([*asked.tokens, *said.tokens]) for asked, _, said in rows]
    lengths = torch.tensor([0, *(len(one) for one in tokens)])
    return Rollouts(
        tokens=torch.cat(tokens).to(device),
        starts=lengths.cumsum(0).to(device),
        prompt_lengths=torch.tensor([len(asked.tokens) for asked, _, _ in rows]).to(device),
        finished=torch.tensor([said.finished for _, _, said in rows]).to(device),
        sampler_logprobs=torch.tensor([number for _, _, said in rows for number in said.logprobs]).to(device),
        prompts=tuple(asked.prompt for asked, _, _ in rows),
        samples=tuple(sample for _, sample, _ in rows),
        temperature=temperature,
    )
