"""The reward model: ridge regressions of verdicts on what the frozen reference makes of a response.

Features are standardised and divided by the root of their number, so that one penalty fits models of every width. The
members are one regression on all examples and others on examples of prompts drawn with replacement; where they
disagree, the reward guesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expound.errors import NothingToLearn
from expound.statistics import keyed_generator

Floats = NDArray[np.float64]

PENALTY = 10.0
"""Ridge penalty, chosen on training prompts; from 1 to 10 pair accuracy on left-out prompts rose from .69 to .735."""

MIN_EXAMPLES = 2
CONSTANT = 1e-8
"""A feature whose spread is below this tells nothing and is left out."""


@dataclass(frozen=True)
class Heads:
    """Linear functions of raw features: members' `weights` [members, features] and `bias` [members].

    A feature first loses its `center` and is divided by its `scale`, [features] each (infinite: it is left out).
    """

    center: Floats
    scale: Floats
    weights: Floats
    bias: Floats


@dataclass(frozen=True)
class Material:
    """Examples as numbers.

    `features` [examples, features]; `values` [examples]: the verdicts; `prompts` [examples].
    """

    features: Floats
    values: Floats
    prompts: tuple[str, ...]

    def part(self, rows: Sequence[int] | NDArray[np.intp]) -> Material:
        """Return the examples of some rows."""
        prompts = tuple(self.prompts[row] for row in rows)
        return Material(self.features[rows], self.values[rows], prompts)


def fit_heads(material: Material, members: int, seed: int) -> Heads:
    """Fit the members.

    Errors: NothingToLearn for fewer than two examples, verdicts that are all equal, or numbers that are not finite.
    """
    _check(material)
    center, scale = standardise(material.features)
    x, y = (material.features - center) / scale, material.values
    rows = [np.arange(len(y)), *(_bootstrap(material.prompts, seed, member) for member in range(1, members))]
    fits = [_ridge(x[chosen], y[chosen]) for chosen in rows]
    weights, bias = np.stack([weight for weight, _ in fits]), np.array([constant for _, constant in fits])
    return Heads(center, scale, weights, bias)


def predict(heads: Heads, features: Floats) -> tuple[Floats, Floats]:
    """Return mean and spread (0 for one member) of the members' rewards, [rows] each."""
    each = (features - heads.center) / heads.scale @ heads.weights.T + heads.bias
    spread = each.std(axis=1, ddof=1) if each.shape[1] > 1 else np.zeros(len(each))
    return each.mean(axis=1), spread


def _check(material: Material) -> None:
    if len(material.values) < MIN_EXAMPLES or np.ptp(material.values) == 0:
        raise NothingToLearn(
            f"The {len(material.values)} verdicts tell nothing apart.",
            "Run again: the next round asks more, and all judgments so far still count.",
        )
    if not (np.isfinite(material.features).all() and np.isfinite(material.values).all()):
        raise NothingToLearn(
            "A verdict or a state of the model is no number.",
            "Look at what 'expound explain QUESTION' writes.",
        )


def standardise(features: Floats) -> tuple[Floats, Floats]:
    """Return what each feature loses and what it is divided by, as in `Heads`."""
    center, spread = features.mean(axis=0), features.std(axis=0)
    root = np.sqrt(features.shape[1])
    return center, np.where(spread > CONSTANT * np.maximum(1.0, np.abs(center)), spread * root, np.inf)


def _ridge(x: Floats, y: Floats) -> tuple[Floats, float]:
    """Return weights and constant of a ridge regression whose constant is free."""
    x_mean, y_mean = x.mean(axis=0), float(y.mean())
    x, y = x - x_mean, y - y_mean
    if x.shape[0] < x.shape[1]:
        weights = x.T @ np.linalg.solve(x @ x.T + PENALTY * np.eye(x.shape[0]), y)
    else:
        weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ y)
    return weights, y_mean - float(x_mean @ weights)


def _bootstrap(prompts: Sequence[str], seed: int, member: int) -> NDArray[np.intp]:
    names = sorted(set(prompts))
    drawn = keyed_generator("reward member", seed, member).integers(len(names), size=len(names))
    rows: dict[str, list[int]] = {name: [] for name in names}
    for row, prompt in enumerate(prompts):
        rows[prompt].append(row)
    return np.array([row for place in drawn for row in rows[names[place]]], dtype=np.intp)
