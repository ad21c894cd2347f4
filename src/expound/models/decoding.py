"""Sampling: one decoder for every causal model, and a sampler whose randomness follows from keys.

A response depends on the seed, round, purpose, prompt id and sample index, and on the weights. No global generator is
read or moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from expound.models.cache import new_cache, run_decoder
from expound.models.cut import tapped
from expound.models.head import Head
from expound.records import SamplingKey
from expound.settings import SamplingSettings

ROWS = 64
"""Responses decoded side by side (a key-value row of SmolLM2 takes 4.9 MB)."""
BLOCK = 256
"""Tokens that are summed together: a running sum over a whole vocabulary costs as much as the rest of a draw."""
COMPACT_BELOW = 0.75
"""Ended rows leave the batch when the live ones fall under this share of it."""


@dataclass(frozen=True)
class Speaker:
    """A decoder that can be sampled from, with its head and the tokens that end a response."""

    decoder: PreTrainedModel
    head: Head
    end_tokens: tuple[int, ...]
    pad_token: int
    taps: tuple[int, ...] = ()
    """Layers whose inputs are captured."""


@dataclass(frozen=True)
class Asked:
    """A prompt as token ids."""

    prompt: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Drawn:
    """A sampled response: its tokens, the end token included, and their log-probabilities at the temperature.

    `tapped` [prompt + response tokens, width] each: the inputs of the layers that were to be captured.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finished: bool
    tapped: tuple[Tensor, ...] = ()


