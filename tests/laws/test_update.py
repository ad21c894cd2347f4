"""What an update may not depend on, and what it must count exactly."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from expound.ppo.actor import Prepared
from expound.ppo.tune import make_targets
from expound.ppo.update import Steps, Targets, accumulate, make_optimisers, run_update
from expound.records import SamplingKey
from expound.settings import Estimator, SamplingSettings
from expound.statistics import keyed_generator
from tests.support.tabular import FirstTokenReward, TabularActor, make_prompt

SAMPLING = SamplingSettings(temperature=0.9, max_new_tokens=6, responses_per_prompt=4)


def begun(prompts: int = 6, estimator: Estimator = "gae") -> tuple[TabularActor, Prepared, Targets]:
    """Give an actor that has moved off its reference, with episodes and targets."""
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 7))).float()
    actor = TabularActor(table)
    with torch.no_grad():
        actor.policy += 0.3 * torch.from_numpy(np.random.default_rng(1).normal(size=(6, 7))).float()
    key = SamplingKey(3, 1, "update-1")
    prepared = actor.prepare(actor.sample([make_prompt(str(n)) for n in range(prompts)], 4, SAMPLING, key))
    z = FirstTokenReward(torch.linspace(-1, 1, 7)).of(prepared).mean
    return actor, prepared, make_targets(actor, prepared, z, 0.1, estimator)


def gradients(actor: TabularActor, prepared: Prepared, targets: Targets, episodes: list[int], budget: int) -> Tensor:
    actor.policy.grad = actor.value.grad = None
    accumulate(actor, prepared, targets, episodes, budget)
    assert actor.policy.grad is not None
    assert (actor.value.grad is None) == (targets.value is None)
    value = [] if actor.value.grad is None else [actor.value.grad]
    return torch.cat([actor.policy.grad.flatten(), *value])


def test_the_ratio_before_the_first_step_is_exactly_one() -> None:
    actor, prepared, _ = begun()
    episodes = range(prepared.rollouts.episodes)
    with torch.no_grad():
        old = actor.logprobs(prepared.rollouts, episodes)
    new = actor.logprobs(prepared.rollouts, episodes)
    assert torch.equal((new - old).exp(), torch.ones(len(old)))


@pytest.mark.parametrize("budget", [1, 9, 20, 37, 64, 2048])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("estimator", ["gae", "rloo", "grpo"])
def test_losses_do_not_depend_on_micro_batches_or_the_order_of_rows(
    estimator: Estimator, budget: int, reverse: bool
) -> None:
    actor, prepared, targets = begun(estimator=estimator)
    episodes = [8, 9, 10, 11, 0, 1, 2, 3, 20, 21, 22, 23]
    expected = gradients(actor, prepared, targets, sorted(episodes), 2048)
    with torch.no_grad():
        whole = accumulate_stats(actor, prepared, targets, sorted(episodes), 2048)
    found = gradients(actor, prepared, targets, episodes[::-1] if reverse else episodes, budget)
    assert torch.allclose(found, expected, atol=1e-6)
    assert accumulate_stats(actor, prepared, targets, episodes, budget) == pytest.approx(whole, abs=1e-6)


def accumulate_stats(
    actor: TabularActor, prepared: Prepared, targets: Targets, episodes: list[int], budget: int
) -> list[float]:
    with torch.enable_grad():
        stats = accumulate(actor, prepared, targets, episodes, budget)
    return [stats.policy_loss, stats.value_loss, stats.step_kl, stats.clip_share]


def test_losses_do_not_depend_on_what_lies_behind_the_end() -> None:
    """A row alone and the same row padded to a longer neighbour give the same loss."""
    actor, prepared, targets = begun()
    episodes = [0, 5, 13]
    lengths = prepared.rollouts.response_lengths
    together = accumulate_stats(actor, prepared, targets, episodes, 2048)[0] * int(lengths[episodes].sum())
    alone = sum(accumulate_stats(actor, prepared, targets, [one], 2048)[0] * int(lengths[one]) for one in episodes)
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(("epochs", "minibatches"), [(1, 1), (2, 3), (4, 2), (3, 6)])
def test_optimiser_steps_are_epochs_times_minibatches(epochs: int, minibatches: int) -> None:
    actor, prepared, targets = begun()
    optimisers = make_optimisers(actor, 1e-4)
    stats = run_update(actor, prepared, targets, optimisers, Steps(epochs, minibatches, budget=16), keyed_generator(1))
    assert len(stats.steps) == epochs * minibatches
    assert stats.epochs == epochs
    for optimiser in (optimisers.policy, optimisers.value):
        assert [int(state["step"]) for state in optimiser.state.values()] == [epochs * minibatches]


def test_steps_that_are_too_large_cut_the_epochs_short() -> None:
    actor, prepared, targets = begun()
    generator = keyed_generator("large steps")
    large = run_update(actor, prepared, targets, make_optimisers(actor, 1.0), Steps(4, 3), generator)
    assert (large.epochs, large.cut_short) == (1, True)
    small = run_update(actor, prepared, targets, make_optimisers(actor, 1e-5), Steps(1, 3), generator)
    assert (small.epochs, small.cut_short) == (1, False)


def test_no_global_random_generator_moves_or_matters() -> None:
    def run() -> Tensor:
        actor, prepared, targets = begun()
        run_update(actor, prepared, targets, make_optimisers(actor, 1e-2), Steps(2, 2), keyed_generator(1))
        return actor.policy.detach()

    random.seed(1)
    torch.manual_seed(1)
    np.random.seed(1)
    before = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()
    first = run()
    after = random.getstate(), torch.get_rng_state(), np.random.get_state()[1]
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])
    assert np.array_equal(before[2], after[2])
    torch.manual_seed(2)
    assert torch.equal(first, run())


@pytest.mark.parametrize("estimator", ["rloo", "grpo"])
def test_an_estimator_without_a_value_leaves_it_alone(estimator: Estimator) -> None:
    actor, prepared, targets = begun(estimator=estimator)
    optimisers = make_optimisers(actor, 1e-2)
    stats = run_update(actor, prepared, targets, optimisers, Steps(2, 2), keyed_generator(1))
    assert not actor.value.any()
    assert not optimisers.value.state
    assert [(step.value_loss, step.value_norm) for step in stats.steps] == [(0.0, 0.0)] * 4
    assert all(step.policy_norm > 0 for step in stats.steps)


def test_the_kl_is_in_the_reward_or_a_loss_and_never_both() -> None:
    """A response's advantage is one number; the weight moves it under rloo, and the loss alone under grpo."""
    for estimator, weight in (("gae", 0.0), ("rloo", 0.0), ("grpo", 0.1)):
        actor, prepared, targets = begun(estimator=estimator)
        assert targets.kl_weight == weight
        z = FirstTokenReward(torch.linspace(-1, 1, 7)).of(prepared).mean
        other = make_targets(actor, prepared, z, 5.0, estimator)
        assert torch.equal(other.advantages, targets.advantages) == (estimator == "grpo")


def test_advantages_of_responses_are_those_of_their_sums() -> None:
    """By hand for rloo: whole rewards less the weighted KL, against the other three, whitened over tokens."""
    _, prepared, targets = begun(estimator="rloo")
    z = FirstTokenReward(torch.linspace(-1, 1, 7)).of(prepared).mean
    lengths = prepared.rollouts.response_lengths
    ratio = prepared.old_logprobs - prepared.reference_logprobs
    scores = torch.stack([one - 0.1 * part.sum() for one, part in zip(z, ratio.split(lengths.tolist()), strict=True)])
    above = [float(scores[i]) - float(sum(scores[i // 4 * 4 : i // 4 * 4 + 4]) - scores[i]) / 3 for i in range(len(z))]
    raw = np.repeat(above, lengths.numpy())
    assert targets.advantages.numpy() == pytest.approx((raw - raw.mean()) / raw.std(), abs=1e-4)
