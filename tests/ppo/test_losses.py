"""The losses by hand."""

from __future__ import annotations

import math

import pytest
import torch

from expound.ppo.losses import policy_loss_sum, ratios, value_loss_sum


def test_ratios_are_held_within_bounds() -> None:
    found = ratios(torch.tensor([0.0, math.log(2.0), 500.0]), torch.tensor([0.0, 0.0, 0.0]))
    assert found[:2].tolist() == pytest.approx([1.0, 2.0])
    assert float(found[2]) == pytest.approx(math.exp(20.0), rel=1e-6)


def test_the_policy_loss_takes_the_worse_of_ratio_and_clipped_ratio() -> None:
    """By hand: min(1.5 x 2, 1.2 x 2) + min(1.5 x -1, 1.2 x -1) + min(.5 x 1, .8 x 1) + min(.5 x -1, .8 x -1)."""
    ratio, advantages = torch.tensor([1.5, 1.5, 0.5, 0.5]), torch.tensor([2.0, -1.0, 1.0, -1.0])
    assert float(policy_loss_sum(ratio, advantages)) == pytest.approx(-(2.4 - 1.5 + 0.5 - 0.8))


def test_the_value_loss_takes_the_worse_of_value_and_clipped_value() -> None:
    """By hand: value 1 from old 0 with return 1 counts as .2 off by .8; with return -1 it is off by 2."""
    loss = value_loss_sum(torch.tensor([1.0, 1.0]), torch.zeros(2), torch.tensor([1.0, -1.0]))
    assert float(loss) == pytest.approx(0.5 * (0.8**2 + 2.0**2))
