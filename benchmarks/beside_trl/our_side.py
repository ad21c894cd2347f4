"""expound's tune on the work of `task.py`.

    python -m benchmarks.beside_trl.our_side WORK.json

Prints {"ready": true}, then a line an update. The reward is the other side's: here a linear head on what the reference
makes of a response anyway. Alarms and the stop at a step's KL are off, so that both sides take all their steps.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.beside_trl.task import HELD_OUT, TRAIN, Work, load_head, load_work, repeated
from benchmarks.beside_trl.work import ids_of, questions, render
from expound.models import branches
from expound.models.branches import BranchActor, actor_for
from expound.models.head import Head, head_of, logprobs_at
from expound.models.loading import Loaded, load
from expound.ppo.actor import Prepared, RewardValues
from expound.ppo.metrics import response_kl
from expound.ppo.rollout import Normaliser, Rollouts
from expound.ppo.tune import Learning, TunePlan, TuneState, begin, make_targets, one_update
from expound.ppo.update import Steps, accumulate, make_optimisers, split
from expound.records import Prompt, Round, SamplingKey
from expound.settings import PpoSettings, SamplingSettings
from expound.statistics import keyed_generator

CUT_PENALTY = 1.0
"""What both sides take from the reward of a response that did not end, where responses may end."""


class LinearReward:
    """A linear head on the reference's last state (fulfils ppo.actor.TokenReward)."""

    def __init__(self, *, ends: bool) -> None:
        head = load_head()
        self.weight, self.bias, self.penalty = torch.tensor(head.weight), head.bias, CUT_PENALTY if ends else 0.0

    def raw(self, prepared: Prepared) -> torch.Tensor:
        """Return the rewards of all episodes, whether they ended or not."""
        return prepared.last @ self.weight.to(prepared.last) + self.bias

    def of(self, prepared: Prepared) -> RewardValues:
        """Return the rewards of all episodes."""
        ended = prepared.rollouts.tokens[prepared.rollouts.starts[1:] - 1] == END
        mean = self.raw(prepared) - self.penalty * ~ended
        return RewardValues(mean, torch.zeros_like(mean))


END = 2  # SmolLM2's <|im_end|>


