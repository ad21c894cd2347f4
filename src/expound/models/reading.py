"""What the reward and the value read of episodes: states of the untouched reference, from one pass.

Each prompt is run once and its responses go on from its keys and values, as in sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from expound.models.cache import new_cache
from expound.models.cut import tapped
from expound.models.decoding import left_padded, positions_of
from expound.models.head import FrozenHead, logprobs_at
from expound.ppo.rollout import Rollouts

TOKENS_A_PASS = 4096
"""Padded tokens run side by side."""
SCALARS = 4
"""finished, log of the response length, mean and least log-probability at temperature 1."""


@dataclass(frozen=True)
class Layout:
    """Some episodes of a rollout, with each prompt once; entries are indices into the rollout's tokens.

    `prompts` int64 [prompts, P] padded at the front with `prompt_mask` (1 = a real token); `responses` int64 [rows, R]
    padded at the end; `prompt_of` int64 [rows]; `episodes`, `lengths`: number and response tokens of a row's episode.
    """

    prompts: Tensor
    prompt_mask: Tensor
    responses: Tensor
    prompt_of: Tensor
    episodes: tuple[int, ...]
    lengths: tuple[int, ...]


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
            passes = run_layout(decoder, layout, rollouts.tokens)
            prompts, responses = (torch.stack([tap.trunk, tap.middle, final]) for final in passes)
            found.update(zip(layout.episodes, _episodes(layout, prompts, responses), strict=True))
    episodes = [found[index] for index in range(rollouts.episodes)]
    features = torch.cat([episode.predicting for episode in episodes])
    plain, warm = logprobs_at(features, response_tokens(rollouts), head, (1.0, rollouts.temperature))
    reading = _reading(episodes, plain, rollouts)
    return ReferencePass(torch.cat([episode.trunk for episode in episodes]), features, warm, reading)


def layouts(
    rollouts: Rollouts, episodes: Sequence[int] | None = None, *, tokens_a_pass: int = TOKENS_A_PASS
) -> Iterator[Layout]:
    """Lay episodes (all, or those named) out in groups of about equal prompt length that fit one pass."""
    by_prompt: dict[str, list[int]] = {}
    for episode in range(rollouts.episodes) if episodes is None else episodes:
        by_prompt.setdefault(rollouts.prompts[episode], []).append(episode)
    lengths, answers = rollouts.prompt_lengths.tolist(), rollouts.response_lengths.tolist()
    group: list[list[int]] = []
    for members in sorted(by_prompt.values(), key=lambda members: (lengths[members[0]], members[0])):
        rows = [episode for some in (*group, members) for episode in some]
        columns = max(answers[episode] for episode in rows)
        if group and (len(group) + 1) * lengths[members[0]] + len(rows) * columns > tokens_a_pass:
            yield _layout(rollouts, group)
            group = []
        group.append(members)
    if group:
        yield _layout(rollouts, group)


def run_layout(decoder: PreTrainedModel, layout: Layout, values: Tensor) -> Iterator[Tensor]:
    """Yield the final states of the prompts [prompts, P, width], then those of the responses [rows, R, width].

    `values` [tokens, ...] are the rollout's tokens, or its trunk states for a branch.
    """
    cache = new_cache(decoder)
    positions = positions_of(layout.prompt_mask)
    yield _run(decoder, values[layout.prompts], layout.prompt_mask, positions, cache)
    cache.batch_select_indices(layout.prompt_of)
    steps = torch.arange(1, layout.responses.shape[1] + 1, device=positions.device)
    positions = positions[layout.prompt_of, -1:] + steps
    mask = torch.cat([layout.prompt_mask[layout.prompt_of], torch.ones_like(layout.responses)], dim=1)
    yield _run(decoder, values[layout.responses], mask, positions, cache)


def predicting(layout: Layout, prompts: Tensor, responses: Tensor) -> Iterator[Tensor]:
    """Yield for each row the final states that predict its response tokens, [response tokens, width]."""
    for row, (prompt, length) in enumerate(zip(layout.prompt_of.tolist(), layout.lengths, strict=True)):
        yield torch.cat([prompts[prompt, -1:], responses[row, : length - 1]])


def response_tokens(rollouts: Rollouts) -> Tensor:
    """Return the response tokens end to end, int64 [response tokens]."""
    return rollouts.tokens[torch.cat([torch.arange(start, end) for start, end in response_spans(rollouts)])]


def response_spans(rollouts: Rollouts) -> list[tuple[int, int]]:
    """Return where in the tokens each response begins and ends."""
    begins = (rollouts.starts[:-1] + rollouts.prompt_lengths).tolist()
    return list(zip(begins, rollouts.starts[1:].tolist(), strict=True))


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


def _layout(rollouts: Rollouts, group: Sequence[Sequence[int]]) -> Layout:
    spans, starts, device = response_spans(rollouts), rollouts.starts.tolist(), rollouts.tokens.device
    prompts = [range(starts[members[0]], spans[members[0]][0]) for members in group]
    rows = [(index, episode) for index, members in enumerate(group) for episode in members]
    said = [torch.arange(*spans[episode], device=device) for _, episode in rows]
    indices, mask = left_padded(prompts, pad_token=0)
    return Layout(
        indices.to(device),
        mask.to(device),
        torch.nn.utils.rnn.pad_sequence(said, batch_first=True),
        torch.tensor([index for index, _ in rows], device=device),
        tuple(episode for _, episode in rows),
        tuple(len(one) for one in said),
    )


def _run(decoder: PreTrainedModel, inputs: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
    is_tokens = not inputs.is_floating_point()
    states: Tensor = decoder(
        input_ids=inputs if is_tokens else None,
        inputs_embeds=None if is_tokens else inputs,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    )[0]
    return states
