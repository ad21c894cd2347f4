"""The likelihood stands twice, in numpy for the settlement and in torch for the reward: laws that hold both equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from expound.feedback.evidence import Floats, Graded, collect
from expound.feedback.skill import Bounds, Fit, fit, slopes
from expound.feedback.skill import log_probability as settled_probability
from expound.records import Comparison, Ranking, Rating
from expound.reward.losses import LEVEL, Judged, judgment_loss, log_likelihood, log_probability
from tests.support.raters import demonstration_panel

NEAR = some.floats(-30, 30)
CLOSE = 1e-6


def told() -> list[Graded]:
    """Return comparisons with ties, ratings and rankings of the demonstration's panel."""
    said: list[Graded] = [one for one in demonstration_panel(5, prompts=8)[0] if isinstance(one, Comparison | Rating)]
    tiers = ((("p00-0",), ("p00-1", "p00-2")), (("p01-3",), ("p01-0",), ("p01-1",)))
    return [*said, *(Ranking(rater=rater, tiers=one) for rater in ("careful", "harsh") for one in tiers)]


def as_rows(judgments: Sequence[Graded]) -> tuple[Fit, Judged, Floats]:
    """Return the settlement, its judgments for the loss, and the settlement's own log-probability of each."""
    evidence = collect(judgments)
    found = fit(evidence)
    ways, facet = found.ways, evidence.facet
    bounds = ways.bounds(evidence)
    columns = (ways.discrimination[facet], ways.offset[facet], bounds.low, bounds.high, evidence.weight)
    judged = Judged(*map(torch.from_numpy, (evidence.first, evidence.second, *columns)))
    return found, judged, settled_probability(ways.centre(evidence, found.quality.judged), bounds)


@given(eta=NEAR, low=NEAR, gap=some.floats(1e-3, 8), ends=some.sampled_from(("both", "low", "high", "none")))
def test_one_judgment_is_as_likely_in_both_and_has_the_same_slope(
    eta: float, low: float, gap: float, ends: str
) -> None:
    below = -np.inf if ends in ("low", "none") else low
    above = np.inf if ends in ("high", "none") else low + gap
    bounds = Bounds(np.array([below]), np.array([above]))
    at = torch.tensor([eta], dtype=torch.float64, requires_grad=True)
    found = log_probability(at, torch.from_numpy(bounds.low), torch.from_numpy(bounds.high))
    (slope,) = torch.autograd.grad(found.sum(), at)
    assert found.detach().numpy() == pytest.approx(settled_probability(np.array([eta]), bounds), abs=CLOSE)
    assert slope.numpy() == pytest.approx(slopes(np.array([eta]), bounds).by_eta, abs=CLOSE)


def test_a_panel_is_as_likely_in_both() -> None:
    found, judged, settled = as_rows(told())
    assert {1.0, (2 / 3) ** 0.5} == {*judged.weight.tolist()}
    likely = log_likelihood(torch.from_numpy(found.quality.value), judged)
    assert likely.numpy() == pytest.approx(settled, abs=CLOSE)
    assert (judged.discrimination < 0).any(), "the panel has an inverted rater"


def test_the_loss_is_the_mean_by_weight_and_its_slope_at_the_settled_qualities_is_that_of_their_prior() -> None:
    """There the slopes of likelihood and prior cancel: Σ w ∂log P/∂θ = θ, up to the fit's tolerance."""
    found, judged, settled = as_rows(told())
    rewards = torch.from_numpy(found.quality.value).requires_grad_()
    loss = judgment_loss(rewards, judged)
    (slope,) = torch.autograd.grad(loss, rewards)
    weight, values = judged.weight.numpy(), found.quality.value
    size = LEVEL * (values**2).mean()
    assert float(loss.detach()) == pytest.approx(-(weight @ settled) / weight.sum() + size, abs=CLOSE)
    of_likelihood = -(slope.numpy() - 2 * LEVEL * values / len(values)) * weight.sum()
    assert of_likelihood == pytest.approx(values, abs=0.02)


def test_who_is_turned_round_teaches_the_opposite() -> None:
    found, judged, _ = as_rows(told())
    turned = replace(judged, discrimination=-judged.discrimination)
    values = torch.from_numpy(found.quality.value)
    assert torch.allclose(log_likelihood(values, judged), log_likelihood(-values, turned))
