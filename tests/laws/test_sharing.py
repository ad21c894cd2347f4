"""Rows that share their prompt give the numbers and the gradients of plain rows."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from expound.models.branches import BranchActor
from expound.models.head import head_of, response_logprobs
from expound.models.layout import batch_states
from expound.ppo.rollout import Batch
from expound.records import SamplingKey
from expound.settings import SamplingSettings
from tests.laws.test_cut import one_batch, stir, teacher_forced
from tests.support.families import as_loaded, family, prompts, render

SAMPLING = SamplingSettings(temperature=0.7, max_new_tokens=9)
FAMILIES = ("llama", "gpt2", "gpt-neox", "mistral", "gemma2")


def prepared(kind: str, copies: int) -> tuple[BranchActor, Batch, torch.Tensor]:
    actor = BranchActor(as_loaded(family(kind)), render, live_layers=2, seed=1)
    stir(actor)
    rollouts = actor.prepare(actor.sample(prompts(), copies, SAMPLING, SamplingKey(0, 1, "law"))).rollouts
    return actor, one_batch(rollouts), rollouts.sampler_logprobs


def alone(actor: BranchActor, batch: Batch) -> torch.Tensor:
    """Give the log-probabilities with one row at a time, so that nothing can be shared."""
    columns, found = batch.tokens.shape[1], torch.zeros(len(batch.targets))
    for row in range(len(batch.tokens)):
        mine = batch.gather // columns == row
        single = dataclasses.replace(
            batch,
            tokens=batch.tokens[row : row + 1],
            trunk=None if batch.trunk is None else batch.trunk[row : row + 1],
            gather=batch.gather[mine] - row * columns,
            targets=batch.targets[mine],
        )
        found = found.masked_scatter(mine, actor.logprobs(single).logprobs)
    return found


@pytest.mark.parametrize("copies", [1, 2, 4])
@pytest.mark.parametrize("kind", FAMILIES)
def test_shared_prompts_change_nothing(kind: str, copies: int) -> None:
    actor, batch, sampled = prepared(kind, copies)
    weights = torch.linspace(-1, 1, len(batch.targets))
    gradients = []
    for logprobs in (actor.logprobs(batch).logprobs, alone(actor, batch)):
        assert (logprobs - sampled).abs().max() < 1e-5
        (logprobs * weights).sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in actor.parameters("policy")]))
        for parameter in actor.parameters("policy"):
            parameter.grad = None
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[1].norm()


def test_the_order_of_tokens_and_rows_is_free() -> None:
    actor, batch, sampled = prepared("llama", 4)
    mixed = torch.randperm(len(batch.targets), generator=torch.Generator().manual_seed(1))
    shuffled = dataclasses.replace(batch, gather=batch.gather[mixed], targets=batch.targets[mixed])
    assert (actor.logprobs(shuffled).logprobs - sampled[mixed]).abs().max() < 1e-5


def test_work_is_saved_where_responses_share_a_prompt() -> None:
    """Of 16 rows with 4 prompts, the live layers see each prompt once."""
    actor, batch, _ = prepared("llama", 4)
    seen = 0

    def count(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], *_rest: object) -> None:
        nonlocal seen
        seen += inputs[0].shape[0] * inputs[0].shape[1]

    layer = actor._branch.layers[0].mlp  # noqa: SLF001
    hook = layer.register_forward_hook(count)
    actor.logprobs(batch)
    hook.remove()
    assert seen < 0.6 * batch.tokens.numel()


def test_tokens_instead_of_trunk_states() -> None:
    """What a model that cannot be cut is run on."""
    actor, batch, _ = prepared("llama", 3)
    model = family("llama")
    rollouts = actor.sample(prompts(), 3, SAMPLING, SamplingKey(0, 1, "law"))
    states = batch_states(model.model, dataclasses.replace(batch, trunk=None))
    found = response_logprobs(states, batch.targets, head_of(model), 0.7).logprobs
    assert (found - teacher_forced(model, rollouts)).abs().max() < 1e-5
