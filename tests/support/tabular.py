"""A whole actor over tables: the policy's logits depend on the step alone. Small enough to know every answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from expound.ppo.actor import Member, Prepared, RewardValues
from expound.ppo.rollout import Rollouts, flat_index
from expound.records import Prompt, SamplingKey, Text, content_id
from expound.settings import SamplingSettings

END = 0


def make_prompt(name: str) -> Prompt:
    return Prompt(content_id(name), (Text("question", name),), name)


def draw(logprobs: Tensor, responses: int, key: SamplingKey, prompt: str) -> list[list[int]]:
    """Draw responses by inversion; a response ends behind the first end token."""
    generator = np.random.Generator(np.random.Philox(key=int(content_id(key.seed, key.round, key.purpose, prompt), 16)))
    totals = logprobs.double().exp().cumsum(-1).numpy()
    uniform = generator.random((responses, len(totals), 1)) * totals[:, -1:]
    tokens = (uniform >= totals).sum(-1).tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in tokens]


def steps_of(rollouts: Rollouts, episodes: Sequence[int]) -> Tensor:
    """Return the response step of each response token of some episodes, [n]."""
    return torch.cat([torch.arange(length) for length in rollouts.response_lengths[list(episodes)].tolist()])


class TabularActor:
    """Logits [steps, vocabulary] for policy and reference, a value for each step; token 0 ends a response."""

    def __init__(self, reference: Tensor) -> None:
        self.reference = reference.clone()
        self.policy = Parameter(reference.clone())
        self.value = Parameter(torch.zeros(len(reference)))

    def sample(
        self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
    ) -> Rollouts:
        episodes = [(prompt.id, sample) for prompt in prompts for sample in range(responses)]
        logprobs = (self.policy.detach() / sampling.temperature).log_softmax(-1)
        drawn = [tokens for prompt in prompts for tokens in draw(logprobs, responses, key, prompt.id)]
        # Prompts of one to three tokens, so that rows do not line up.
        prompt_lengths = [1 + len(prompt) % 3 for prompt, _ in episodes]
        rows = [[1] * length + tokens for length, tokens in zip(prompt_lengths, drawn, strict=True)]
        return Rollouts(
            tokens=torch.tensor([token for row in rows for token in row]),
            starts=torch.tensor([0, *np.cumsum([len(row) for row in rows])]),
            prompt_lengths=torch.tensor(prompt_lengths),
            finished=torch.tensor([tokens[-1] == END for tokens in drawn]),
            sampler_logprobs=torch.cat([logprobs[range(len(tokens)), tokens] for tokens in drawn]),
            prompts=tuple(prompt for prompt, _ in episodes),
            samples=tuple(sample for _, sample in episodes),
            temperature=sampling.temperature,
        )

    def prepare(self, rollouts: Rollouts) -> Prepared:
        episodes = range(rollouts.episodes)
        with torch.no_grad():
            old = self.logprobs(rollouts, episodes)
            reference = self._of(self.reference, rollouts, episodes)
        features = torch.nn.functional.one_hot(steps_of(rollouts, episodes), len(self.value)).float()
        first = rollouts.tokens[rollouts.starts[:-1] + rollouts.prompt_lengths]
        return Prepared(
            replace(rollouts, reading=first[:, None].float()),
            old,
            reference,
            features,
            features.new_zeros(rollouts.episodes, 1),
        )

    def logprobs(self, rollouts: Rollouts, episodes: Sequence[int]) -> Tensor:
        return self._of(self.policy, rollouts, episodes)

    def _of(self, logits: Tensor, rollouts: Rollouts, episodes: Sequence[int]) -> Tensor:
        logprobs = (logits / rollouts.temperature).log_softmax(-1)[steps_of(rollouts, episodes)]
        targets = rollouts.response_tokens[flat_index(rollouts, episodes)]
        return logprobs.gather(1, targets[:, None])[:, 0]

    def text(self, tokens: Sequence[int]) -> str:
        return " ".join(map(str, tokens))

    def values(self, prepared: Prepared, episodes: Sequence[int]) -> Tensor:
        return prepared.features[flat_index(prepared.rollouts, episodes)] @ self.value

    def parameters(self, member: Member) -> Sequence[Parameter]:
        return [self.policy] if member == "policy" else [self.value]


@dataclass(frozen=True)
class FirstTokenReward:
    """Rewards a response by its first token."""

    table: Tensor

    def of(self, prepared: Prepared) -> RewardValues:
        assert prepared.rollouts.reading is not None
        mean = self.table[prepared.rollouts.reading[:, 0].long()]
        return RewardValues(mean, torch.zeros_like(mean))
