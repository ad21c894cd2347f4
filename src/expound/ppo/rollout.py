"""Episodes as ragged tensors, micro-batches of them, and the tensor of rewards.

Results per response token live flat, [n], episode by episode, or as a grid [episodes, time] with zeros behind the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expound.errors import TrainingStopped

TOKEN_BUDGET = 4096
"""Rows x columns of a micro-batch: a mini-batch of sixteen 180-token rows goes whole, and its prompts once."""

REWARD_BOUND = 10.0
"""Normalised rewards are held within this many spreads."""

CUT_PENALTY = 1.0
"""A response without an end gets at most minus this, and this less than it would have got.

The papers replace such a reward by a constant, which makes a bad cut response better than it is; the minimum of reward
and constant alone did not pay for ending where the learned reward liked length (demonstration runs: the share of
finished responses fell to .25), a deduction of one spread on top did.
"""


@dataclass(frozen=True)
class Rollouts:
    """Episodes end to end; nothing after an end token exists.

    `tokens` int64 [tokens]: prompt and response of every episode, concatenated; `starts` int64 [episodes + 1]:
    offsets into tokens; `prompt_lengths` int64 [episodes]; `finished` bool [episodes]: True = ended with an end
    token, False = cut by max_new_tokens; `sampler_logprobs` float32 [response tokens], at the sampling temperature;
    `prompts` and `samples`: prompt id and index of each episode; `trunk` float32 [tokens, width] or None: the input
    of the live layers; `temperature` of the sampling.
    """

    tokens: Tensor
    starts: Tensor
    prompt_lengths: Tensor
    finished: Tensor
    sampler_logprobs: Tensor
    prompts: tuple[str, ...]
    samples: tuple[int, ...]
    temperature: float
    trunk: Tensor | None = None

    @property
    def episodes(self) -> int:
        """Return the number of episodes."""
        return len(self.prompts)

    @property
    def response_lengths(self) -> Tensor:
        """Return the response tokens of each episode, end token included, int64 [episodes]."""
        return self.starts[1:] - self.starts[:-1] - self.prompt_lengths


@dataclass(frozen=True)
class Batch:
    """A micro-batch of whole episodes; rows are padded at the end only, so pure causal attention is exact.

    `tokens` int64 [rows, columns]; `trunk` float32 [rows, columns, width] or None (then the whole model runs from the
    tokens); `gather` int64 [n]: flat index (row * columns + column) of the hidden state that predicts each response
    token; `targets` int64 [n]; `flat` int64 [n]: index into the rollouts' flat response tokens.
    """

    tokens: Tensor
    trunk: Tensor | None
    gather: Tensor
    targets: Tensor
    flat: Tensor
    temperature: float


@dataclass(frozen=True)
class Normaliser:
    """Mean and spread of the reward over responses of the reference; fixed when the reward is fitted."""

    mean: float
    sd: float


def is_response(lengths: Tensor) -> Tensor:
    """Return bool [episodes, time]: True = a real response token, the end token included."""
    steps = torch.arange(int(lengths.max()), device=lengths.device)
    return steps < lengths[:, None]


def to_grid(flat: Tensor, lengths: Tensor) -> Tensor:
    """Return flat [n] as a grid [episodes, time] with zeros behind the end."""
    where = is_response(lengths)
    return flat.new_zeros(where.shape).masked_scatter(where, flat)


def to_flat(grid: Tensor, lengths: Tensor) -> Tensor:
    """Return a grid [episodes, time] as flat [n]."""
    return grid[is_response(lengths)]


def plan(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> Iterator[tuple[int, ...]]:
    """Yield micro-batches as indices into `lengths` (tokens of whole rows), shortest first, ties by index.

    Rows x columns stay within the budget; a row beyond it goes alone.
    """
    rows: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        if rows and (len(rows) + 1) * lengths[index] > budget:
            yield tuple(rows)
            rows = []
        rows.append(index)
    if rows:
        yield tuple(rows)


def batches(rollouts: Rollouts, episodes: Sequence[int], budget: int = TOKEN_BUDGET) -> Iterator[Batch]:
    """Yield the episodes as micro-batches of rows of like length."""
    lengths = (rollouts.starts[1:] - rollouts.starts[:-1]).tolist()
    for rows in plan([lengths[episode] for episode in episodes], budget):
        yield make_batch(rollouts, [episodes[row] for row in rows])


def make_batch(rollouts: Rollouts, episodes: Sequence[int]) -> Batch:
    """Return one micro-batch with a row for each of the episodes, in their order."""
    tokens, lengths = rollouts.tokens, rollouts.response_lengths
    chosen = torch.tensor(list(episodes), device=tokens.device)
    first, widths = rollouts.starts[chosen], rollouts.starts[chosen + 1] - rollouts.starts[chosen]
    columns = torch.arange(int(widths.max()), device=tokens.device)
    is_token = columns < widths[:, None]
    index = (first[:, None] + columns).clamp(max=tokens.numel() - 1)
    trunk = None if rollouts.trunk is None else rollouts.trunk[index] * is_token[..., None]
    # A response token is predicted by the hidden state one column before it.
    row, column = (is_token & (columns >= rollouts.prompt_lengths[chosen, None])).nonzero(as_tuple=True)
    begins = (lengths.cumsum(0) - lengths - rollouts.prompt_lengths)[chosen]
    return Batch(
        tokens=tokens[index] * is_token,
        trunk=trunk,
        gather=row * len(columns) + column - 1,
        targets=tokens[first[row] + column],
        flat=begins[row] + column,
        temperature=rollouts.temperature,
    )


def normalise(mean: Tensor, sd: Tensor, finished: Tensor, normaliser: Normaliser, caution: float) -> Tensor:
    """Return the reward that PPO maximises, [episodes], in spreads of the reference's rewards.

    `mean` and `sd` over the members of the reward, [episodes]; `caution` times the sd is taken off (members disagree
    where the reward guesses: Coste et al., arXiv 2310.02743).
    """
    z = ((mean - caution * sd - normaliser.mean) / normaliser.sd).clamp(-REWARD_BOUND, REWARD_BOUND)
    return torch.where(finished, z, (z - CUT_PENALTY).clamp(max=-CUT_PENALTY))


def reward_tensor(z: Tensor, log_ratio: Tensor, lengths: Tensor, kl_weight: float) -> Tensor:
    """Return rewards [episodes, time]: z on the last response token, minus the weighted log-ratio on every one.

    `log_ratio` [episodes, time]: policy that sampled minus reference, zero behind the end.
    """
    rewards = -kl_weight * log_ratio
    rewards[torch.arange(len(z), device=z.device), lengths - 1] += z
    return rewards


def check_rewards(mean: Tensor, rollouts: Rollouts) -> None:
    """Refuse a reward that is missing or no number. Errors: TrainingStopped, naming the first such response."""
    if mean.shape != (rollouts.episodes,):
        raise TrainingStopped(
            f"The reward gave {mean.numel()} values for {rollouts.episodes} responses.", "Fit the reward again."
        )
    bad = (~mean.isfinite()).nonzero().flatten().tolist()
    if bad:
        prompt, sample = rollouts.prompts[bad[0]], rollouts.samples[bad[0]]
        raise TrainingStopped(
            f"The reward of response {sample} to prompt {prompt} is {mean[bad[0]].item()}.", "Fit the reward again."
        )
