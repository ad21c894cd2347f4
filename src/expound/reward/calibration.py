"""How far a reward is to be believed: its order of responses to prompts that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np

from expound.errors import NothingToLearn
from expound.reward.fit import Floats, Heads, Material, fit_heads, predict
from expound.statistics import keyed_generator, wilson

FOLDS = 5
MIN_REFERENCE = 64
"""Fewer judged responses of the reference than this do not normalise alone; all judged responses do."""
CONSTANT_REWARD = 1e-6


@dataclass(frozen=True)
class PairAccuracy:
    """Share of pairs in the right order (equal rewards count half) and its 95 % interval.

    The interval takes pairs as independent. Pairs of one prompt share responses, so it is somewhat too narrow.
    """

    share: float
    low: float
    high: float
    pairs: int


def left_out_accuracy(material: Material, seed: int) -> PairAccuracy:
    """Return how the reward orders responses to prompts left out of its fit, five folds by prompt.

    Without a pair of different verdicts, or with one prompt, nothing is known: one half, from nought to one.
    """
    predicted = np.zeros(len(material.values))
    for held_out in folds(material.prompts, seed):
        rest = [row for row in range(len(material.values)) if row not in set(held_out)]
        if len(rest) < 2 or np.ptp(material.values[rest]) == 0:
            continue  # these rewards stay equal, and count half
        predicted[held_out] = predict(fit_heads(material.part(rest), 1, seed), material.features[held_out])[0]
    return pair_accuracy(predicted, material)


def length_accuracy(material: Material, tokens: Sequence[int], seed: int) -> PairAccuracy:
    """Return the same for a reward that knows the responses' lengths alone."""
    lengths = np.log(np.array(tokens, dtype=np.float64))[:, None]
    return left_out_accuracy(Material(lengths, material.values, material.prompts), seed)


def folds(prompts: Sequence[str], seed: int) -> list[list[int]]:
    """Return the rows of each fold; a prompt is in one fold. With one prompt there is none."""
    names = sorted(set(prompts))
    if len(names) < 2:
        return []
    places = keyed_generator("reward folds", seed).permutation(len(names))
    parts = [{names[place] for place in part} for part in np.array_split(places, min(FOLDS, len(names)))]
    return [[row for row, prompt in enumerate(prompts) if prompt in part] for part in parts]


def pair_accuracy(predicted: Floats, material: Material) -> PairAccuracy:
    """Return the share of pairs of one prompt's responses that the rewards order like the verdicts."""
    order = sorted(range(len(predicted)), key=lambda row: material.prompts[row])
    right = [
        0.5 + 0.5 * float(np.sign(predicted[one] - predicted[other]) * np.sign(gap))
        for _, rows in groupby(order, key=lambda row: material.prompts[row])
        for one, other in combinations(rows, 2)
        if (gap := material.values[one] - material.values[other]) != 0
    ]
    if not right or len(set(material.prompts)) < 2:
        return PairAccuracy(0.5, 0.0, 1.0, 0)
    low, high = wilson(sum(right), len(right))
    return PairAccuracy(sum(right) / len(right), low, high, len(right))


def normaliser(heads: Heads, features: Floats, is_reference: Sequence[bool]) -> tuple[float, float]:
    """Return mean and spread of the reward over the reference's judged responses, or over all if they are few.

    Errors: NothingToLearn when the reward is the same for all.
    """
    mean, _ = predict(heads, features)
    chosen = mean[np.array(is_reference)] if sum(is_reference) >= MIN_REFERENCE else mean
    center, spread = float(chosen.mean()), float(chosen.std())
    if not spread > CONSTANT_REWARD:
        raise NothingToLearn(
            "The fitted reward is the same for all responses.",
            "Run again: the next round asks more.",
        )
    return center, spread
