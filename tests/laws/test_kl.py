"""KL estimators and their gradients where every expectation can be summed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expound.ppo.penalty import k1, k2, k3

POLICY = torch.tensor([0.5, -1.0, 0.3, 1.2, 0.0], dtype=torch.float64)
REFERENCE = torch.tensor([0.1, 0.4, -0.7, 0.9, 0.2], dtype=torch.float64)


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.log_softmax(-1).exp() * (p.log_softmax(-1) - q.log_softmax(-1))).sum()


def test_k1_and_k3_have_the_kl_as_their_mean() -> None:
    p, d = POLICY.softmax(-1), POLICY.log_softmax(-1) - REFERENCE.log_softmax(-1)
    true = float(kl(POLICY, REFERENCE))
    assert float((p * k1(d)).sum()) == pytest.approx(true, abs=1e-9)
    assert float((p * k3(d)).sum()) == pytest.approx(true, abs=1e-9)
    assert (k3(d) >= 0).all()


def gradient_as_a_loss(estimator: str) -> Tensor:
    """Average the estimator's gradient over tokens drawn from the policy; the draw carries no gradient."""
    logits = POLICY.clone().requires_grad_()
    d = logits.log_softmax(-1) - REFERENCE.log_softmax(-1)
    loss = (POLICY.softmax(-1) * {"k1": k1, "k2": k2, "k3": k3}[estimator](d)).sum()
    return torch.autograd.grad(loss, logits)[0]


def test_as_losses_k1_is_useless_k2_is_right_and_k3_goes_the_other_way() -> None:
    forward, backward = POLICY.clone().requires_grad_(), POLICY.clone().requires_grad_()
    right = torch.autograd.grad(kl(forward, REFERENCE), forward)[0]
    reversed_ = torch.autograd.grad(kl(REFERENCE, backward), backward)[0]
    assert gradient_as_a_loss("k1").abs().max() < 1e-12
    assert torch.allclose(gradient_as_a_loss("k2"), right, atol=1e-9)
    assert torch.allclose(gradient_as_a_loss("k3"), reversed_, atol=1e-9)
