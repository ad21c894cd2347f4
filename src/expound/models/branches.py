"""The policy that learns over a frozen reference, with a value: in `branches` and `lora` deltas, in `full` a copy.

`BranchActor` fulfils `ppo.actor.Actor` by structure. The reference is the model untouched, for ever.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from expound.errors import ModelRefused, PromptError, SettingsError
from expound.models.cut import (
    CUT_TOLERANCE,
    branch_of,
    cut_law_gap,
    decoder_of,
    layers_of,
    shared_copy,
    trunk_of,
)
from expound.models.decoding import Asked, Drawn, Speaker, sample_responses
from expound.models.head import head_of, logprobs_at, response_logprobs
from expound.models.layout import Seen, look_over, predicted_states, read_responses, response_means
from expound.models.loading import Loaded, prompt_ids
from expound.models.members import Critic, LowRankVoice, PerceptronCritic, Voice, WholeCritic, WholeVoice
from expound.models.policy import text_of
from expound.ppo.actor import Member, Prepared
from expound.ppo.rollout import Rollouts, flat_index, micro_batches
from expound.records import Conversation, Prompt, Response, SamplingKey
from expound.settings import Mode, PpoSettings, SamplingSettings

Render = Callable[[Prompt], Conversation]
LiveLayers = int | Literal["third"]
CHECKED_EPISODES = 8
"""Episodes whose log-probabilities are computed again to see that sampler and trainer agree."""
SAMPLER_TOLERANCE = 2e-4  # well below the gap that stops the tuning: other episodes may be further off


class BranchActor:
    """A policy and a value over one frozen reference."""

    def __init__(
        self, loaded: Loaded, render: Render, *, live_layers: LiveLayers, seed: int, mode: Mode = "branches"
    ) -> None:
        """Start from the reference; what is random at the start follows from `seed`.

        `live_layers` learn in `branches`; in `lora` and `full` all do.

        Errors: SettingsError when the model has fewer layers than are to live.
        """
        self._loaded, self._render = loaded, render
        self._decoder = decoder_of(loaded.model)
        layers = len(layers_of(self._decoder))
        live = live_count(live_layers, layers) if mode == "branches" else layers
        self._first, self._read = layers - live, reading_layer(layers)
        self._head = head_of(loaded.model)
        self._reference = branch_of(self._decoder, self._first)
        self.is_cut = self._first > 0 and cut_law_gap(self._decoder, self._reference, self._first) <= CUT_TOLERANCE
        generator = torch.Generator().manual_seed(seed)
        branch = branch_of(self._decoder, self._first) if self.is_cut else shared_copy(self._decoder)
        self._voice: Voice
        self._critic: Critic
        if mode == "full":
            self._voice, self._critic = WholeVoice(loaded.model), WholeCritic(self._decoder)
        else:
            self._voice = LowRankVoice(loaded.model, branch, live, generator)
            self._critic = PerceptronCritic(self._head.weight, generator)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return sentences to show once: of the model, and when it cannot be cut."""
        slow = "This model cannot be cut into trunk and branch; every pass runs the whole of it, which is slower."
        return self._loaded.notes if self.is_cut or self._first == 0 else (*self._loaded.notes, slow)

    def sample(
        self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
    ) -> Rollouts:
        """Return `responses` episodes for each prompt, in the order given, those of a prompt side by side.

        Errors: PromptError when a prompt does not fit the context.
        """
        asked = [self._ask(prompt, sampling.max_new_tokens) for prompt in prompts]
        taps = (self._first, self._read) if self.is_cut else ()
        # Above the cut the policy's states are not the reference's.
        captured = tuple(tap for tap in taps if tap <= self._first)
        speaking, loaded = decoder_of(self._voice.speaking()), self._loaded
        speaker = Speaker(speaking, self._voice.head, loaded.end_tokens, loaded.pad_token, captured)
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
        rollouts, seen = self._look(rollouts)
        return Prepared(
            rollouts=rollouts,
            old_logprobs=self._old_logprobs(rollouts),
            reference_logprobs=logprobs_at(seen.features, rollouts.response_tokens, self._head, rollouts.temperature),
            features=seen.features,
            last=seen.last,
        )

    def read(self, rollouts: Rollouts) -> Tensor:
        """Return what the reward's heads read of each episode, float32 [episodes, features]."""
        return read_responses(trunk_of(self._decoder, self._read), rollouts, self._read)

    def logprobs(self, rollouts: Rollouts, episodes: Sequence[int]) -> Tensor:
        """Return the policy's of some prepared episodes, in their order; they carry gradients."""
        begins = rollouts.tokens if rollouts.trunk is None else rollouts.trunk
        states = predicted_states(self._voice.branch, rollouts, episodes, begins)
        targets = rollouts.response_tokens[flat_index(rollouts, episodes)]
        return response_logprobs(states, targets, self._voice.head, rollouts.temperature)

    def text(self, tokens: Sequence[int]) -> str:
        """Return a response's tokens as words."""
        return text_of(self._loaded, tokens)

    def values(self, prepared: Prepared, episodes: Sequence[int]) -> Tensor:
        """Return the value at each response token of some episodes [n], in their order; carries gradients."""
        return self._critic.values(prepared, episodes)

    def parameters(self, member: Member) -> Sequence[Parameter]:
        """Return what learns in a member, always in the same order."""
        return list((self._voice.learning if member == "policy" else self._critic.parameters()).values())

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
        policy = {f"policy.{name}": tensor for name, tensor in self._voice.learning.items()}
        return policy | {f"value.{name}": tensor for name, tensor in self._critic.parameters().items()}

    def _ask(self, prompt: Prompt, new_tokens: int) -> Asked:
        return Asked(prompt.id, prompt_ids(self._loaded, self._render(prompt), prompt.name or prompt.id, new_tokens))

    def _look(self, rollouts: Rollouts) -> tuple[Rollouts, Seen]:
        """Return episodes with trunk and reading, and what the reference makes of them."""
        if rollouts.trunk is not None:
            above = () if rollouts.reading is not None else (self._read - self._first,)
            seen = look_over(self._reference, rollouts, rollouts.trunk, above)
        else:
            seen = look_over(self._decoder, rollouts, rollouts.tokens, (self._read, self._first))
        trunk = seen.tapped[1] if rollouts.trunk is None and self.is_cut else rollouts.trunk
        reading = response_means(seen.tapped[0], rollouts) if seen.tapped else rollouts.reading
        return dataclasses.replace(rollouts, trunk=trunk, reading=reading), seen

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
            found[flat_index(rollouts, rows)] = self.logprobs(rollouts, rows)
        return found


