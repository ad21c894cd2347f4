"""Episodes laid out with each prompt once: its responses go on from its keys and values.

A prompt of 120 tokens with four responses of 48 makes 312 tokens of work and not 672, with gradients and without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from expound.models.decoding import left_padded, positions_of
from expound.ppo.rollout import Batch, Rollouts

TOKENS_A_PASS = 4096
"""Padded tokens run side by side."""
WORTH_SHARING = 1.15
"""Prompts are shared where plain rows would be this many times the work."""


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


def run_layout(decoder: PreTrainedModel, layout: Layout, values: Tensor, cache: DynamicCache) -> Iterator[Tensor]:
    """Yield the final states of the prompts [prompts, P, width], then those of the responses [rows, R, width].

    `values` [tokens, ...] are the tokens that the layout's indices mean, or their trunk states for a branch; the empty
    `cache` decides whether gradients flow.
    """
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


def batch_states(decoder: PreTrainedModel, batch: Batch) -> Tensor:
    """Return the final states [n, width] that predict the response tokens of a micro-batch; they carry gradients.

    Rows with the same prompt share it where that saves enough work; the numbers are those of plain rows within
    rounding.
    """
    values = batch.tokens if batch.trunk is None else batch.trunk
    layout = _layout_of_batch(batch)
    if batch.tokens.numel() < WORTH_SHARING * (layout.prompts.numel() + layout.responses.numel()):
        return _plain(decoder, batch, values).flatten(0, 1)[batch.gather]
    cache = DynamicCache(config=decoder.config)
    prompts, responses = run_layout(decoder, layout, values.flatten(0, 1), cache)
    row, column = batch.gather // batch.tokens.shape[1], batch.gather % batch.tokens.shape[1]
    begins = _begins(batch)[row]
    after = len(prompts) + row * responses.shape[1] + column - begins
    states = torch.cat([prompts[:, -1], responses.flatten(0, 1)])
    return states[torch.where(column == begins - 1, layout.prompt_of[row], after)]


def _plain(decoder: PreTrainedModel, batch: Batch, values: Tensor) -> Tensor:
    """Return final states [rows, columns, width]; padding stands at the end only, so causal attention is exact."""
    is_tokens = batch.trunk is None
    states: Tensor = decoder(
        input_ids=values if is_tokens else None,
        inputs_embeds=None if is_tokens else values,
        # The library warns of tokens that come without a mask.
        attention_mask=torch.ones_like(batch.tokens) if is_tokens else None,
        position_ids=torch.arange(batch.tokens.shape[1], device=values.device).expand_as(batch.tokens),
        use_cache=False,
    )[0]
    return states


def _begins(batch: Batch) -> Tensor:
    """Return the column in which each row's response begins, int64 [rows]."""
    rows, columns = batch.tokens.shape
    begins = batch.gather.new_full((rows,), columns)
    return begins.scatter_reduce(0, batch.gather // columns, batch.gather % columns + 1, "amin")


def _layout_of_batch(batch: Batch) -> Layout:
    """Lay the rows of a micro-batch out, with indices into its flat tokens."""
    rows, columns = batch.tokens.shape
    begins = _begins(batch).tolist()
    lengths = torch.bincount(batch.gather // columns, minlength=rows).tolist()
    first_row: dict[tuple[int, ...], int] = {}
    prompt_of: list[int] = []
    for row, (tokens, begin) in enumerate(zip(batch.tokens.tolist(), begins, strict=True)):
        first_row.setdefault(tuple(tokens[:begin]), row)
        prompt_of.append(list(first_row).index(tuple(tokens[:begin])))
    prompts = [range(row * columns, row * columns + begins[row]) for row in first_row.values()]
    starts = [row * columns + begin for row, begin in enumerate(begins)]
    said = [range(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return _laid_out(prompts, said, prompt_of, tuple(range(rows)), batch.tokens.device)


def _layout(rollouts: Rollouts, group: Sequence[Sequence[int]]) -> Layout:
    spans, starts = response_spans(rollouts), rollouts.starts.tolist()
    prompts = [range(starts[members[0]], spans[members[0]][0]) for members in group]
    rows = [(index, episode) for index, members in enumerate(group) for episode in members]
    said = [range(*spans[episode]) for _, episode in rows]
    episodes = tuple(episode for _, episode in rows)
    return _laid_out(prompts, said, [index for index, _ in rows], episodes, rollouts.tokens.device)


def _laid_out(
    prompts: Sequence[range],
    said: Sequence[range],
    prompt_of: Sequence[int],
    episodes: tuple[int, ...],
    device: torch.device,
) -> Layout:
    indices, mask = left_padded(prompts, pad_token=0)
    responses = torch.nn.utils.rnn.pad_sequence([torch.tensor(list(one)) for one in said], batch_first=True)
    lengths = tuple(len(one) for one in said)
    chosen = torch.tensor(list(prompt_of), device=device)
    return Layout(indices.to(device), mask.to(device), responses.to(device), chosen, episodes, lengths)


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