def uniforms(key: SamplingKey, prompt: str, sample: int, count: int) -> Tensor:
    """Return `count` numbers in (0, 1], float64, that depend on nothing but the key, the prompt's id and the index."""
    text = json.dumps([key.seed, key.round, key.purpose, prompt, sample], ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    return torch.from_numpy(1.0 - generator.random(count))


def draw(logits: Tensor, temperature: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Return one token of each row [rows, vocabulary] and its log-probability, by inverting the distribution function.

    `uniform` [rows] in (0, 1]: a token of probability zero is never drawn. Temperature 0 takes the likeliest token and
    gives its log-probability at temperature 1.
    """
    probabilities = torch.softmax(logits / temperature if temperature > 0 else logits, dim=1)
    tokens = _inverted(probabilities, uniform) if temperature > 0 else probabilities.argmax(dim=1, keepdim=True)
    return tokens.squeeze(1), probabilities.gather(1, tokens).log().squeeze(1)


def _inverted(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Return for each row the first token [rows, 1] at which the sum reaches `uniform`: the block first, then in it."""
    spare = -probabilities.shape[1] % BLOCK
    blocks = (functional.pad(probabilities, (0, spare)) if spare else probabilities).unflatten(1, (-1, BLOCK))
    totals = blocks.sum(dim=2).cumsum(dim=1)
    wanted = (uniform[:, None].to(totals) * totals[:, -1:]).clamp(min=torch.finfo(totals.dtype).tiny)
    block = torch.searchsorted(totals, wanted)
    before = functional.pad(totals, (1, 0)).gather(1, block)
    sums = blocks.take_along_dim(block[:, :, None], dim=1).squeeze(1).cumsum(dim=1)
    # What is wanted of the block may exceed its sum by rounding.
    return block * BLOCK + torch.searchsorted(sums, torch.minimum(wanted - before, sums[:, -1:]))


def sample_responses(
    speaker: Speaker, asked: Sequence[Asked], responses: int, sampling: SamplingSettings, key: SamplingKey
) -> list[list[Drawn]]:
    """Return `responses` responses to each prompt, prompts in the order given.

    Prompts are decoded by length, as many side by side as make 64 rows; a prompt's responses share its prefill.
    """
    order = sorted(range(len(asked)), key=lambda index: (len(asked[index].tokens), asked[index].prompt))
    together = max(1, ROWS // responses)
    found: dict[int, list[Drawn]] = {}
    for start in range(0, len(order), together):
        group = [asked[index] for index in order[start : start + together]]
        rows = [index for index in range(len(group)) for _ in range(responses)]
        numbers = [
            uniforms(key, one.prompt, sample, sampling.max_new_tokens) for one in group for sample in range(responses)
        ]
        prompts = [one.tokens for one in group]
        drawn = decode(speaker, prompts, rows, torch.stack(numbers), sampling.temperature)
        for place, index in enumerate(order[start : start + together]):
            found[index] = drawn[place * responses : (place + 1) * responses]
    return [found[index] for index in range(len(asked))]


@torch.no_grad()
def decode(
    speaker: Speaker,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    uniform: Tensor,
    temperature: float,
    *,
    compact_below: float = COMPACT_BELOW,
) -> list[Drawn]:
    """Return a response for each row: `rows` names the prompt of each, `uniform` [rows, max_new_tokens] its numbers.

    Each prompt is read once. Rows end with an end token or after max_new_tokens.
    """
    steps, ends = uniform.shape[1], torch.tensor(speaker.end_tokens)
    with ExitStack() as stack:
        below = [stack.enter_context(tapped(speaker.decoder, tap)) for tap in speaker.taps]
        batch, written = _Live(speaker, prompts, rows), _Written(len(rows), steps)
        captured = [_Captured(prompts, rows, steps, part.pop()) for part in below]
        for step in range(steps):
            drawn, logprob = (part.cpu() for part in draw(batch.logits(), temperature, uniform[batch.rows, step]))
            was_live = ~written.finished[batch.rows]
            written.note(batch.rows, step, drawn, logprob.float(), torch.isin(drawn, ends) & was_live)
            is_live = ~written.finished[batch.rows]
            is_over = step + 1 == steps or not bool(is_live.any())
            if is_over and not captured:
                break
            # A row that is captured stays until its last token was read.
            stays = was_live if captured else is_live
            if stays.sum() < compact_below * len(stays):
                batch.keep(stays)
                drawn = drawn[stays]
            batch.advance(drawn)
            for one, part in zip(captured, below, strict=True):
                one.said[batch.rows.to(one.said.device), step] = part.pop()[:, 0]
            if is_over:
                break
    return written.drawn(captured)


class _Written:
    """What was drawn of each row."""

    def __init__(self, rows: int, steps: int) -> None:
        """Make room for `steps` tokens of each row."""
        self.tokens = torch.zeros(rows, steps, dtype=torch.long)
        self.logprobs = torch.zeros(rows, steps)
        self.lengths = torch.full((rows,), steps)
        self.finished = torch.zeros(rows, dtype=torch.bool)

    def note(self, rows: Tensor, step: int, tokens: Tensor, logprobs: Tensor, has_ended: Tensor) -> None:
        """Write down one more token of some rows; what a row says behind its end is not read."""
        self.tokens[rows, step], self.logprobs[rows, step] = tokens, logprobs
        self.lengths[rows[has_ended]], self.finished[rows[has_ended]] = step + 1, True

    def drawn(self, captured: Sequence[_Captured]) -> list[Drawn]:
        """Return the responses, cut behind their ends."""
        return [
            Drawn(
                tuple(self.tokens[row, :length].tolist()),
                tuple(self.logprobs[row, :length].tolist()),
                bool(self.finished[row]),
                tuple(one.of(row, length) for one in captured),
            )
            for row, length in enumerate(self.lengths.tolist())
        ]


class _Captured:
    """What went into a layer: for each prompt, and for each response token of each row."""

    def __init__(self, prompts: Sequence[Sequence[int]], rows: Sequence[int], steps: int, read: Tensor) -> None:
        """Keep the states [prompts, columns, width] of prompts padded at the front; make room for `steps` tokens."""
        self.prompts = [states[-len(prompt) :] for states, prompt in zip(read, prompts, strict=True)]
        self.rows = rows
        self.said = read.new_zeros(len(rows), steps, read.shape[-1])

    def of(self, row: int, length: int) -> Tensor:
        """Return the states of a row's prompt and of its first `length` response tokens."""
        return torch.cat([self.prompts[self.rows[row]], self.said[row, :length]])


class _Live:
    """The rows that are being decoded: their key-value cache, mask, positions and last states."""

    def __init__(self, speaker: Speaker, prompts: Sequence[Sequence[int]], rows: Sequence[int]) -> None:
        """Read each prompt once and let each row go on from its prompt."""
        self.speaker = speaker
        self.rows = torch.arange(len(rows))
        self.cache = new_cache(speaker.decoder)
        self.device = next(speaker.decoder.parameters()).device
        tokens, mask = (part.to(self.device) for part in left_padded(prompts, speaker.pad_token))
        chosen = torch.tensor(list(rows), device=self.device)
        self.mask, self.position = mask, positions_of(mask)
        hidden = run_decoder(speaker.decoder, tokens, self.mask, self.position, self.cache)
        self.cache.batch_select_indices(chosen)
        self.mask, self.position, self.hidden = self.mask[chosen], self.position[chosen, -1:], hidden[chosen, -1]

    def logits(self) -> Tensor:
        """Return the logits of the next token, [rows, vocabulary]."""
        return self.speaker.head.logits(self.hidden).float()

    def keep(self, is_kept: Tensor) -> None:
        """Let the other rows leave."""
        chosen = is_kept.nonzero().squeeze(1)
        self.rows = self.rows[chosen]
        chosen = chosen.to(self.device)
        self.cache.batch_select_indices(chosen)
        self.mask, self.position = self.mask[chosen], self.position[chosen]

    def advance(self, tokens: Tensor) -> None:
        """Read one more token of each row."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        self.position = self.position + 1
        said = tokens[:, None].to(self.device)
        self.hidden = run_decoder(self.speaker.decoder, said, self.mask, self.position, self.cache)[:, -1]


def left_padded(prompts: Sequence[Sequence[int]], pad_token: int) -> tuple[Tensor, Tensor]:
    """Return prompts padded at the front to one length, and the mask: 1 = a real token; int64 [prompts, columns]."""
    rows = [torch.tensor(list(prompt)) for prompt in prompts]
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side="left")
    return pad_sequence(rows, batch_first=True, padding_value=pad_token, padding_side="left"), mask


def positions_of(mask: Tensor) -> Tensor:
    """Return the position of each real token in its own row; padding gets 0."""
    return (mask.cumsum(dim=1) - 1).clamp_(min=0)
