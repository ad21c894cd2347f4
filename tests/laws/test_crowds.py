"""Real crowds with independent gold: the labels that are settled, beside published figures of other ways of counting.

The sets are not part of the repository; without them these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.settle_plain import CROWDS, DATA, crowd, label_accuracy, plain_dawid_skene
from expound.feedback.categories import collect_votes, fit_confusions, label_verdicts
from expound.feedback.plain import majority_labels
from expound.feedback.verdicts import settle
from expound.records import CheckVerdict
from tests.support.raters import calibration_error

pytestmark = pytest.mark.skipif(not (DATA / "crowd_gold").is_dir(), reason="the sets are not here")

MAJORITY = dict(zip(CROWDS, (0.8969, 0.9361, 0.7598), strict=True))
DAWID_SKENE = dict(zip(CROWDS, (0.9275, 0.9416, 0.7447), strict=True))
LEAST = dict(zip(CROWDS, (0.92, 0.94, 0.755), strict=True))
RAW = dict(zip(CROWDS, (0.063, 0.057, 0.209), strict=True))
LEFT_OUT = dict(zip(CROWDS, (0.05, 0.045, 0.185), strict=True))
KNOWN = dict(zip(CROWDS, (0.04, 0.03, 0.085), strict=True))


def error_of(verdicts: Sequence[CheckVerdict], truths: Mapping[str, str]) -> float:
    """Return how far the chances of the likeliest labels are from the share that is right."""
    best = {one.response: one for one in reversed(verdicts)}  # the likeliest of a response comes first
    chosen = [one for name, one in best.items() if name in truths]
    return calibration_error(
        np.array([one.p for one in chosen]), np.array([truths[one.response] == one.label for one in chosen])
    )


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


@pytest.mark.parametrize("name", CROWDS)
def test_settled_chances_are_less_too_sure_than_the_votes_would_make_them(name: str) -> None:
    """The votes of a crowd err together: taken as independent, they are wrong by RAW."""
    checks, gold = crowd(DATA, name)
    votes = collect_votes(checks)
    raw = label_verdicts(votes, fit_confusions(votes).posterior)
    assert error_of(raw, dict(gold)) == pytest.approx(RAW[name], abs=0.001)
    assert error_of(settle(checks, 1).checks, dict(gold)) <= LEFT_OUT[name]


@pytest.mark.parametrize("name", CROWDS)
def test_a_tenth_of_known_categories_makes_chances_honest(name: str) -> None:
    checks, gold = crowd(DATA, name)
    known = dict(gold[::10])
    taught = [replace(one, gold=known.get(one.response)) for one in checks]
    unknown = {item: label for item, label in gold if item not in known}
    assert error_of(settle(taught, 1).checks, unknown) <= KNOWN[name]
