"""Episodes as ragged tensors, the groups in which they are run, and the tensor of rewards.

Results per response token live flat, [n], episode by episode, or as a grid [episodes, time] with zeros behind the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expound.errors import TrainingStopped

TOKEN_BUDGET = 4096
"""Padded tokens that are run side by side; a mini-batch of sixteen 180-token episodes goes whole."""

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
    `prompts` and `samples`: prompt id and index of each episode; `temperature` of the sampling; `trunk` float32
    [tokens, width] or None: the input of the live layers; `reading` float32 [episodes, width] or None: what a reward
    reads of each episode.
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
    reading: Tensor | None = None

    @property
    def episodes(self) -> int:
        """Return the number of episodes."""
        return len(self.prompts)

    @property
    def responses(self) -> int:
        """Return the number of responses to each prompt, which is the same for all."""
        return self.episodes // len(set(self.prompts))

    @property
    def response_lengths(self) -> Tensor:
        """Return the response tokens of each episode, end token included, int64 [episodes]."""
        return self.starts[1:] - self.starts[:-1] - self.prompt_lengths

    @property
    def response_tokens(self) -> Tensor:
        """Return the response tokens end to end, int64 [response tokens]."""
        ends = zip(self.starts[1:].tolist(), self.response_lengths.tolist(), strict=True)
        return torch.cat([self.tokens[end - length : end] for end, length in ends])


@dataclass(frozen=True)
class Normaliser:
    """Mean and spread of the reward over responses of the reference; fixed when the reward is fitted.

    `doubt` is the mean spread of its members over the same responses, 0 for a single one.
    """

    mean: float
    sd: float
    doubt: float = 0.0


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


def flat_index(rollouts: Rollouts, episodes: Sequence[int]) -> Tensor:
    """Return where the response tokens of some episodes stand in flat results, int64 [n], in the order given."""
    ends = rollouts.response_lengths.cumsum(0).tolist()
    starts = [0, *ends]
    index = [torch.arange(starts[episode], ends[episode]) for episode in episodes]
    return torch.cat(index).to(rollouts.tokens.device)


def micro_batches(rollouts: Rollouts, episodes: Sequence[int], budget: int = TOKEN_BUDGET) -> Iterator[tuple[int, ...]]:
    """Yield the episodes in groups that are run together, prompts of like length and all of a prompt side by side.

    The padded tokens of a group, each prompt counted once, stay within the budget; an episode beyond it goes alone.
    """
    prompts, said = rollouts.prompt_lengths.tolist(), rollouts.response_lengths.tolist()
    group: list[int] = []
    for episode in sorted(episodes, key=lambda one: (prompts[one], rollouts.prompts[one], one)):
        rows = [*group, episode]
        once = len({rollouts.prompts[row] for row in rows})
        if group and once * prompts[episode] + len(rows) * max(said[row] for row in rows) > budget:
            yield tuple(group)
            rows = [episode]
        group = rows
    yield tuple(group)


def normalise(mean: Tensor, sd: Tensor, finished: Tensor, normaliser: Normaliser, caution: float) -> Tensor:
    """Return the reward that PPO maximises, [episodes], in spreads of the reference's rewards.

    `mean` and `sd` over the members of the reward, [episodes]; `caution` times the sd is taken off (members disagree
    where the reward guesses: Coste et al., arXiv 2310.02743).
    """
    z = ((mean - caution * sd - normaliser.mean) / normaliser.sd).clamp(-REWARD_BOUND, REWARD_BOUND)
    return torch.where(finished, z, (z - CUT_PENALTY).clamp(max=-CUT_PENALTY))


def reward_tensor(
    z: Tensor, log_ratio: Tensor, lengths: Tensor, kl_weight: float, tokens: Tensor | None = None
) -> Tensor:
    """Return rewards [episodes, time]: z on the last response token, minus the weighted log-ratio on every one.

    `log_ratio` [episodes, time]: policy that sampled minus reference, zero behind the end. `tokens` [response tokens]:
    what each token gets beside, where the reward says so, in spreads of the reference's rewards.
    """
    rewards = -kl_weight * log_ratio
    if tokens is not None:
        rewards = rewards + to_grid(tokens, lengths)
    rewards[torch.arange(len(z), device=z.device), lengths - 1] += z
    return rewards


def check_rewards(mean: Tensor, rollouts: Rollouts) -> None:
    """Refuse a reward that is missing or no number. Errors: TrainingStopped, naming the first such response."""
    if mean.shape != (rollouts.episodes,):
        raise TrainingStopped(
            f"The reward gave {mean.numel()} values for {rollouts.episodes} responses.",
            "Run again: a new round begins.",
        )
    bad = (~mean.isfinite()).nonzero().flatten().tolist()
    if bad:
        prompt, sample = rollouts.prompts[bad[0]], rollouts.samples[bad[0]]
        raise TrainingStopped(
            f"The reward of response {sample} to prompt {prompt} is {mean[bad[0]].item()}.",
            "Run again: a new round begins.",
        )
