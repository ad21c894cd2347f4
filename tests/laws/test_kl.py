"""The KL's estimators where every expectation can be summed."""

from __future__ import annotations

import pytest
import torch

from expound.ppo.penalty import k3

POLICY = torch.tensor([0.5, -1.0, 0.3, 1.2, 0.0], dtype=torch.float64)
REFERENCE = torch.tensor([0.1, 0.4, -0.7, 0.9, 0.2], dtype=torch.float64)


def test_the_log_ratio_and_k3_have_the_kl_as_their_mean() -> None:
    p, d = POLICY.softmax(-1), POLICY.log_softmax(-1) - REFERENCE.log_softmax(-1)
    true = float(torch.nn.functional.kl_div(REFERENCE.log_softmax(-1), p, reduction="sum"))
    assert float((p * d).sum()) == pytest.approx(true, abs=1e-9)
    assert float((p * k3(d)).sum()) == pytest.approx(true, abs=1e-9)
    assert (k3(d) >= 0).all()
