"""On a CUDA device the numbers are the CPU's: sampling, preparing, an update in every mode, a checkpoint's state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from expound.models.branches import BranchActor
from expound.models.loading import Loaded, load
from expound.ppo.actor import Prepared
from expound.ppo.rollout import Rollouts
from expound.ppo.tune import make_targets
from expound.ppo.update import Steps, make_optimisers, run_update
from expound.records import SamplingKey
from expound.settings import Mode, SamplingSettings
from expound.statistics import keyed_generator
from tests.support.families import prompts, render

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]

SAMPLING = SamplingSettings(temperature=0.7, max_new_tokens=9)
KEY = SamplingKey(0, 1, "update-1")
TOLERANCE = 2e-4  # products of fp32 are in TF32 nowhere, but sums go in another order


def on_cpu(loaded: Loaded) -> Loaded:
    return dataclasses.replace(loaded, model=loaded.model.to("cpu"))


def moved(rollouts: Rollouts, device: str) -> Rollouts:
    tensors = {name: one.to(device) for name, one in vars(rollouts).items() if isinstance(one, torch.Tensor)}
    return dataclasses.replace(rollouts, **tensors)


def updated(actor: BranchActor, prepared: Prepared) -> dict[str, torch.Tensor]:
    """Return what an update learns from rewards that like long responses."""
    lengths = prepared.rollouts.response_lengths.float()
    targets = make_targets(actor, prepared, (lengths - lengths.mean()) / 3 + torch.arange(8).to(lengths) / 8, 0.05)
    run_update(actor, prepared, targets, make_optimisers(actor, 1e-3), Steps(2, 2), keyed_generator("gpu"))
    return {name: one.cpu() for name, one in actor.state().items()}


@pytest.mark.parametrize("mode", ["branches", "lora", "full"])
def test_an_update_learns_what_it_learns_on_the_cpu(tiny_llama_folder: Path, mode: Mode) -> None:
    ends = []
    rollouts: Rollouts | None = None
    for device in ("cuda", "cpu"):
        loaded = load(str(tiny_llama_folder))
        assert loaded.model.device.type == "cuda"
        actor = BranchActor(loaded if device == "cuda" else on_cpu(loaded), render, live_layers=1, seed=1, mode=mode)
        if mode != "full":
            stir_alike(actor)
        rollouts = actor.sample(prompts(), 2, SAMPLING, KEY) if rollouts is None else moved(rollouts, device)
        prepared = actor.prepare(rollouts)
        own = actor.logprobs(prepared.rollouts, range(8))
        assert (own - prepared.old_logprobs).abs().max() < TOLERANCE
        ends.append((prepared.reference_logprobs.cpu(), updated(actor, prepared)))
    (reference, state), (other_reference, other_state) = ends
    assert (reference - other_reference).abs().max() < TOLERANCE
    for name, tensor in state.items():
        assert (tensor - other_state[name]).abs().max() < 5e-3, name  # AdamW's first steps have the size of the rate


def stir_alike(actor: BranchActor) -> None:
    """Move the policy as `stir` does, on either device alike."""
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in actor.parameters("policy"):
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator).to(parameter)
