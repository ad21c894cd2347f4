"""What the reward and the value read of episodes: states of the untouched reference, from one pass.

Each prompt is run once and its responses go on from its keys and values, as in sampling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from expound.models.cache import new_cache
from expound.models.cut import tapped
from expound.models.head import FrozenHead, logprobs_at
from expound.models.layout import Layout, layouts, predicting, response_tokens, run_layout
from expound.ppo.rollout import Rollouts


@dataclass(frozen=True)
class ReferencePass:
    """What the reference makes of episodes; tokens and response tokens end to end, episode by episode.

    `trunk` [tokens, width]; `features` [response tokens, width]: the final state that predicts each; `logprobs`
    [response tokens] at the rollouts' temperature; `reading` float32 [episodes, width]: the trunk's mean over the
    response tokens. On verdicts of the demonstration's training prompts a ridge on it ordered .735 of the pairs of
    left-out prompts as the utility does; with later layers, the last token, length and ending beside it .66.
    """

    trunk: Tensor
    features: Tensor
    logprobs: Tensor
    reading: Tensor


@torch.no_grad()
def reference_pass(decoder: PreTrainedModel, head: FrozenHead, rollouts: Rollouts, first: int) -> ReferencePass:
    """Run the reference over episodes once and return all that is read of it; `first` is the first live layer."""
    found: dict[int, _Episode] = {}
    with tapped(decoder, first) as tap:
        for layout in layouts(rollouts):
            passes = run_layout(decoder, layout, rollouts.tokens, new_cache(decoder))
            prompts, responses = (torch.stack([tap.trunk, final]) for final in passes)
            found.update(zip(layout.episodes, _episodes(layout, prompts, responses), strict=True))
    episodes = [found[index] for index in range(rollouts.episodes)]
    features = torch.cat([episode.predicting for episode in episodes])
    (logprobs,) = logprobs_at(features, response_tokens(rollouts), head, (rollouts.temperature,))
    reading = torch.stack([episode.read for episode in episodes]).float()
    return ReferencePass(torch.cat([episode.trunk for episode in episodes]), features, logprobs, reading)


@dataclass(frozen=True)
class _Episode:
    """States of one episode: `trunk` of all its tokens, `predicting` of its response tokens, `read` as one row."""

    trunk: Tensor
    predicting: Tensor
    read: Tensor


def _episodes(layout: Layout, prompts: Tensor, responses: Tensor) -> Iterator[_Episode]:
    """Cut padded states [trunk/final, rows, columns, width] of prompts and responses into episodes."""
    real = layout.prompt_mask.sum(dim=1).tolist()
    states = predicting(layout, prompts[1], responses[1])
    for row, (prompt, length) in enumerate(zip(layout.prompt_of.tolist(), layout.lengths, strict=True)):
        said = responses[0, row, :length]
        yield _Episode(torch.cat([prompts[0, prompt, -real[prompt] :], said]), next(states), said.mean(dim=0))
