"""Advantages: from a value by token, or from a prompt's other responses; and the product's only whitening."""

from __future__ import annotations

import torch
from torch import Tensor

TRACE = 0.95
"""Decay of later errors in an advantage (lambda of Schulman et al., arXiv 1506.02438); nothing is discounted."""

FLAT = 1e-6
"""A group whose scores spread less than this tells nothing apart."""


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


def rloo(scores: Tensor, responses: int) -> Tensor:
    """Return how far each response is above the mean of the prompt's others (arXiv 2402.14740), [episodes].

    `responses` to a prompt stand side by side.
    """
    groups = scores.view(-1, responses)
    return ((groups - groups.mean(1, keepdim=True)) * (responses / (responses - 1))).flatten()


def grpo(scores: Tensor, responses: int) -> tuple[Tensor, int]:
    """Return how many spreads each response is above its prompt's mean (arXiv 2402.03300), [episodes].

    The spread is unbiased. The groups that are flat, whose responses get 0, are counted.
    """
    groups = scores.view(-1, responses)
    spread = groups.std(1, keepdim=True)
    relative = (groups - groups.mean(1, keepdim=True)) / (spread + 1e-4)
    return torch.where(spread < FLAT, 0.0, relative).flatten(), int((spread < FLAT).sum())


def whiten(values: Tensor, *, center: bool = True) -> Tensor:
    """Return values [n] with variance 1 (biased) and mean 0, or their own mean with `center` False."""
    mean = values.mean()
    white = (values - mean) * torch.rsqrt((values - mean).square().mean() + 1e-8)
    return white if center else white + mean
