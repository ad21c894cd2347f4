"""What raters said, as a loss on rewards: the likelihood of the settlement, with the reward where the quality stood.

Comparisons with ties, pairs of rankings, ratings and preference pairs are rows of one kind. The ways of the raters and
the cuts come from the settlement and are not trained: fixed, they teach as well as the true ones would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

LEVEL = 1e-3
"""Weight of the mean square of rewards, which keeps them near 0, where the qualities of the settlement are."""


@dataclass(frozen=True)
class Judged:
    """Judgments as rows, [judgments] each.

    `first` and `second` int64 are places of responses: of a comparison the left and the right one; of a rating the
    rated one and the number of responses, where the reward is 0. `discrimination` and `offset` are the rater's; `low`
    and `high` the stretched cuts around what was said, −∞ and ∞ at the ends of the scale; `weight` how much it counts.
    """

    first: Tensor
    second: Tensor
    discrimination: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor
    weight: Tensor

    def part(self, rows: Tensor) -> Judged:
        """Return some of the judgments."""
        return Judged(**{name: column[rows] for name, column in vars(self).items()})


def joined(parts: Sequence[Judged]) -> Judged:
    """Return the judgments of all parts."""
    return Judged(**{name: torch.cat([vars(part)[name] for part in parts]) for name in Judged.__dataclass_fields__})


def preferences(first: Tensor, second: Tensor, probability: Tensor, weight: Tensor) -> Judged:
    """Return that `first` is the better one with some probability, said by an average rater without a side.

    It is two judgments, one for each; those that are impossible weigh nothing.
    """
    count, shares = len(first), torch.cat([probability, 1 - probability])
    zeros = torch.zeros(2 * count, dtype=weight.dtype)
    return Judged(
        first=torch.cat([first, second]),
        second=torch.cat([second, first]),
        discrimination=zeros + 1,
        offset=zeros,
        low=zeros,
        high=zeros + torch.inf,
        weight=shares * weight.repeat(2),
    )


def log_probability(eta: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return log(σ(high − η) − σ(low − η)), [judgments]; as a product it is stable far out."""
    return logsigmoid(high - eta) + logsigmoid(eta - low) + torch.log1p(-torch.exp(low - high))


def log_likelihood(rewards: Tensor, judged: Judged) -> Tensor:
    """Return the log-probability of each judgment, [judgments], from the rewards of all responses [responses]."""
    padded = torch.cat([rewards, rewards.new_zeros(1)])
    eta = judged.discrimination * (padded[judged.first] - padded[judged.second]) + judged.offset
    return log_probability(eta, judged.low, judged.high)


def judgment_loss(rewards: Tensor, judged: Judged) -> Tensor:
    """Return the mean loss of the judgments by their weight, and a little for the size of the rewards."""
    told = log_likelihood(rewards, judged)
    return -(judged.weight @ told) / judged.weight.sum() + LEVEL * rewards.square().mean()
