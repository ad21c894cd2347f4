"""What PPO needs of a model: the Protocols that `models/branches` fulfils, in tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor
from torch.nn import Parameter

from expound.ppo.rollout import Rollouts
from expound.records import Prompt, SamplingKey
from expound.settings import SamplingSettings

Member = Literal["policy", "value"]


@dataclass(frozen=True)
class RewardValues:
    """Rewards of episodes, before normalising: mean over the members and their spread, each [episodes].

    `tokens` [response tokens], episode by episode: what each token gets beside, if the reward says so. `parts` are
    means over the episodes, by name, for the log alone.
    """

    mean: Tensor
    sd: Tensor
    tokens: Tensor | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """Rollouts with what is computed once and used in every epoch.

    `rollouts` carry the trunk activations; `reference_logprobs` and `old_logprobs` are flat [response tokens], episode
    by episode; `features` [response tokens, width] are the reference's final states that predict them, `last`
    [episodes, width] those of the last tokens.
    """

    rollouts: Rollouts
    old_logprobs: Tensor
    reference_logprobs: Tensor
    features: Tensor
    last: Tensor


class Actor(Protocol):
    """A policy with a value function over one frozen trunk."""

    def sample(
        self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
    ) -> Rollouts:
        """Return `responses` episodes for each prompt, those of a prompt side by side."""

    def prepare(self, rollouts: Rollouts) -> Prepared:
        """Compute trunk, old and reference log-probabilities and value features, once, without gradient."""

    def logprobs(self, rollouts: Rollouts, episodes: Sequence[int]) -> Tensor:
        """Return the policy's of some episodes [n], in order, at the sampling temperature; they carry gradients."""

    def text(self, tokens: Sequence[int]) -> str:
        """Return a response's tokens as words."""

    def values(self, prepared: Prepared, episodes: Sequence[int]) -> Tensor:
        """Return the value at each response token of some episodes, [n], in their order; carries gradients."""

    def parameters(self, member: Member) -> Sequence[Parameter]:
        """Return what learns in a member."""


class TokenReward(Protocol):
    """A reward of whole episodes."""

    def of(self, prepared: Prepared) -> RewardValues:
        """Return the rewards of all episodes."""
