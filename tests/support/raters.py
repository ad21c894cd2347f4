"""Panels whose truth is known: who prefers what by how much, and what they would say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from expound.feedback.evidence import Bools, Floats
from expound.records import Comparison, Judgment, Rating, Settlement

NAMES = ("careful", "noisy", "harsh", "side-biased", "adversarial")
NOISE = (0.07, 0.25, 0.10, 0.10, 0.10)


@dataclass(frozen=True)
class Simulated:
    """Judgments, and the true quality of every response."""

    judgments: tuple[Comparison, ...]
    quality: dict[str, float]

    def pair_accuracy(self, settlement: Settlement) -> float:
        """Return the share of compared pairs that the verdicts order rightly."""
        right = [self._is_right(pair.left, pair.right, pair.p_left - 0.5) for pair in settlement.pairs]
        return float(np.mean(right))

    def majority_accuracy(self) -> float:
        """Return the share of compared pairs that most votes order rightly; an even vote is half right."""
        votes: dict[tuple[str, str], int] = {}
        for said in self.judgments:
            one, two = sorted((said.left, said.right))
            toward_one = -int(np.sign(said.choice)) * (1 if said.left == one else -1)
            votes[one, two] = votes.get((one, two), 0) + toward_one
        right = [0.5 if not vote else self._is_right(one, two, vote) for (one, two), vote in votes.items()]
        return float(np.mean(right))

    def _is_right(self, one: str, two: str, toward_one: float) -> bool:
        return (self.quality[one] > self.quality[two]) == (toward_one > 0)


def logistic_panel(discriminations: Sequence[float], prompts: int, votes: int, seed: int) -> Simulated:
    """Return ring comparisons of four responses a prompt by raters of the model's own family, with ties."""
    generator = np.random.default_rng(seed)
    quality = {f"p{prompt:04d}-{one}": float(generator.normal()) for prompt in range(prompts) for one in range(4)}
    said = []
    for prompt in range(prompts):
        for one in range(4):
            for rater in generator.choice(len(discriminations), votes, replace=False):
                left, right = (f"p{prompt:04d}-{place}" for place in generator.permutation([one, (one + 1) % 4]))
                felt = discriminations[rater] * (quality[left] - quality[right]) + generator.logistic()
                choice = 0 if abs(felt) < 0.4 else -1 if felt > 0 else 1
                said.append(Comparison(rater=f"r{rater:02d}", left=left, right=right, choice=choice))
    return Simulated(tuple(said), quality)


def demonstration_panel(seed: int, prompts: int = 28) -> tuple[tuple[Judgment, ...], dict[str, float]]:
    """Return what the demonstration's five raters say of six responses a prompt, and the responses' true utility.

    Every rater sees the utility plus noise; a ring and its diagonals, three raters a pair, two ratings a response.
    """
    generator = np.random.default_rng(seed)
    utility = {f"p{prompt:02d}-{one}": float(generator.beta(1.2, 2)) for prompt in range(prompts) for one in range(6)}
    length = {name: generator.normal(0, 0.05) for name in utility}
    told: list[Judgment] = []
    for prompt in range(prompts):
        names = [f"p{prompt:02d}-{one}" for one in range(6)]
        pairs = [(one, two) for one, two in combinations(range(6), 2) if two - one in (1, 3, 5)]
        for one, two in pairs:
            for rater in generator.choice(5, 3, replace=False):
                left, right = (names[place] for place in generator.permutation([one, two]))
                sides = [_seen(utility[name], length[name], rater, generator) for name in (left, right)]
                felt = sides[0] - sides[1] + 0.15 * (NAMES[rater] == "side-biased")
                choice = 0 if abs(felt) < 0.03 else -1 if felt > 0 else 1
                told.append(Comparison(rater=NAMES[rater], left=left, right=right, choice=choice))
        for name in names:
            for rater in generator.choice(5, 2, replace=False):
                seen = _seen(utility[name], length[name], rater, generator) - 0.2 * (NAMES[rater] == "harsh")
                seen += 0.5 * (NAMES[rater] == "adversarial")
                value = int(np.clip(round(1 + 5 * seen), 1, 5))
                told.append(Rating(rater=NAMES[rater], response=name, value=value))
    return tuple(told), utility


def _seen(utility: float, length: float, rater: int, generator: np.random.Generator) -> float:
    noise = generator.normal(0, NOISE[rater]) + length * (NAMES[rater] == "noisy")
    return float((-1 if NAMES[rater] == "adversarial" else 1) * utility + noise)


def calibration_error(chance: Floats, is_right: Bools) -> float:
    """Return how far chances are from the shares that came true, on average over ten bins."""
    bins = np.minimum((chance * 10).astype(int), 9)
    gaps = [abs(chance[bins == one].mean() - is_right[bins == one].mean()) * (bins == one).mean() for one in set(bins)]
    return float(sum(gaps))
