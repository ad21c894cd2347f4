"""The KL between policy and reference: its estimators, and the controller that holds it near a target."""

from __future__ import annotations

from torch import Tensor

KL_STEP = 0.2
"""Largest relative error that the controller reacts to (Ziegler et al., arXiv 1909.08593)."""

NATS_A_TOKEN = 0.1
"""The automatic target; beyond about 0.2 nats a token prose decayed visibly in trial runs."""

MAX_AUTO_TARGET = 6.0
"""Nats a response that the automatic target never exceeds."""


def k1(log_ratio: Tensor) -> Tensor:
    """Return the unbiased estimate of KL(policy, other) from policy minus other log-probabilities, by token.

    The sample must be the policy's own. Summed over a response and averaged over responses it is the KL in nats.
    """
    return log_ratio


def k2(log_ratio: Tensor) -> Tensor:
    """Return half the square: as a loss its gradient on fresh samples is the KL's own."""
    return 0.5 * log_ratio.square()


def k3(log_ratio: Tensor) -> Tensor:
    """Return exp(-d) - 1 + d: unbiased, never negative, of low variance; for display."""
    return (-log_ratio).expm1() + log_ratio


def auto_target(mean_length: float) -> float:
    """Return the KL target in nats a response that follows from the mean response length in tokens."""
    return min(MAX_AUTO_TARGET, NATS_A_TOKEN * mean_length)


def next_weight(weight: float, kl: float, target: float, episodes: int, horizon: int) -> float:
    """Return the KL weight after `episodes` whose KL was `kl` nats a response; a target of 0 holds it.

    With `horizon` = the episodes of one update the weight moves by at most a fifth an update.
    """
    if target <= 0:
        return weight
    error = max(-KL_STEP, min(KL_STEP, kl / target - 1.0))
    return weight * (1.0 + error * episodes / horizon)
