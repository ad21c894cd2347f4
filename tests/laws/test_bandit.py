"""With one step and a KL, every estimator must end at the reference times exp(reward / weight), normalised."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expound.ppo.tune import make_targets
from expound.ppo.update import Steps, make_optimisers, run_update
from expound.records import SamplingKey
from expound.settings import Estimator, SamplingSettings
from expound.statistics import keyed_generator
from tests.support.tabular import FirstTokenReward, TabularActor, make_prompt

REFERENCE = torch.tensor([[0.3, -0.4, 0.9, 0.0, -1.1]])
REWARDS = torch.tensor([0.2, 1.0, -0.6, 0.5, 0.9])
UPDATES = 40

WEIGHTS = {"gae": (0.3, 0.6, 1.0, 3.0), "rloo": (0.3, 0.6, 1.0, 3.0), "grpo": (1.5, 2.0, 3.0, 5.0)}
"""Below about 1 grpo has no such end: the surer the policy, the smaller the spread and the larger the advantages."""

CASES = [(estimator, weight) for estimator, weights in WEIGHTS.items() for weight in weights]


def best_policy(before: Tensor, weight: float, estimator: Estimator) -> Tensor:
    """Return the closed form; grpo counts rewards in spreads of the group, so its form has the spread it assumes."""
    found = (before.log() + REWARDS / weight).softmax(-1)
    for _ in range(200 if estimator == "grpo" else 0):
        spread = (found * (REWARDS - found @ REWARDS).square()).sum().sqrt()
        found = (found + (before.log() + REWARDS / (weight * spread)).softmax(-1)) / 2
    return found


@pytest.mark.parametrize("temperature", [0.7, 1.3])
@pytest.mark.parametrize(("estimator", "kl_weight"), CASES)
def test_the_bandit_ends_at_its_closed_form(estimator: Estimator, kl_weight: float, temperature: float) -> None:
    """Sign of the KL, its weight, the temperature and the clip are all in this one number."""
    actor, reward = TabularActor(REFERENCE), FirstTokenReward(REWARDS)
    optimisers = make_optimisers(actor, 0.05)
    sampling = SamplingSettings(temperature=temperature, max_new_tokens=1, responses_per_prompt=64)
    prompts = [make_prompt(name) for name in "abcd"]
    for update in range(UPDATES):
        optimisers.set_rate(0.05 * (1 - update / UPDATES))
        rollouts = actor.sample(prompts, 64, sampling, SamplingKey(0, 1, f"update-{update}"))
        prepared = actor.prepare(rollouts)
        targets = make_targets(actor, prepared, reward.of(prepared).mean, kl_weight, estimator)
        run_update(actor, prepared, targets, optimisers, Steps(2, 2), keyed_generator(update))
    before = (REFERENCE[0] / temperature).softmax(-1)
    expected = best_policy(before, kl_weight, estimator)
    reached = (actor.policy.detach()[0] / temperature).softmax(-1)
    assert float((expected - before).abs().sum() / 2) > 0.04  # there was something to learn
    assert float((expected - reached).abs().sum() / 2) <= 0.02
