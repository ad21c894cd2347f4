"""`full` is TRL's algorithm: one update that TRL 1.12's PPOTrainer made, made again from its tokens and scores.

`benchmarks/beside_trl/record_parity.py` recorded it. All is equal within 1e-5 of the largest number in its tensor, but
for what differs by intent:

- Whitening divides by the biased spread here and by Bessel's there: their advantages, and with them their policy loss
  and its gradients, are sqrt((n - 1) / n) of ours, n the response tokens.
- The value has an optimiser of its own here; there its loss is added to the policy's, times a weight. Their gradients
  are that weight times ours, and clipping them, which is done here alone, comes after.
- A reward stands on the last response token here; there one later when a response ends before the longest may. All
  responses have one length in the record.
- There the temperature is 1e-7 more, so that it is never 0: less than what is held here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from expound.models.branches import BranchActor
from expound.ppo.actor import Prepared
from expound.ppo.rollout import Rollouts
from expound.ppo.tune import make_targets
from expound.ppo.update import StepStats, Targets, ValueTargets, accumulate
from tests.support.families import as_loaded, render
from tests.support.tiny import tiny_llama

FIXTURE = Path(__file__).parent / "data" / "trl-1.12-update.safetensors"
TOLERANCE = 1e-5
EPOCHS = (0, 1)


@dataclass(frozen=True)
class Record:
    """What TRL made: tensors by name, and the settings that it had."""

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, str]

    def below(self, prefix: str) -> dict[str, Tensor]:
        """Give the tensors whose names begin so, by the rest of their names."""
        return {name.removeprefix(prefix): one for name, one in self.tensors.items() if name.startswith(prefix)}

    def flat(self, name: str) -> Tensor:
        """Give a grid [episodes, time], all of whose rows are whole, as ours lie."""
        return self.tensors[name].flatten()


@dataclass(frozen=True)
class Again:
    """The same update here, up to its targets."""

    actor: BranchActor
    prepared: Prepared
    targets: Targets

    @property
    def value(self) -> ValueTargets:
        """Give the value's targets."""
        assert self.targets.value is not None
        return self.targets.value


@pytest.fixture(scope="module")
def record() -> Record:
    with safe_open(FIXTURE, framework="pt") as file:
        return Record({name: file.get_tensor(name) for name in file.keys()}, file.metadata())  # noqa: SIM118


@pytest.fixture(scope="module")
def again(record: Record) -> Again:
    vocabulary, layers, width = (int(record.settings[name]) for name in ("vocabulary", "layers", "width"))
    reference = tiny_llama(vocabulary, layers, width).requires_grad_(requires_grad=False)
    missing = reference.load_state_dict(record.below("reference/"), strict=False)
    assert missing == (["lm_head.weight"], [])  # which is tied to the embeddings
    actor = BranchActor(as_loaded(reference), render, live_layers="third", seed=0, mode="full")
    actor.load_state(record.below("0/weight/"))
    prepared = actor.prepare(rollouts_of(record))
    targets = make_targets(actor, prepared, record.tensors["scores"], float(record.settings["kl_weight"]))
    return Again(actor, prepared, targets)


def rollouts_of(record: Record) -> Rollouts:
    """Give the stored episodes, log-probabilities unknown; responses to one prompt are told that they share it."""
    tokens, lengths = record.tensors["tokens"], record.tensors["prompt_lengths"]
    episodes, said = record.tensors["old_logprobs"].shape
    starts = torch.cat([torch.zeros(1, dtype=torch.long), (lengths + said).cumsum(0)])
    asked = zip(starts.tolist(), lengths.tolist(), strict=False)
    return Rollouts(
        tokens=tokens,
        starts=starts,
        prompt_lengths=lengths,
        finished=torch.ones(episodes, dtype=torch.bool),
        sampler_logprobs=torch.full((episodes * said,), torch.nan),
        prompts=tuple(str(tokens[start : start + length].tolist()) for start, length in asked),
        samples=tuple(range(episodes)),
        temperature=float(record.settings["temperature"]),
    )


def bessel(record: Record) -> float:
    """Give what their advantages are of ours."""
    tokens = record.tensors["advantages"].numel()
    return ((tokens - 1) / tokens) ** 0.5


def assert_equal(ours: Tensor, theirs: Tensor, name: str = "") -> None:
    assert ours.shape == theirs.shape
    gap = float((ours - theirs).abs().max() / theirs.abs().max())
    assert gap <= TOLERANCE, f"{name} differs by {gap:.1e} of the largest"


def test_the_record_is_of_what_matters(record: Record) -> None:
    """Prompts of several lengths, two responses to each, a policy off its reference, scores that differ."""
    prompts = rollouts_of(record).prompts
    assert sorted(prompts.count(one) for one in set(prompts)) == [2, 2, 2, 2]
    assert len(record.tensors["prompt_lengths"].unique()) == 4
    assert (record.flat("old_logprobs") - record.flat("reference_logprobs")).abs().mean() > 0.1
    assert record.tensors["scores"].std() > 0.1
    assert record.settings["made by"].startswith("trl 1.12")


def test_logprobs_and_values_are_theirs(record: Record, again: Again) -> None:
    assert_equal(again.prepared.old_logprobs, record.flat("old_logprobs"), "old")
    assert_equal(again.prepared.reference_logprobs, record.flat("reference_logprobs"), "reference")
    assert_equal(again.value.old, record.flat("values"), "value")


def test_advantages_and_returns_are_theirs(record: Record, again: Again) -> None:
    assert_equal(again.value.returns, record.flat("raw_advantages") + record.flat("values"), "returns")
    assert_equal(again.targets.advantages * bessel(record), record.flat("advantages"), "advantages")


@pytest.mark.parametrize("budget", [4096, 40])
@pytest.mark.parametrize("epoch", EPOCHS)
def test_losses_and_gradients_are_theirs(record: Record, again: Again, epoch: int, budget: int) -> None:
    """In the first epoch, where the ratio is 1, and in the second, with ratios and values that are clipped."""
    stats, gradients = backward(record, again, epoch, budget)
    theirs = record.below(f"{epoch}/")
    assert stats.policy_loss * bessel(record) == pytest.approx(float(theirs["policy_loss"]), abs=TOLERANCE)
    assert stats.value_loss == pytest.approx(float(theirs["value_loss"]), rel=TOLERANCE)
    assert (stats.clip_share > 0.2) == (epoch > 0)
    weights = {"policy": bessel(record), "value": float(record.settings["value_weight"])}
    expected = record.below(f"{epoch}/gradient/")
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        assert_equal(gradient * weights[name.partition(".")[0]], expected[name], name)


def backward(record: Record, again: Again, epoch: int, budget: int) -> tuple[StepStats, dict[str, Tensor]]:
    """Go back through an epoch from the weights that they had before it; give what was seen and the gradients."""
    actor = again.actor
    actor.load_state(record.below(f"{epoch}/weight/"))
    parameters = [one for member in ("policy", "value") for one in actor.parameters(member)]
    for one in parameters:
        one.grad = None
    stats = accumulate(actor, again.prepared, again.targets, range(again.prepared.rollouts.episodes), budget)
    found = {name: one.grad for name, one in zip(actor.state(), parameters, strict=True)}
    return stats, {name: gradient for name, gradient in found.items() if gradient is not None}
