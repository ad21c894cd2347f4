"""The head: log-probability and gradient against autograd on the full logits in fp64."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from expound.models.head import Head, logprobs_at, response_logprobs

ROWS, WIDTH, VOCABULARY = 45, 12, 50
CASES = {
    "plain": {},
    "bias": {"with_bias": True},
    "scale": {"scale": 0.3},
    "cap": {"cap": 5.0},
    "all": {"with_bias": True, "scale": 1.7, "cap": 3.0},
}


def made(name: str, *, chunk_rows: int = 16) -> tuple[Tensor, Tensor, Head]:
    generator = torch.Generator().manual_seed(5)
    options = dict(CASES[name])
    bias = torch.randn(VOCABULARY, generator=generator).double() if options.pop("with_bias", False) else None
    hidden = 2 * torch.randn(ROWS, WIDTH, generator=generator).double()
    targets = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator).double()
    return hidden, targets, Head(weight, bias, **options, chunk_bytes=4 * VOCABULARY * chunk_rows)


def by_autograd(hidden: Tensor, targets: Tensor, head: Head, temperature: float) -> Tensor:
    raw = hidden @ head.weight.T + (0 if head.bias is None else head.bias)
    capped = raw if head.cap is None else head.cap * torch.tanh(raw / head.cap)
    table = torch.log_softmax(capped * head.scale / temperature, dim=1)
    return table.gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name: str, temperature: float) -> None:
    hidden, targets, head = made(name)
    mine, oracle = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    found, logprobs = (
        response_logprobs(mine, targets, head, temperature),
        by_autograd(oracle, targets, head, temperature),
    )
    torch.testing.assert_close(found, logprobs, rtol=1e-9, atol=1e-9)
    weights = torch.linspace(-1, 2, ROWS).double()
    (found * weights).sum().backward()
    (logprobs * weights).sum().backward()
    torch.testing.assert_close(mine.grad, oracle.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_head_that_learns(name: str) -> None:
    """Gradients to its weight and bias as well, in chunks whose logits are made again in the backward pass."""
    hidden, targets, head = made(name)
    whole = dataclasses.replace(head, weight=head.weight.clone(), bias=None if head.bias is None else head.bias.clone())
    ends = torch.linspace(-1, 2, ROWS).double()
    found = []
    for one, own in ((head, hidden.clone().requires_grad_()), (whole, hidden.clone().requires_grad_())):
        learning = [part.requires_grad_() for part in (one.weight, one.bias) if part is not None]
        logprobs = (response_logprobs if one is head else by_autograd)(own, targets, one, 0.7)
        (logprobs * ends).sum().backward()
        found.append([logprobs, own.grad, *(part.grad for part in learning)])
    for mine, oracle in zip(*found, strict=True):
        torch.testing.assert_close(mine, oracle, rtol=1e-9, atol=1e-9)


def test_gradcheck() -> None:
    hidden, targets, head = made("all")
    hidden = hidden[:6].requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: response_logprobs(rows, targets[:6], head, 0.7), hidden)


def test_log_probabilities_alone() -> None:
    hidden, targets, head = made("all")
    expected = by_autograd(hidden, targets, head, 0.7)
    torch.testing.assert_close(logprobs_at(hidden, targets, head, 0.7), expected, rtol=1e-9, atol=1e-9)


def test_no_gradient_keeps_nothing() -> None:
    hidden, targets, head = made("plain")
    with torch.no_grad():
        found = response_logprobs(hidden.requires_grad_(), targets, head, 1.0)
    assert not found.requires_grad


def test_an_impossible_token_changes_nothing() -> None:
    """A vocabulary padded with minus infinity by a bias is met in the wild."""
    hidden, targets, head = made("bias")
    assert head.bias is not None
    head.bias[7] = -torch.inf
    targets[targets == 7] = 8
    found = response_logprobs(hidden, targets, head, 0.7)
    assert bool(found.isfinite().all())


def test_no_more_than_two_chunks_of_logits_exist() -> None:
    """512 rows over 2,000 tokens are 4 MB of logits; with chunks of 16 rows the peak is counted in 128 kB pieces."""
    largest = 0

    class Count(torch.utils._python_dispatch.TorchDispatchMode):  # noqa: SLF001
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    head = Head(torch.randn(2000, 8, generator=torch.Generator().manual_seed(0)), chunk_bytes=4 * 2000 * 16)
    hidden = torch.ones(512, 8, requires_grad=True)
    with Count():
        response_logprobs(hidden, torch.zeros(512, dtype=torch.long), head, 1.0)
    assert largest == 16 * 2000
