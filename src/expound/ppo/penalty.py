"""The KL between policy and reference, and the controller that holds it near a target.

From policy minus other log-probabilities d by token, on the policy's own samples: d itself estimates KL(policy, other)
without bias, so its sum over a response, averaged over responses, is the KL in nats.
"""

from __future__ import annotations

from torch import Tensor

KL_STEP = 0.2
"""Largest relative error that the controller reacts to (Ziegler et al., arXiv 1909.08593)."""

NATS_A_TOKEN = 0.1
"""The automatic target; beyond about 0.2 nats a token prose decayed visibly in trial runs."""

MAX_AUTO_TARGET = 6.0
"""Nats a response that the automatic target never exceeds."""


def k3(log_ratio: Tensor) -> Tensor:
    """Return exp(-d) - 1 + d by token: unbiased too, never negative, of low variance; for display alone."""
    return (-log_ratio).expm1() + log_ratio


def kl_loss_sum(log_ratio: Tensor) -> Tensor:
    """Return the sum of k3 by token with the gradient of d²/2, which is that of KL(policy, other); k3's is not.

    As a loss d itself has a gradient of zero on average, and k3 that of KL(other, policy).
    """
    half = 0.5 * log_ratio.square()
    return (half + (k3(log_ratio) - half).detach()).sum()


def auto_target(mean_length: float) -> float:
    """Return the KL target in nats a response that follows from the mean response length in tokens."""
    return min(MAX_AUTO_TARGET, NATS_A_TOKEN * mean_length)


def next_weight(weight: float, kl: float, target: float) -> float:
    """Return the KL weight after an update whose KL was `kl` nats a response; a target of 0 holds it.

    The horizon is one update's episodes: at a quarter of that pace the KL ended a third beyond its target.
    """
    if target <= 0:
        return weight
    return weight * (1.0 + max(-KL_STEP, min(KL_STEP, kl / target - 1.0)))
