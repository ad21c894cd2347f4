"""Randomness from keys."""

from __future__ import annotations

from expound.statistics import keyed_generator


def test_a_generator_depends_on_its_key_alone() -> None:
    assert keyed_generator("a", 1).random() == keyed_generator("a", 1).random()
    assert keyed_generator("a", 1).random() != keyed_generator("a", 2).random()
    assert keyed_generator("a", "1").random() != keyed_generator("a", 1).random()
