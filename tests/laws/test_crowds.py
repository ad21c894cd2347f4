"""Real crowds with independent gold: the labels that are settled, beside published figures of other ways of counting.

The sets are not part of the repository; without them these tests are skipped.
"""

from __future__ import annotations

import pytest

from benchmarks.settle_plain import CROWDS, DATA, crowd, label_accuracy, plain_dawid_skene
from expound.feedback.plain import majority_labels
from expound.feedback.verdicts import settle

pytestmark = pytest.mark.skipif(not (DATA / "crowd_gold").is_dir(), reason="the sets are not here")

MAJORITY = dict(zip(CROWDS, (0.8969, 0.9361, 0.7598), strict=True))
DAWID_SKENE = dict(zip(CROWDS, (0.9275, 0.9416, 0.7447), strict=True))
LEAST = dict(zip(CROWDS, (0.92, 0.94, 0.755), strict=True))


@pytest.mark.parametrize("name", CROWDS)
def test_the_majority_is_the_published_one(name: str) -> None:
    checks, gold = crowd(DATA, name)
    assert label_accuracy(majority_labels(checks), gold) == pytest.approx(MAJORITY[name], abs=0.001)


@pytest.mark.parametrize("name", CROWDS)
def test_without_drawing_raters_together_it_is_dawid_and_skene(name: str) -> None:
    checks, gold = crowd(DATA, name)
    assert label_accuracy(plain_dawid_skene(checks), gold) == pytest.approx(DAWID_SKENE[name], abs=0.004)


@pytest.mark.parametrize("name", CROWDS)
def test_settled_labels_reach_their_target(name: str) -> None:
    """Where Dawid and Skene lose to the majority (adult_ordinal), drawing raters together does not."""
    checks, gold = crowd(DATA, name)
    assert label_accuracy(settle(checks, 1).checks, gold) >= LEAST[name]
