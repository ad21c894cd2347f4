"""Episodes run with each prompt once: its responses go on from its keys and values.

A prompt of 120 tokens with four responses of 48 makes 312 tokens of work and not 672, with gradients and without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel

from expound.models.cache import new_cache, run_decoder
from expound.models.cut import tapped
from expound.models.decoding import left_padded, positions_of
from expound.models.head import FrozenHead, logprobs_at
from expound.ppo.rollout import Rollouts, micro_batches


@dataclass(frozen=True)
class Layout:
    """Some episodes, a row each; entries are indices into the tokens of their rollouts.

    `prompts` int64 [prompts, P] padded at the front with `prompt_mask` (1 = a real token); `responses` int64 [rows, R]
    padded at the end; `prompt_of` int64 [rows]; `lengths` response tokens of each row.
    """

    prompts: Tensor
    prompt_mask: Tensor
    responses: Tensor
    prompt_of: Tensor
    lengths: tuple[int, ...]


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


def lay_out(rollouts: Rollouts, episodes: Sequence[int]) -> Layout:
    """Return some episodes as rows, in the order given."""
    starts, device = rollouts.starts.tolist(), rollouts.tokens.device
    begins = (rollouts.starts[:-1] + rollouts.prompt_lengths).tolist()
    first: dict[str, int] = {}
    for episode in episodes:
        first.setdefault(rollouts.prompts[episode], episode)
    place = {prompt: row for row, prompt in enumerate(first)}
    prompts, mask = left_padded([range(starts[episode], begins[episode]) for episode in first.values()], pad_token=0)
    said = [torch.arange(begins[episode], starts[episode + 1]) for episode in episodes]
    return Layout(
        prompts=prompts.to(device),
        prompt_mask=mask.to(device),
        responses=pad_sequence(said, batch_first=True).to(device),
        prompt_of=torch.tensor([place[rollouts.prompts[episode]] for episode in episodes], device=device),
        lengths=tuple(len(one) for one in said),
    )


def run_layout(decoder: PreTrainedModel, layout: Layout, values: Tensor, cache: DynamicCache) -> tuple[Tensor, Tensor]:
    """Return the final states of the prompts [prompts, P, width] and of the responses [rows, R, width].

    `values` [tokens, ...] are the tokens that the layout's indices mean, or their trunk states for a branch; the empty
    `cache` decides whether gradients flow.
    """
    positions = positions_of(layout.prompt_mask)
    prompts = run_decoder(decoder, values[layout.prompts], layout.prompt_mask, positions, cache)
    cache.batch_select_indices(layout.prompt_of)
    steps = torch.arange(1, layout.responses.shape[1] + 1, device=positions.device)
    positions = positions[layout.prompt_of, -1:] + steps
    mask = torch.cat([layout.prompt_mask[layout.prompt_of], torch.ones_like(layout.responses)], dim=1)
    return prompts, run_decoder(decoder, values[layout.responses], mask, positions, cache)


def predicting(layout: Layout, prompts: Tensor, responses: Tensor) -> list[Tensor]:
    """Return for each row the final states that predict its response tokens, [response tokens, width]."""
    return [
        torch.cat([prompts[prompt, -1:], responses[row, : length - 1]])
        for row, (prompt, length) in enumerate(zip(layout.prompt_of.tolist(), layout.lengths, strict=True))
    ]


@torch.no_grad()
def reference_pass(decoder: PreTrainedModel, head: FrozenHead, rollouts: Rollouts, first: int) -> ReferencePass:
    """Run the reference over episodes once and return all that is read of it; `first` is the first live layer."""
    found: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    prompt_lengths = rollouts.prompt_lengths.tolist()
    with tapped(decoder, first) as below:
        for episodes in micro_batches(rollouts, range(rollouts.episodes)):
            layout = lay_out(rollouts, episodes)
            features = predicting(layout, *run_layout(decoder, layout, rollouts.tokens, new_cache(decoder)))
            prompts, responses = below[-2:]
            for row, episode in enumerate(episodes):
                prompt = prompts[layout.prompt_of[row], -prompt_lengths[episode] :]
                said = responses[row, : layout.lengths[row]]
                found[episode] = (torch.cat([prompt, said]), features[row], said.mean(dim=0))
            below.clear()
    parts = [found[episode] for episode in range(rollouts.episodes)]
    final = torch.cat([features for _, features, _ in parts])
    return ReferencePass(
        trunk=torch.cat([trunk for trunk, _, _ in parts]),
        features=final,
        logprobs=logprobs_at(final, rollouts.response_tokens, head, rollouts.temperature),
        reading=torch.stack([mean for _, _, mean in parts]).float(),
    )


@torch.no_grad()
def read_responses(trunk: PreTrainedModel, rollouts: Rollouts, first: int) -> Tensor:
    """Return the `reading` of `reference_pass`, from the layers up to `first` alone."""
    found: dict[int, Tensor] = {}
    with tapped(trunk, first) as below:
        for episodes in micro_batches(rollouts, range(rollouts.episodes)):
            layout = lay_out(rollouts, episodes)
            run_layout(trunk, layout, rollouts.tokens, new_cache(trunk))
            for row, episode in enumerate(episodes):
                found[episode] = below[-1][row, : layout.lengths[row]].mean(dim=0)
            below.clear()
    return torch.stack([found[episode] for episode in range(rollouts.episodes)]).float()