def actor_for(loaded: Loaded, render: Render, ppo: PpoSettings, seed: int) -> BranchActor:
    """Return the actor that the settings describe. Errors: SettingsError."""
    return BranchActor(loaded, render, live_layers=ppo.live_layers, seed=seed, mode=ppo.mode)


def live_of(ppo: PpoSettings, layers: int) -> int:
    """Return how many layers learn of a model that has `layers`. Errors: SettingsError when it has fewer."""
    return live_count(ppo.live_layers, layers) if ppo.mode == "branches" else layers


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


def reading_layer(layers: int) -> int:
    """Return the layer whose input rewards read: the first of the last third."""
    return layers - live_count("third", layers)


def rollouts_from(rows: Sequence[tuple[Asked, int, Drawn]], temperature: float, device: torch.device) -> Rollouts:
    """Return responses, each with what was asked and its index, as episodes in the order given."""
    tokens = [torch.tensor([*asked.tokens, *said.tokens]) for asked, _, said in rows]
    lengths = torch.tensor([0, *(len(one) for one in tokens)])
    rollouts = Rollouts(
        tokens=torch.cat(tokens).to(device),
        starts=lengths.cumsum(0).to(device),
        prompt_lengths=torch.tensor([len(asked.tokens) for asked, _, _ in rows]).to(device),
        finished=torch.tensor([said.finished for _, _, said in rows]).to(device),
        sampler_logprobs=torch.tensor([number for _, _, said in rows for number in said.logprobs]).to(device),
        prompts=tuple(asked.prompt for asked, _, _ in rows),
        samples=tuple(sample for _, sample, _ in rows),
        temperature=temperature,
    )
    if not rows[0][2].tapped:
        return rollouts
    tapped = [torch.cat(parts) for parts in zip(*(said.tapped for _, _, said in rows), strict=True)]
    return dataclasses.replace(
        rollouts, trunk=tapped[0], reading=response_means(tapped[1], rollouts) if tapped[1:] else None
    )
