"""Advantages: generalised advantage estimation, and the product's only whitening."""

from __future__ import annotations

import torch
from torch import Tensor

TRACE = 0.95
"""Decay of later errors in an advantage (lambda of Schulman et al., arXiv 1506.02438); nothing is discounted."""


def gae(rewards: Tensor, values: Tensor, is_response: Tensor, trace: float = TRACE) -> tuple[Tensor, Tensor]:
    """Return advantages and returns, [episodes, time] each, zero where `is_response` is False.

    The last response token ends its episode, whether by an end token or by a cut.
    """
    rewards, values = rewards * is_response, values * is_response
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    errors = rewards + following - values
    advantages = torch.zeros_like(errors)
    running = torch.zeros_like(errors[:, 0])
    for step in reversed(range(errors.shape[1])):
        running = errors[:, step] + trace * running
        advantages[:, step] = running
    return advantages * is_response, (advantages + values) * is_response


def whiten(values: Tensor) -> Tensor:
    """Return values [n] with mean 0 and variance 1 (biased)."""
    centred = values - values.mean()
    return centred * torch.rsqrt(centred.square().mean() + 1e-8)
