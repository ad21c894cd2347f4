"""Episodes as ragged tensors, micro-batches of them, and the tensor of rewards."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Rollouts:
    """Episodes end to end; nothing after an end token exists.

    `tokens` int64 [tokens]: prompt and response of every episode, concatenated; `starts` int64 [episodes + 1]:
    offsets into tokens; `prompt_lengths` int64 [episodes]; `finished` bool [episodes]: True = ended with an end
    token, False = cut by max_new_tokens; `sampler_logprobs` float32 [response tokens], at the sampling temperature;
    `prompts` and `samples`: prompt id and index of each episode; `trunk` float32 [tokens, width] or None: the input
    of the live layers; `weights`: number of the update whose policy sampled; `temperature` of the sampling.
    """

    tokens: Tensor
    starts: Tensor
    prompt_lengths: Tensor
    finished: Tensor
    sampler_logprobs: Tensor
    prompts: tuple[str, ...]
    samples: tuple[int, ...]
    temperature: float
    weights: int = 0
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

    `tokens`, `positions` int64 [rows, columns]; `trunk` float32 [rows, columns, width] or None (then the whole model
    runs from the tokens); `gather` int64 [n]: flat index (row * columns + column) of the hidden state that predicts
    each response token; `targets` int64 [n]; `episode`, `step` int64 [n]: which episode of the rollouts and which
    response step; `flat` int64 [n]: index into the rollouts' flat response tokens.
    """

    tokens: Tensor
    positions: Tensor
    trunk: Tensor | None
    gather: Tensor
    targets: Tensor
    episode: Tensor
    step: Tensor
    flat: Tensor
    temperature: float
