"""A linear reward on frozen states, learnt from judgments themselves rather than from verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from expound.errors import DidNotConverge, NothingToLearn
from expound.reward.calibration import folds
from expound.reward.fit import Floats, Heads, standardise
from expound.reward.losses import Judged, judgment_loss, log_likelihood

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Of the squared weights, beside the mean loss of a judgment; the strongest first."""
UNTRIED = 1e-3
"""The penalty where there is one prompt, and so nothing to leave out."""
STEPS, SMALL_SLOPE = 2000, 1e-6


@dataclass(frozen=True)
class Learnt:
    """A reward of one member, and the penalty that left-out judgments chose."""

    heads: Heads
    penalty: float


def fit_judged(features: Floats, judged: Judged, prompts: Sequence[str], seed: int, *, steps: int = STEPS) -> Learnt:
    """Return the reward under which the judgments are likeliest; `features` and `prompts` are of all responses.

    The penalty is the one whose rewards, fitted on four fifths of the prompts, find the judgments of the others
    likeliest. Errors: NothingToLearn without judgments; DidNotConverge.
    """
    if not float(judged.weight.sum()) > 0:
        raise NothingToLearn("No judgment prefers one response to another.", "Give a file that holds preferences.")
    center, scale = standardise(features)
    x = torch.from_numpy(np.hstack([(features - center) / scale, np.ones((len(features), 1))]))
    penalty = _best(x, judged, prompts, seed, steps)
    weights = _path(x, judged, PENALTIES[: PENALTIES.index(penalty) + 1], steps)[-1].numpy()
    return Learnt(Heads(center, scale, weights[None, :-1], weights[-1:]), penalty)


def _best(x: Tensor, judged: Judged, prompts: Sequence[str], seed: int, steps: int) -> float:
    """Return the penalty under which left-out judgments are likeliest."""
    told = np.zeros(len(PENALTIES))
    of_judgment = [prompts[place] for place in judged.first.tolist()]
    for rows in folds(of_judgment, seed):
        is_left_out = torch.zeros(len(of_judgment), dtype=torch.bool)
        is_left_out[rows] = True
        kept, left_out = judged.part(~is_left_out), judged.part(is_left_out)
        if not float(kept.weight.sum()) > 0:
            continue
        for place, weights in enumerate(_path(x, kept, PENALTIES, steps)):
            told[place] += float(left_out.weight @ log_likelihood(x @ weights, left_out))
    return PENALTIES[int(told.argmax())] if told.any() else UNTRIED


def _path(x: Tensor, judged: Judged, penalties: Sequence[float], steps: int) -> list[Tensor]:
    """Return the best weights for each penalty, each found from the one before; the last is the constant."""
    found, weights = [], torch.zeros(x.shape[1], dtype=x.dtype)
    for penalty in penalties:
        weights = _minimum(x, judged, penalty, weights, steps)
        found.append(weights)
    return found


def _minimum(x: Tensor, judged: Judged, penalty: float, start: Tensor, steps: int) -> Tensor:
    """Return the weights of least loss; it is convex. Errors: DidNotConverge."""

    def loss(values: Floats) -> tuple[float, Floats]:
        weights = torch.from_numpy(values).requires_grad_()
        total = judgment_loss(x @ weights, judged) + penalty * weights[:-1].square().sum()
        total.backward()
        assert weights.grad is not None
        return float(total.detach()), weights.grad.numpy()

    options = {"maxiter": steps, "maxfun": 2 * steps, "gtol": SMALL_SLOPE, "ftol": 0.0}
    found = minimize(loss, start.numpy(), jac=True, method="L-BFGS-B", options=options)
    slope = float(np.abs(found.jac).max())
    if not slope <= 10 * SMALL_SLOPE:  # nor for a slope that is no number
        raise DidNotConverge(
            f"the reward still had a slope of {slope:.1e} after {found.nit} steps (tolerance {SMALL_SLOPE:.0e}).",
            "Look for judgments that a file holds many times over, or take a model with fewer states.",
        )
    return torch.from_numpy(np.asarray(found.x))
