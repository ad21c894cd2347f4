"""How far a reward is to be believed: its order of responses to prompts that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np

from expound.errors import NothingToLearn
from expound.records import CurvePoint, LearningCurve
from expound.reward.fit import Floats, Heads, Material, fit_heads, predict
from expound.statistics import keyed_generator, ratio_interval, wilson

FOLDS = 5
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the judged prompts; from a half to all the judgments double."""
ORDERS, EXAMPLES_READ = 5, 2000
"""Drawn orders in which prompts are taken, to even out which come first; fewer where examples are many."""
MIN_REFERENCE = 64
"""Fewer judged responses of the reference than this do not normalise alone; all judged responses do."""
CONSTANT_REWARD = 1e-6

Counted = tuple[float, int]
"""Of one prompt: pairs in the right order (equal rewards count half), and pairs."""


@dataclass(frozen=True)
class PairAccuracy:
    """Share of pairs in the right order (equal rewards count half) and its 95 % interval.

    Pairs of one prompt share responses: from 20 prompts on the interval is by prompt, but never narrower than that of
    independent pairs, which is all there is below.
    """

    share: float
    low: float
    high: float
    pairs: int


def left_out_accuracy(material: Material, seed: int) -> PairAccuracy:
    """Return how the reward orders responses to prompts left out of its fit, five folds by prompt.

    Without a pair of different verdicts, or with one prompt, nothing is known: one half, from nought to one.
    """
    material = _in_order(material)
    return accuracy_of(_right(_left_out(material, seed), material))


def learning_curve(material: Material, seed: int) -> LearningCurve:
    """Return the same for rewards fitted on a part of the prompts, with the gain from a half of them to all.

    Every reward is asked about the same left-out pairs, and the last one is that of `left_out_accuracy`, so the gain is
    the mean of differences of one pair, whose interval is by prompt and much narrower than those of the points. Prompts
    are taken and left with all that was judged of them. The verdicts stay those of all judgments, so the curve is about
    more prompts of this panel, not about raters who are known better.
    """
    material = _in_order(material)
    means = [_at(material, seed, share) for share in SHARES]
    points = tuple(_point(material, share, mean) for share, mean in zip(SHARES, means, strict=True))
    half = means[SHARES.index(0.5)]
    gained = [(all_ - some, pairs) for (some, pairs), (all_, _) in zip(half, means[-1], strict=True)]
    return LearningCurve(points, points[-1].accuracy - points[SHARES.index(0.5)].accuracy, ratio_interval(gained))


def _point(material: Material, share: float, right: Sequence[Counted]) -> CurvePoint:
    found, prompts = accuracy_of(right), len(set(material.prompts))
    return CurvePoint(share, math.ceil(share * prompts), found.share, found.low, found.high)


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
    return accuracy_of(_right(predicted, material))


def _in_order(material: Material) -> Material:
    """Return the examples in an order of their own, so that nothing depends on the order of the judgments."""
    rows = range(len(material.values))
    place = {row: (material.prompts[row], material.values[row], material.features[row].tobytes()) for row in rows}
    return material.part(sorted(rows, key=place.__getitem__))


def _left_out(material: Material, seed: int, share: float = 1.0, draw: int = 0) -> Floats:
    """Return each example's reward by a fit on a share of the prompts of the other folds, [examples]."""
    predicted = np.zeros(len(material.values))
    for held_out in folds(material.prompts, seed):
        others = sorted(set(material.prompts) - {material.prompts[row] for row in held_out})
        places = keyed_generator("learning curve", seed, draw).permutation(len(others))
        taken = {others[place] for place in places[: math.ceil(share * len(others))]}
        rest = [row for row, prompt in enumerate(material.prompts) if prompt in taken]
        if len(rest) < 2 or np.ptp(material.values[rest]) == 0:
            continue  # these rewards stay equal, and count half
        predicted[held_out] = predict(fit_heads(material.part(rest), 1, seed), material.features[held_out])[0]
    return predicted


def _right(predicted: Floats, material: Material) -> list[Counted]:
    """Return for every prompt with pairs of different verdicts how many are in the right order, and how many there are.

    With a single prompt nothing is left out, and nothing is known.
    """
    order = sorted(range(len(predicted)), key=lambda row: material.prompts[row])
    found = []
    for _, rows in groupby(order, key=lambda row: material.prompts[row]):
        signs = [
            float(np.sign(predicted[one] - predicted[other]) * np.sign(gap))
            for one, other in combinations(rows, 2)
            if (gap := material.values[one] - material.values[other]) != 0
        ]
        found += [(sum(0.5 + 0.5 * sign for sign in signs), len(signs))] * bool(signs)
    return found if len(set(material.prompts)) > 1 else []


def _at(material: Material, seed: int, share: float) -> list[Counted]:
    """Return the counts of rewards fitted on a share of the prompts, averaged over the drawn orders."""
    draws = max(1, min(ORDERS, EXAMPLES_READ // max(1, len(material.values)))) if share < 1 else 1
    found = [_right(_left_out(material, seed, share, draw), material) for draw in range(draws)]
    return [(sum(right for right, _ in same) / draws, same[0][1]) for same in zip(*found, strict=True)]


def accuracy_of(counted: Iterable[Counted]) -> PairAccuracy:
    """Return the share of all pairs that are in the right order; of none nothing is known."""
    by_prompt = list(counted)
    right, pairs = sum(one for one, _ in by_prompt), sum(n for _, n in by_prompt)
    if not pairs:
        return PairAccuracy(0.5, 0.0, 1.0, 0)
    low, high = wilson(right, pairs)
    wide = ratio_interval(by_prompt) or (low, high)
    return PairAccuracy(right / pairs, max(0.0, min(low, wide[0])), min(1.0, max(high, wide[1])), pairs)


def normaliser(heads: Heads, features: Floats, is_reference: Sequence[bool]) -> tuple[float, float, float]:
    """Return mean and spread of the reward, and the mean spread of its members.

    They are over the reference's judged responses, or over all if those are few.

    Errors: NothingToLearn when the reward is the same for all.
    """
    chosen = features[np.array(is_reference)] if sum(is_reference) >= MIN_REFERENCE else features
    mean, doubt = predict(heads, chosen)
    center, spread = float(mean.mean()), float(mean.std())
    if not spread > CONSTANT_REWARD:
        raise NothingToLearn(
            "The fitted reward is the same for all responses.",
            "Run again: the next round asks more.",
        )
    return center, spread, float(doubt.mean())
