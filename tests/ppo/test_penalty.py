"""The controller by hand."""

from __future__ import annotations

import pytest

from expound.ppo.penalty import auto_target, next_weight


def test_twenty_updates_by_hand() -> None:
    """KL twice the target: plus a fifth an update; KL zero: minus a fifth; 10 % above: 10 %."""
    weight = 0.05
    for _ in range(20):
        weight = next_weight(weight, kl=12.0, target=6.0)
    assert weight == pytest.approx(0.05 * 1.2**20, rel=1e-12)
    assert next_weight(1.0, kl=0.0, target=6.0) == pytest.approx(0.8)
    assert next_weight(1.0, kl=6.6, target=6.0) == pytest.approx(1.1)


def test_a_target_of_zero_holds_the_weight() -> None:
    assert next_weight(0.05, kl=9.0, target=0.0) == 0.05


def test_the_automatic_target_is_a_tenth_a_token_and_at_most_six() -> None:
    assert auto_target(24.0) == pytest.approx(2.4)
    assert auto_target(128.0) == 6.0
