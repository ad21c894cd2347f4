"""The KL's estimators, and what they are as losses, where every expectation can be summed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from expound.ppo.penalty import k3, kl_loss_sum

POLICY = torch.tensor([0.5, -1.0, 0.3, 1.2, 0.0], dtype=torch.float64)
REFERENCE = torch.tensor([0.1, 0.4, -0.7, 0.9, 0.2], dtype=torch.float64)


def test_the_log_ratio_and_k3_have_the_kl_as_their_mean() -> None:
    p, d = POLICY.softmax(-1), POLICY.log_softmax(-1) - REFERENCE.log_softmax(-1)
    true = float(torch.nn.functional.kl_div(REFERENCE.log_softmax(-1), p, reduction="sum"))
    assert float((p * d).sum()) == pytest.approx(true, abs=1e-9)
    assert float((p * k3(d)).sum()) == pytest.approx(true, abs=1e-9)
    assert (k3(d) >= 0).all()


def expected_gradient(loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean gradient of a loss by token over fresh samples, whose probabilities carry none."""
    logits = POLICY.clone().requires_grad_()
    each = loss(logits.log_softmax(-1) - REFERENCE.log_softmax(-1))
    (POLICY.softmax(-1) * each).sum().backward()
    assert logits.grad is not None
    return logits.grad


def true_gradient(*, forward: bool) -> Tensor:
    """Return that of KL(policy, reference), or with `forward` of KL(reference, policy)."""
    logits = POLICY.clone().requires_grad_()
    one, other = logits.log_softmax(-1), REFERENCE.log_softmax(-1)
    (other.exp() * (other - one) if forward else one.exp() * (one - other)).sum().backward()
    assert logits.grad is not None
    return logits.grad


def test_only_half_the_square_is_the_loss_of_the_kl() -> None:
    """The log-ratio as a loss does nothing, k3 pulls towards the other KL, and the loss of grpo is the right one."""
    right = true_gradient(forward=False)
    assert expected_gradient(lambda d: d).abs().max() < 1e-12
    assert torch.allclose(expected_gradient(lambda d: 0.5 * d.square()), right, atol=1e-9)
    assert torch.allclose(expected_gradient(k3), true_gradient(forward=True), atol=1e-9)
    assert not torch.allclose(expected_gradient(k3), right, atol=1e-2)
    assert torch.allclose(expected_gradient(lambda d: torch.stack([kl_loss_sum(one) for one in d])), right, atol=1e-9)


def test_the_loss_of_grpo_shows_k3() -> None:
    d = POLICY.log_softmax(-1) - REFERENCE.log_softmax(-1)
    assert float(kl_loss_sum(d)) == pytest.approx(float(k3(d).sum()), abs=1e-12)
