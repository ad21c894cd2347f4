"""Log-probabilities of given tokens through a language-model head, without keeping the logits.

z = (s / T) cap(h W' + bias), cap(x) = c tanh(x / c); logp = z_y - logsumexp(z).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction, once_differentiable
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from expound.errors import ModelRefused
from expound.models.cut import decoder_of

CHUNK_BYTES = 128 * 2**20
_LEAST_ROWS = 16
_LAW_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Head:
    """The map from final states to logits: weight [vocabulary, width], bias [vocabulary] or None, scale, soft cap.

    `chunk_bytes` of logits, as fp32, exist at a time.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None
    chunk_bytes: int = CHUNK_BYTES

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [..., vocabulary] of final states [..., width]."""
        raw = nn.functional.linear(hidden, self.weight, self.bias)
        if self.weight.requires_grad:
            capped = raw if self.cap is None else (raw / self.cap).tanh() * self.cap
            return capped * self.scale
        capped = raw if self.cap is None else raw.div_(self.cap).tanh_().mul_(self.cap)
        return capped if self.scale == 1.0 else capped.mul_(self.scale)


def head_of(model: PreTrainedModel, *, is_live: bool = False) -> Head:
    """Return the head of a model, checked against the model's own logits on one short row; a live one learns too.

    Errors: ModelRefused when the head is no linear layer with a scale and a soft cap.
    """
    layer = model.get_output_embeddings()
    config = model.config.to_dict()
    scale = float(config.get("logit_scale") or 1.0) / float(config.get("logits_scaling") or 1.0)
    if isinstance(layer, nn.Linear):
        parts = (layer.weight, layer.bias) if is_live else (layer.weight.detach(), _detached(layer.bias))
        head = Head(*parts, scale, config.get("final_logit_softcapping"))
        with torch.no_grad():
            probe = torch.arange(4, device=layer.weight.device)[None] % head.weight.shape[0]
            mask = torch.ones_like(probe)
            states = decoder_of(model)(input_ids=probe, attention_mask=mask, use_cache=False)[0]
            gap = model(input_ids=probe, attention_mask=mask, use_cache=False).logits - head.logits(states)
        if float(gap.abs().max()) <= _LAW_TOLERANCE:
            return head
    raise ModelRefused(
        f"The output head of {type(model).__name__} is not a linear layer with a scale.",
        "Choose a model whose logits are a linear map of its final states.",
    )


def response_logprobs(hidden: Tensor, targets: Tensor, head: Head, temperature: float) -> Tensor:
    """Return the log-probability of each target [n] given final states [n, width], with gradients to `hidden`.

    The backward pass needs no logits: the forward pass keeps for each row the direction in which its log-probability
    grows [n, width]. A head that learns too needs them, and makes them a second time.
    """
    if not torch.is_grad_enabled():
        return logprobs_at(hidden, targets, head, temperature)
    if head.weight.requires_grad:
        return _live_logprobs(hidden, targets, head, temperature)
    logprobs: Tensor = _ResponseLogprobs.apply(hidden, targets, head, temperature)  # type: ignore[no-untyped-call]
    return logprobs


@torch.no_grad()
def logprobs_at(hidden: Tensor, targets: Tensor, head: Head, temperature: float) -> Tensor:
    """Return the log-probabilities [n] without gradients, which takes half the work."""
    found = []
    for rows in _chunks(len(targets), head):
        logits = head.logits(hidden[rows]).div_(temperature)
        found.append(logits.gather(1, targets[rows, None]).squeeze(1) - torch.logsumexp(logits, dim=1))
    return torch.cat(found)


def _live_logprobs(hidden: Tensor, targets: Tensor, head: Head, temperature: float) -> Tensor:
    def of(rows: Tensor, chosen: Tensor) -> Tensor:
        table = torch.log_softmax(head.logits(rows) / temperature, dim=1)
        return table.gather(1, chosen[:, None]).squeeze(1)

    parts = [checkpoint(of, hidden[rows], targets[rows], use_reentrant=False) for rows in _chunks(len(targets), head)]
    return torch.cat(parts)


def _detached(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.detach()


class _ResponseLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(context: BackwardCFunction, hidden: Tensor, targets: Tensor, head: Head, temperature: float) -> Tensor:
        logprobs, direction = hidden.new_empty(len(targets)), torch.empty_like(hidden)
        for rows in _chunks(len(targets), head):
            logits = head.logits(hidden[rows])
            slope = _slope(logits, head, temperature) if head.cap is not None else None
            logprobs[rows] = _softmax_in_place(logits.div_(temperature), targets[rows])
            direction[rows] = _direction(logits, targets[rows], slope, head, temperature)
        context.save_for_backward(direction)
        return logprobs

    @staticmethod
    @once_differentiable
    def backward(context: BackwardCFunction, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (direction,) = context.saved_tensors
        return gradient[:, None] * direction, None, None, None


def _chunks(rows: int, head: Head) -> Iterator[slice]:
    size = max(_LEAST_ROWS, head.chunk_bytes // (4 * head.weight.shape[0]))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def _softmax_in_place(scaled: Tensor, targets: Tensor) -> Tensor:
    """Turn scaled logits z into probabilities and return the log-probabilities of the targets."""
    chosen = scaled.gather(1, targets[:, None])
    top = scaled.amax(dim=1, keepdim=True)
    total = scaled.sub_(top).exp_().sum(dim=1, keepdim=True)
    scaled.div_(total)
    return (chosen - top - total.log()).squeeze(1)


def _slope(logits: Tensor, head: Head, temperature: float) -> Tensor:
    """Return the derivative of z by the raw logits under the soft cap: (s / T) (1 - tanh^2)."""
    assert head.cap is not None
    tanh = logits / (head.scale * head.cap)
    return tanh.square_().neg_().add_(1).mul_(head.scale / temperature)


def _direction(probabilities: Tensor, targets: Tensor, slope: Tensor | None, head: Head, temperature: float) -> Tensor:
    """Return d logp / d hidden [n, width] = sum over v of ([v = y] - p_v) slope_v W_v; spoils `probabilities`."""
    weights = probabilities.neg_()
    weights.scatter_add_(1, targets[:, None], weights.new_ones(len(targets), 1))
    if slope is not None:
        return weights.mul_(slope) @ head.weight
    return (weights @ head.weight).mul_(head.scale / temperature)
