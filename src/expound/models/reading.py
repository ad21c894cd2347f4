"""What the reward and the value read of episodes: states of the untouched reference, from one pass.

Each prompt is run once and its responses go on from its keys and values, as in sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from expound.models.cache import new_cache
from expound.models.cut import tapped
from expound.models.head import FrozenHead, logprobs_at
from expound.models.layout import Layout, layouts, predicting, response_tokens, run_layout
from expound.ppo.rollout import Rollouts

SCALARS = 4
"""finished, log of the response length, mean and least log-probability at temperature 1."""


@dataclass(frozen=True)
class ReferencePass:
    """What the reference makes of episodes; tokens and response tokens end to end, episode by episode.

    `trunk` [tokens, width]; `features` [response tokens, width]: the final state that predicts each; `logprobs`
    [response tokens] at the rollouts' temperature; `reading` float32 [episodes, features].
    """

    trunk: Tensor
    features: Tensor
    logprobs: Tensor
    reading: Tensor


def block_widths(width: int) -> tuple[int, ...]:
    """Return the widths of the blocks of a reading, in order.

    Means over the response of the trunk's output, of a layer at 40 % of the live ones and of the final states; the
    last response token's final state; the scalars.
    """
    return (width, width, width, width, SCALARS)


def middle_layer(first: int, layers: int) -> int:
    """Return the number of the layer at 40 % of the live ones, which begin at `first`."""
    return first + 2 * (layers - first) // 5


@torch.no_grad()
def reference_pass(
    decoder: PreTrainedModel, head: FrozenHead, rollouts: Rollouts, first: int, middle: int
) -> ReferencePass:
    """Run the reference over episodes once and return all that is read of it."""
    found: dict[int, _Episode] = {}
    with tapped(decoder, first, middle) as tap:
        for layout in layouts(rollouts):
            passes = run_layout(decoder, layout, rollouts.tokens, new_cache(decoder))
            prompts, responses = (torch.stack([tap.trunk, tap.middle, final]) for final in passes)
            found.update(zip(layout.episodes, _episodes(layout, prompts, responses), strict=True))
    episodes = [found[index] for index in range(rollouts.episodes)]
    features = torch.cat([episode.predicting for episode in episodes])
    plain, warm = logprobs_at(features, response_tokens(rollouts), head, (1.0, rollouts.temperature))
    reading = _reading(episodes, plain, rollouts)
    return ReferencePass(torch.cat([episode.trunk for episode in episodes]), features, warm, reading)


@dataclass(frozen=True)
class _Episode:
    """States of one episode: `trunk` of all its tokens, `predicting` of its response tokens, `read` as one row."""

    trunk: Tensor
    predicting: Tensor
    read: Tensor


def _episodes(layout: Layout, prompts: Tensor, responses: Tensor) -> Iterator[_Episode]:
    """Cut padded states [trunk/middle/final, rows, columns, width] of prompts and responses into episodes."""
    real = layout.prompt_mask.sum(dim=1).tolist()
    states = predicting(layout, prompts[2], responses[2])
    for row, (prompt, length) in enumerate(zip(layout.prompt_of.tolist(), layout.lengths, strict=True)):
        said = responses[:, row, :length]
        trunk = torch.cat([prompts[0, prompt, -real[prompt] :], said[0]])
        yield _Episode(trunk, next(states), torch.cat([*said.mean(dim=1), said[2, -1]]))


def _reading(episodes: Sequence[_Episode], logprobs: Tensor, rollouts: Rollouts) -> Tensor:
    lengths = rollouts.response_lengths
    scalars = [
        torch.stack([finished.float(), length.float().log(), own.mean(), own.amin()])
        for finished, length, own in zip(rollouts.finished, lengths, logprobs.split(lengths.tolist()), strict=True)
    ]
    rows = [torch.cat([episode.read, scalar]) for episode, scalar in zip(episodes, scalars, strict=True)]
    return torch.stack(rows).float()
