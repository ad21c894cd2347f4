"""The losses of PPO, as sums over response tokens: whoever adds micro-batches divides by the tokens of them all."""

from __future__ import annotations

import torch
from torch import Tensor

CLIP = 0.2
"""How far from 1 a ratio may pay (Schulman et al., arXiv 1707.06347), and how far a value may move."""

MAX_LOG_RATIO = 20.0
"""Log-ratios are held within this bound, so that no exponential overflows."""


def ratios(new: Tensor, old: Tensor) -> Tensor:
    """Return the probability of each token under the policy over that under the policy that sampled, [n]."""
    return (new - old).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def policy_loss_sum(ratio: Tensor, advantages: Tensor) -> Tensor:
    """Return the sum of the clipped surrogate, negated; ratio and advantages [n]."""
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages).sum()


def value_loss_sum(values: Tensor, old_values: Tensor, returns: Tensor) -> Tensor:
    """Return the sum of half the squared error, taken at the worse of the value and the clipped value; [n] each."""
    clipped = old_values + (values - old_values).clamp(-CLIP, CLIP)
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square()).sum()
