"""The policy that learns: a frozen trunk, live layers with low-rank deltas, and a value on the reference's states.

`BranchActor` fulfils `ppo.actor.Actor` by structure. The reference is the branch with no deltas, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torch import Tensor
from torch.nn import Parameter

from expound.models.loading import Loaded
from expound.ppo.actor import Member, Prepared, TokenLogprobs
from expound.ppo.rollout import Batch, Rollouts
from expound.records import Conversation, Prompt, Response, SamplingKey
from expound.settings import SamplingSettings

Render = Callable[[Prompt], Conversation]


class BranchActor:
    """A policy and a value over one frozen trunk."""

    def __init__(self, loaded: Loaded, render: Render, *, live_layers: int | Literal["third"], seed: int) -> None:
        """Cut the model and start from the reference: deltas are zero, their directions follow from `seed`."""
        raise NotImplementedError

    @property
    def blocks(self) -> tuple[int, ...]:
        """Return the widths of the blocks of `Prepared.reading`, in order; they sum to its columns."""
        raise NotImplementedError

    def sample(
        self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
    ) -> Rollouts:
        """Return `responses` episodes for each prompt, in the order given, those of a prompt side by side."""
        raise NotImplementedError

    def rollouts_of(self, prompts: Mapping[str, Prompt], responses: Sequence[Response], temperature: float) -> Rollouts:
        """Return stored responses as episodes, in the order given; their `sampler_logprobs` are NaN (not known).

        `prompts` by prompt id; `temperature` is the one that `prepare` divides logits by.
        """
        raise NotImplementedError

    def prepare(self, rollouts: Rollouts) -> Prepared:
        """Compute trunk, old and reference log-probabilities, value features and reading, without gradient."""
        raise NotImplementedError

    def read(self, rollouts: Rollouts) -> Tensor:
        """Return what the reward's heads read of each episode, float32 [episodes, features]."""
        raise NotImplementedError

    def logprobs(self, batch: Batch) -> TokenLogprobs:
        """Return the policy's log-probabilities at the batch's temperature; they carry gradients, entropy none."""
        raise NotImplementedError

    def values(self, features: Tensor) -> Tensor:
        """Return the value of each response step [n], from rows of `Prepared.features` [n, width]."""
        raise NotImplementedError

    def parameters(self, member: Member) -> Sequence[Parameter]:
        """Return what learns in a member, always in the same order."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """Return copies of all that learns: names begin with "policy." or "value."."""
        raise NotImplementedError

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over tensors that `state` gave; a state without "value." names leaves the value as it is.

        Errors: ModelRefused when names or shapes do not fit this model and its live layers.
        """
        raise NotImplementedError
