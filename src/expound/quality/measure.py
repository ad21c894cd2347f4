"""How often the tuned policy's responses were preferred on held-out prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean

from expound.errors import NothingToLearn
from expound.records import Comparison, Evaluation, Judgment, Response
from expound.statistics import FEWEST_CLUSTERS, cluster_interval, cluster_quantile
from expound.text import words

POWER = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class Pair:
    """One opinion on a response of the tuned policy and one of the reference: 1 tuned is better, ½ a tie, 0 worse."""

    tuned: Response
    reference: Response
    share: float


def measure(
    judgments: Sequence[Judgment], responses: Mapping[str, Response], *, reference: str, tuned: str, round_: int
) -> Evaluation:
    """Return the raw win rate of the policy `tuned` against `reference`, ties half, with its interval by prompt.

    Judgments of one pair are averaged first, then the pairs of a prompt, then the prompts, so that a prompt asked
    more often weighs no more. Pairs with equal texts were never asked; each counts as one tie, which is what anybody
    would have to say of them.
    Errors: NothingToLearn when no pair of the two policies was judged and none has equal texts.
    """
    judged = [found for found in judgments if isinstance(found, Comparison)]
    pairs = [pair for found in judged if (pair := _judged_pair(found, responses, reference, tuned))]
    equal = _equal_pairs(responses.values(), reference, tuned)
    if not pairs and not equal:
        raise NothingToLearn(
            f"round {round_} has no judged comparison of the tuned policy with the reference.",
            "Run 'expound measure' to ask for them, and have them answered.",
        )
    shares, means = [pair.share for pair in pairs], list(_by_prompt([*pairs, *equal]).values())
    return Evaluation(
        round=round_,
        prompts=len(means),
        comparisons=len(pairs),
        wins=shares.count(1.0),
        losses=shares.count(0.0),
        ties=shares.count(0.5),
        equal=len(equal),
        win_rate=fmean(means),
        interval=_interval(means),
        length_ratio=_length_ratio([*pairs, *equal]),
        sources=tuple(sorted({found.source for found in judged})),
    )


def _judged_pair(found: Comparison, responses: Mapping[str, Response], reference: str, tuned: str) -> Pair | None:
    left, right = responses[found.left], responses[found.right]
    if {left.policy, right.policy} != {reference, tuned}:
        return None
    for_right = (found.choice > 0) + 0.5 * (found.choice == 0)
    return Pair(right, left, for_right) if right.policy == tuned else Pair(left, right, 1 - for_right)


def _equal_pairs(responses: Iterable[Response], reference: str, tuned: str) -> list[Pair]:
    oldest_first = sorted(responses, key=lambda one: one.round)
    theirs = {(found.prompt, found.sample): found for found in oldest_first if found.policy == reference}
    ours = [found for found in oldest_first if found.policy == tuned and (found.prompt, found.sample) in theirs]
    pairs = [Pair(found, theirs[found.prompt, found.sample], 0.5) for found in ours]
    return [pair for pair in pairs if pair.tuned.text == pair.reference.text]


def _by_prompt(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return each prompt's mean over its pairs of the mean over their judgments."""
    questions: dict[str, dict[tuple[str, str], list[float]]] = {}
    for pair in pairs:
        asked = questions.setdefault(pair.tuned.prompt, {})
        asked.setdefault((pair.tuned.id, pair.reference.id), []).append(pair.share)
    return {prompt: fmean(map(fmean, asked.values())) for prompt, asked in questions.items()}


def _interval(means: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean over prompts, inside 0 to 1.

    When all prompts say the same, their spread of 0 would claim certainty. Then up to a share q of unseen prompts may
    say the opposite: q with (1 - q)^n = .05, the rule of three.
    """
    n, mean = len(means), fmean(means)
    if min(means) == max(means) and n >= FEWEST_CLUSTERS:
        unseen = 1 - 0.05 ** (1 / n)
        return mean * (1 - unseen), mean + (1 - mean) * unseen
    interval = cluster_interval(means)
    return interval and (max(0.0, interval[0]), min(1.0, interval[1]))


def _length_ratio(pairs: Sequence[Pair]) -> float:
    ours = {pair.tuned.id: len(words(pair.tuned.text)) for pair in pairs}
    theirs = {pair.reference.id: len(words(pair.reference.text)) for pair in pairs}
    return fmean(ours.values()) / max(1.0, fmean(theirs.values()))


def smallest_effect(prompts: int, each: int) -> float | None:
    """Return by how much a policy must truly be preferred beyond one half to be found out four times in five.

    Found out is what has an interval without one half. `each` comparisons a prompt count as independent and without
    ties, like throws of a coin with the variance w (1 - w): ties make the effect smaller, comparisons of one prompt
    that agree make it larger, up to that of a single one. None below 20 prompts, which have no interval.
    """
    if prompts < FEWEST_CLUSTERS:
        return None
    errors = cluster_quantile(prompts) + POWER
    # The effect d is so many standard errors of a share of one half + d: d = errors * sqrt((1/4 - d^2) / n).
    return errors / (2 * sqrt(prompts * each + errors**2))
