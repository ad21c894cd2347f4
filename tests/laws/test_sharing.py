"""Rows that share their prompt give the numbers and the gradients of rows alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from expound.models.branches import BranchActor
from expound.models.cut import decoder_of
from expound.models.layout import sharing_gap
from expound.ppo.rollout import Rollouts, flat_index
from expound.records import SamplingKey
from expound.settings import SamplingSettings
from tests.laws.test_cut import stir
from tests.support.families import CONFIGS, as_loaded, family, prompts, render

SAMPLING = SamplingSettings(temperature=0.7, max_new_tokens=9)
FAMILIES = ("llama", "gpt2", "gpt-neox", "mistral", "gemma2")


def prepared(kind: str, copies: int) -> tuple[BranchActor, Rollouts]:
    actor = BranchActor(as_loaded(family(kind)), render, live_layers=2, seed=1)
    stir(actor)
    return actor, actor.prepare(actor.sample(prompts(), copies, SAMPLING, SamplingKey(0, 1, "law"))).rollouts


@pytest.mark.parametrize("copies", [1, 2, 4])
@pytest.mark.parametrize("kind", FAMILIES)
def test_shared_prompts_change_nothing(kind: str, copies: int) -> None:
    actor, rollouts = prepared(kind, copies)
    episodes = range(rollouts.episodes)
    weights = torch.linspace(-1, 1, len(rollouts.sampler_logprobs))
    alone = torch.cat([actor.logprobs(rollouts, [episode]) for episode in episodes])
    gradients = []
    for logprobs in (actor.logprobs(rollouts, episodes), alone):
        assert (logprobs - rollouts.sampler_logprobs).abs().max() < 1e-5
        (logprobs * weights).sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in actor.parameters("policy")]))
        for parameter in actor.parameters("policy"):
            parameter.grad = None
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[1].norm()


@pytest.mark.parametrize("kind", ["llama", "gpt2", *CONFIGS])
def test_the_law_holds_in_every_family_and_is_looked_at_when_a_model_is_loaded(kind: str) -> None:
    assert sharing_gap(decoder_of(family(kind))) < 1e-5


def test_the_order_of_episodes_is_free() -> None:
    actor, rollouts = prepared("llama", 4)
    mixed = torch.randperm(16, generator=torch.Generator().manual_seed(1)).tolist()
    expected = rollouts.sampler_logprobs[flat_index(rollouts, mixed)]
    assert (actor.logprobs(rollouts, mixed) - expected).abs().max() < 1e-5


def test_work_is_saved_where_responses_share_a_prompt() -> None:
    """Of 16 rows with 4 prompts, the live layers see each prompt once."""
    actor, rollouts = prepared("llama", 4)
    seen = 0

    def count(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], *_rest: object) -> None:
        nonlocal seen
        seen += inputs[0].shape[0] * inputs[0].shape[1]

    layer = actor._voice.branch.layers[0].mlp  # noqa: SLF001
    hook = layer.register_forward_hook(count)
    actor.logprobs(rollouts, range(16))
    hook.remove()
    assert seen < 0.6 * len(rollouts.tokens)


def test_without_a_trunk_the_tokens_are_asked_for() -> None:
    """What a model that cannot be cut is run on; here the branch is the whole model."""
    actor = BranchActor(as_loaded(family("llama")), render, live_layers=3, seed=1)
    stir(actor)
    rollouts = actor.prepare(actor.sample(prompts(), 3, SAMPLING, SamplingKey(0, 1, "law"))).rollouts
    found = actor.logprobs(dataclasses.replace(rollouts, trunk=None), range(12))
    assert (found - rollouts.sampler_logprobs).abs().max() < 1e-5
