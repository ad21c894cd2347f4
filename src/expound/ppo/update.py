"""One update of the policy and its value from one set of episodes: epochs of mini-batches of micro-batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from expound.ppo.actor import Actor, Prepared
from expound.ppo.losses import CLIP, policy_loss_sum, ratios, value_loss_sum
from expound.ppo.penalty import k3, kl_loss_sum
from expound.ppo.rollout import TOKEN_BUDGET, flat_index, micro_batches

MAX_GRADIENT_NORM = 1.0
VALUE_RATE = 3.0
"""The value learns this many times faster than the policy (MOSS, arXiv 2307.04964)."""

MAX_STEP_KL = 0.03
"""Nats a token from the policy that sampled, after which the epochs end; a sound run ends at .008 (2403.17031)."""


@dataclass(frozen=True)
class Optimisers:
    """One optimiser a member; they share no parameter."""

    policy: AdamW
    value: AdamW

    def set_rate(self, rate: float) -> None:
        """Make `rate` the policy's learning rate, and the value's follow."""
        self.policy.param_groups[0]["lr"], self.value.param_groups[0]["lr"] = rate, rate * VALUE_RATE


def make_optimisers(actor: Actor, rate: float) -> Optimisers:
    """Return fresh optimisers of the actor's members."""
    policy, value = (
        AdamW(actor.parameters(member), lr=rate, betas=(0.9, 0.999), eps=1e-5, weight_decay=0.0)
        for member in ("policy", "value")
    )
    optimisers = Optimisers(policy, value)
    optimisers.set_rate(rate)
    return optimisers


@dataclass(frozen=True)
class ValueTargets:
    """What the value moves towards and its own say before the update, flat [response tokens]."""

    returns: Tensor
    old: Tensor


@dataclass(frozen=True)
class Targets:
    """What an update moves towards; `advantages` are flat [response tokens].

    Without a `value` none is trained. `kl_weight` is that of a KL loss (0: the KL is in the reward), and `flat_groups`
    counts the prompts whose responses all scored the same, where advantages are taken in groups.
    """

    advantages: Tensor
    value: ValueTargets | None = None
    kl_weight: float = 0.0
    flat_groups: int | None = None


@dataclass(frozen=True)
class Steps:
    """How often an update passes over its episodes, in how many optimiser steps a pass, how many tokens at once.

    `max_kl` nats a token from the policy that sampled end the epochs.
    """

    epochs: int
    minibatches: int
    budget: int = TOKEN_BUDGET
    max_kl: float = MAX_STEP_KL


@dataclass(frozen=True)
class StepStats:
    """What one optimiser step saw: means over its response tokens, and gradient norms before clipping.

    `policy_loss` holds the KL loss, if there is one. `gap` is the largest absolute difference between new and old
    log-probabilities.
    """

    policy_loss: float
    value_loss: float
    step_kl: float
    clip_share: float
    gap: float
    policy_norm: float = math.nan
    value_norm: float = math.nan

    @property
    def is_finite(self) -> bool:
        """Say whether losses and gradient norms are numbers."""
        return all(map(math.isfinite, (self.policy_loss, self.value_loss, self.policy_norm, self.value_norm)))


@dataclass(frozen=True)
class UpdateStats:
    """All optimiser steps of an update in order, and the epochs begun.

    `cut_short` is True when a step KL ended them before the last one; `broken` when losses or gradients of the last
    step were no numbers: it was not taken.
    """

    steps: tuple[StepStats, ...]
    epochs: int
    cut_short: bool = False
    broken: bool = False


def split(prompts: Sequence[str], minibatches: int, generator: np.random.Generator) -> Iterator[list[int]]:
    """Yield the episodes of each mini-batch: a random division that keeps the responses of a prompt together.

    `prompts` [episodes]; mini-batches differ by at most one prompt in size.
    """
    groups = [[index for index, _ in group] for _, group in groupby(enumerate(prompts), key=lambda pair: pair[1])]
    for part in np.array_split(generator.permutation(len(groups)), minibatches):
        yield [episode for group in part for episode in groups[group]]


def run_update(
    actor: Actor,
    prepared: Prepared,
    targets: Targets,
    optimisers: Optimisers,
    steps: Steps,
    generator: np.random.Generator,
) -> UpdateStats:
    """Take epochs x minibatches optimiser steps, fewer when an epoch ends beyond `max_kl` or a number breaks."""
    taken: list[StepStats] = []
    for epoch in range(steps.epochs):
        for episodes in split(prepared.rollouts.prompts, steps.minibatches, generator):
            taken.append(_step(actor, prepared, targets, optimisers, (episodes, steps.budget)))
            if not taken[-1].is_finite:
                return UpdateStats(tuple(taken), epoch + 1, broken=True)
        if float(np.mean([step.step_kl for step in taken[-steps.minibatches :]])) > steps.max_kl:
            break
    return UpdateStats(tuple(taken), epoch + 1, cut_short=epoch + 1 < steps.epochs)


def accumulate(
    actor: Actor, prepared: Prepared, targets: Targets, episodes: Sequence[int], budget: int = TOKEN_BUDGET
) -> StepStats:
    """Add the gradients of one mini-batch to the actor's parameters; how it is cut into micro-batches is no matter."""
    tokens = int(prepared.rollouts.response_lengths[list(episodes)].sum())
    sums, gap = torch.zeros(4, dtype=torch.float64), 0.0
    for rows in micro_batches(prepared.rollouts, episodes, budget):
        flat = flat_index(prepared.rollouts, rows)
        new, old = actor.logprobs(prepared.rollouts, rows), prepared.old_logprobs[flat]
        ratio = ratios(new, old)
        policy_loss = policy_loss_sum(ratio, targets.advantages[flat])
        if targets.kl_weight:
            policy_loss = policy_loss + targets.kl_weight * kl_loss_sum(new - prepared.reference_logprobs[flat])
        (policy_loss / tokens).backward()
        value_loss = torch.zeros_like(policy_loss)
        if targets.value is not None:
            value_loss = value_loss_sum(
                actor.values(prepared, rows), targets.value.old[flat], targets.value.returns[flat]
            )
            (value_loss / tokens).backward()
        with torch.no_grad():
            change = new - old
            clipped = ((ratio - 1).abs() > CLIP).float()
            parts = (policy_loss, value_loss, k3(-change).sum(), clipped.sum())
            sums += torch.stack(parts).double().cpu()
            gap = max(gap, float(change.abs().max()))
    policy_mean, value_mean, step_kl, clip_share = (sums / tokens).tolist()
    return StepStats(policy_mean, value_mean, step_kl, clip_share, gap)


def _step(
    actor: Actor, prepared: Prepared, targets: Targets, optimisers: Optimisers, work: tuple[Sequence[int], int]
) -> StepStats:
    optimisers.policy.zero_grad()
    optimisers.value.zero_grad()
    stats = accumulate(actor, prepared, targets, *work)
    policy, value = (
        float(clip_grad_norm_(actor.parameters(member), MAX_GRADIENT_NORM)) for member in ("policy", "value")
    )
    stats = replace(stats, policy_norm=policy, value_norm=value)
    if stats.is_finite:
        optimisers.policy.step()
        optimisers.value.step()
    return stats