class Ending:
    """An actor all of whose episodes count as ended: the reward sees to those that did not.

    With WITHOUT=capture in the environment it forgets the trunk that was kept while sampling.
    """

    def __init__(self, actor: BranchActor) -> None:
        self.actor = actor
        self.prepare, self.logprobs, self.values, self.parameters = (
            actor.prepare,
            actor.logprobs,
            actor.values,
            actor.parameters,
        )

    def sample(self, prompts: list[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey) -> Rollouts:
        """Return episodes of the actor."""
        rollouts = self.actor.sample(prompts, responses, sampling, key)
        if os.environ.get("WITHOUT") == "capture":
            rollouts = replace(rollouts, trunk=None, reading=None)
        return replace(rollouts, finished=torch.ones_like(rollouts.finished))


@dataclass(frozen=True)
class Steady(TunePlan):
    """A plan whose epochs never end early and whose learning rate falls to zero, as the other side's does."""

    @property
    def steps(self) -> Steps:
        """Return the epochs and mini-batches of an update."""
        return replace(super().steps, max_kl=math.inf)

    def rate(self, update: int) -> float:
        """Return the learning rate of an update (from 1)."""
        assert self.ppo.learning_rate != "auto"
        assert self.ppo.updates != "auto"
        return self.ppo.learning_rate * (1.0 - (update - 1) / self.ppo.updates)


def plan_of(work: Work, prompts: list[Prompt]) -> Steady:
    """Return the plan that does the work."""
    ppo = PpoSettings(
        mode=work.mode,
        live_layers=work.live or "third",
        updates=work.updates,
        episodes=work.episodes,
        epochs=work.epochs,
        minibatches=work.minibatches,
        learning_rate=work.rate,
        kl_weight=work.kl_weight,
        kl_target=0.0,
    )
    sampling = SamplingSettings.model_construct(
        temperature=work.temperature, max_new_tokens=work.new_tokens, responses_per_prompt=work.responses
    )
    return Steady(Round(1, work.seed, "{}", ""), tuple(prompts), sampling, ppo, Normaliser(0.0, 1.0))


def look(loaded: Loaded, learning: Learning, plan: TunePlan, prompts: list[Prompt], responses: int) -> dict[str, float]:
    """Return reward, KL, perplexity under the reference and repetition of responses to held-out prompts."""
    rollouts = learning.actor.sample(prompts, responses, plan.sampling, plan.round.key("held out"))
    prepared = learning.actor.prepare(rollouts)
    plain = logprobs_at(prepared.features, rollouts.response_tokens, head_of(loaded.model), 1.0)
    assert isinstance(learning.reward, LinearReward)
    said = rollouts.response_tokens.split(rollouts.response_lengths.tolist())
    return {
        "held_reward": float(learning.reward.raw(prepared).mean()),
        "held_kl": float(response_kl(prepared).mean()),
        "held_perplexity": float((-plain.mean()).exp()),
        "held_repeated": repeated([one.tolist() for one in said]),
        "held_length": float(rollouts.response_lengths.float().mean()),
    }


def tell(**line: object) -> None:
    """Print a line of JSON."""
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def product_rate(seconds: float = 1.0) -> float:
    """Return the FLOP a second of products of 3584 x 576 by 576 x 1536 on this machine now."""
    left, right = torch.ones(3584, 576), torch.ones(576, 1536)
    out = left @ right
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        torch.mm(left, right, out=out)
        done += 1
    return done * 2 * 3584 * 576 * 1536 / (time.perf_counter() - start)


def flop_of_update(learning: Learning, plan: TunePlan) -> float:
    """Return the FLOP of matrix products, attention's among them, that the steps of an update take."""
    prompts = list(plan.prompts[: plan.prompts_per_update])
    rollouts = learning.actor.sample(
        prompts, plan.sampling.responses_per_prompt, plan.sampling, plan.round.key("count")
    )
    prepared = learning.actor.prepare(rollouts)
    targets = make_targets(learning.actor, prepared, torch.zeros(rollouts.episodes), 0.0)
    counter = FlopCounterMode(display=False)
    with counter:
        for episodes in split(rollouts.prompts, plan.steps.minibatches, keyed_generator("count")):
            accumulate(learning.actor, prepared, targets, episodes)
    for member in ("policy", "value"):
        for parameter in learning.actor.parameters(member):
            parameter.grad = None
    return float(counter.get_total_flops() * plan.steps.epochs)


def measured(learning: Learning, plan: TunePlan, state: TuneState, flop: float) -> tuple[TuneState, dict[str, object]]:
    """Do an update, whose steps take so many FLOP of matrix products, and return what it took."""
    rate = product_rate()
    cpu, wall = time.process_time(), time.perf_counter()
    state, line = one_update(learning, plan, state)
    found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    found["share"] = flop / (float(str(line["seconds_update"])) * rate)
    names = ("reward", "kl", "seconds_sample", "seconds_prepare", "seconds_reward", "seconds_update")
    tokens = round(float(str(line["length"])) * float(str(line["episodes"])))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = {**found, "tokens": tokens, "steps": line["optimiser_steps"], "peak_gib": peak}
    return state, {**told, **{name: line[name] for name in names}}


def plain_logprobs(hidden: torch.Tensor, targets: torch.Tensor, head: Head, temperature: float) -> torch.Tensor:
    """Return log-probabilities from all logits at once, for autograd to go back through."""
    table = (functional.linear(hidden, head.weight) / temperature).log_softmax(dim=1)
    return table.gather(1, targets[:, None]).squeeze(1)


def leave_out(saving: str | None) -> None:
    """Make this process do without one of our savings, to see what it is worth."""
    if saving == "cut":
        branches.CUT_TOLERANCE = -1.0
    if saving == "head":
        branches.response_logprobs = plain_logprobs


def main() -> None:
    """Do the work of the file that is named."""
    work = load_work(Path(sys.argv[1]))
    leave_out(os.environ.get("WITHOUT"))
    loaded = load(work.weights)
    train, held_out = (
        [one for one in questions(work.wording, topics) if ids_of(loaded, [one])[0] in ids]
        for topics, ids in ((TRAIN, work.train), (HELD_OUT, work.held_out))
    )
    if os.environ.get("WITHOUT") == "sharing":
        train = [replace(one, id=f"{one.id} {copy}") for one in train for copy in range(work.responses)]
        work = replace(work, responses=1)
    if not work.ends:
        loaded = replace(loaded, end_tokens=())
    plan = plan_of(work, train)
    actor = actor_for(loaded, render, plan.ppo, work.seed)
    learning = Learning(Ending(actor), make_optimisers(actor, work.rate), LinearReward(ends=work.ends))
    state, spent = begin(plan), 0.0
    flop = flop_of_update(learning, plan) if work.paced else math.nan
    tell(ready=True)
    if work.look:
        tell(update=0, cpu_total=0.0, **look(loaded, learning, plan, held_out, work.held_responses))
    while state.update < work.updates:
        if work.paced:
            sys.stdin.readline()
        state, line = measured(learning, plan, state, flop)
        spent += float(str(line["cpu"]))
        if work.look and state.update % work.look == 0:
            line |= look(loaded, learning, plan, held_out, work.held_responses)
        tell(update=state.update, cpu_total=spent, **line)


if __name__ == "__main__":
    main()
