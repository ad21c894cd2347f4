"""Tuning a policy in a round: sample, prepare, reward, update, again, with a checkpoint after every update."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from expound.errors import ModelRefused, TrainingStopped
from expound.ports import Progress
from expound.ppo.actor import Actor, Prepared, RewardValues, TokenReward
from expound.ppo.advantages import gae, grpo, rloo, whiten
from expound.ppo.alarms import WINDOW, Ground, find_alarms, is_quiet
from expound.ppo.metrics import UpdateMetrics, most_repeating, update_metrics
from expound.ppo.order import PromptOrder
from expound.ppo.penalty import auto_target, next_weight
from expound.ppo.rollout import (
    Normaliser,
    check_rewards,
    flat_index,
    is_response,
    micro_batches,
    normalise,
    reward_tensor,
    to_flat,
    to_grid,
)
from expound.ppo.sizes import Sizes, first_episodes, known_sizes, timed_sizes
from expound.ppo.update import Optimisers, Steps, Targets, ValueTargets, run_update
from expound.records import Alarm, Prompt, Round
from expound.settings import Estimator, PpoSettings, SamplingSettings
from expound.statistics import keyed_generator

AUTO_LEARNING_RATES = {"branches": 2e-4, "lora": 2e-4, "full": 3e-6}
FINAL_RATE = 0.3
"""Share of the learning rate that the last update of a round still has; zero would waste the last of few updates."""

REPEATING_SHOWN = 3
"""Responses that the line of an update holds when they repeat themselves."""

WARM_UP_STEPS = 60
"""Steps of the value alone on the first episodes of a round, before anything else learns from it."""


@dataclass(frozen=True)
class TunePlan:
    """What a round's tuning is to do; `normaliser` belongs to its reward."""

    round: Round
    prompts: tuple[Prompt, ...]
    sampling: SamplingSettings
    ppo: PpoSettings
    normaliser: Normaliser

    @property
    def prompts_per_update(self) -> int:
        """Return how many different prompts an update asks about: as the settings say, or all that there are."""
        responses = self.sampling.responses_per_prompt
        return min(first_episodes(self.ppo, responses) // responses, len(self.prompts))

    @property
    def steps(self) -> Steps:
        """Return the epochs and mini-batches of an update; a mini-batch has at least one prompt."""
        return Steps(self.ppo.epochs, min(self.ppo.minibatches, self.prompts_per_update))

    def rate(self, update: int) -> float:
        """Return the learning rate of an update (from 1): it falls in a line to FINAL_RATE in the round's last."""
        peak = AUTO_LEARNING_RATES[self.ppo.mode] if self.ppo.learning_rate == "auto" else self.ppo.learning_rate
        last = update if self.ppo.updates == "auto" else self.ppo.updates  # the first update's rate is the peak anyway
        gone = (update - 1) / max(1, last - 1)
        return peak * (1.0 - (1.0 - FINAL_RATE) * gone)

    def sizes(self, seconds: float | None = None) -> Sizes | None:
        """Return updates and episodes as set, or from the seconds of the first update; None while neither is known."""
        known = known_sizes(self.ppo, self.sampling.responses_per_prompt)
        if known is not None or seconds is None:
            return known
        return timed_sizes(self.ppo, self.sampling.responses_per_prompt, seconds)

    def sized(self, sizes: Sizes) -> TunePlan:
        """Return the plan of these sizes."""
        return replace(self, ppo=self.ppo.model_copy(update=asdict(sizes)))


@dataclass(frozen=True)
class TuneState:
    """Where a round's tuning stands, between two updates, beside the tensors of actor and optimisers.

    `update` updates are done; `quiet` is how many were done when the last policy that gave no cause for concern
    sampled; `first` is the round's first update and `window` are the last ones, which alarms look back on. `sizes` are
    chosen once, behind the first update, so that a resumed tuning keeps them whatever its machine is like. Without any
    one of these a resumed tuning would end elsewhere; what follows from the round or from `update`, such as the
    learning rate, is not here.
    """

    order: PromptOrder
    kl_weight: float
    update: int = 0
    kl_target: float | None = None
    quiet: int = 0
    first: UpdateMetrics | None = None
    window: tuple[UpdateMetrics, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    sizes: Sizes | None = None

    @property
    def paused(self) -> bool:
        """Say whether an alarm ended the tuning."""
        return any(alarm.action == "pause" for alarm in self.alarms)


@dataclass(frozen=True)
class Outcome:
    """How a tuning ended: the update whose policy counts, the alarms, and one line why."""

    update: int
    alarms: tuple[Alarm, ...]
    ended: str


Metric = bool | int | float | None | list[str]


class Keeper(Protocol):
    """Keeps what an update leaves."""

    def line(self, update: int, metrics: Mapping[str, Metric]) -> None:
        """Keep the figures of an update in place of those of this and later updates."""

    def checkpoint(self, state: TuneState) -> None:
        """Keep the state together with the tensors of actor and optimisers."""


@dataclass(frozen=True)
class Learning:
    """Who learns from whom: the actor with its optimisers, and the reward."""

    actor: Actor
    optimisers: Optimisers
    reward: TokenReward


def begin(plan: TunePlan) -> TuneState:
    """Return the state before the first update of a round."""
    return TuneState(PromptOrder(), plan.ppo.kl_weight)


def tune(learning: Learning, plan: TunePlan, state: TuneState, keeper: Keeper, progress: Progress) -> Outcome:
    """Go on from `state` to the end of the round's tuning.

    Errors: TrainingStopped for an alarm that asks for it; the last checkpoint then stands.
    """
    if state.update == 0:
        keeper.checkpoint(state)
    sizes = state.sizes or plan.sizes()
    if sizes is None:
        progress.say("One update is timed, to choose how many there will be.")
        state = _kept_update(learning, plan, state, keeper)
        sizes = state.sizes
        assert sizes is not None, "an update chooses what the settings leave open"
        each = plan.sized(sizes).prompts_per_update * plan.sampling.responses_per_prompt
        progress.say(f"Tuning takes {sizes.updates} updates of {each} responses on this machine.")
    plan = plan.sized(sizes)
    with progress.bar("tune", sizes.updates, state.update) as advance:
        while state.update < sizes.updates and not state.paused:
            state = _kept_update(learning, plan, state, keeper)
            newest = state.window[-1]
            advance(note=f"reward {newest.z:+.2f}, KL {newest.kl:.1f} nats")
    return _outcome(state)


def _kept_update(learning: Learning, plan: TunePlan, state: TuneState, keeper: Keeper) -> TuneState:
    state, line = one_update(learning, plan, state)
    keeper.line(state.update, line)
    for alarm in state.alarms:
        if alarm.action == "stop":
            raise TrainingStopped(alarm.sentence, alarm.remedy)
    keeper.checkpoint(state)
    return state


def one_update(learning: Learning, plan: TunePlan, state: TuneState) -> tuple[TuneState, Mapping[str, Metric]]:
    """Do the next update; return the state behind it and its line of metrics."""
    clock, number = Clock(), state.update + 1
    seconds: dict[str, float] = {}
    learning.optimisers.set_rate(plan.rate(number))
    ids, order = state.order.take([prompt.id for prompt in plan.prompts], plan.prompts_per_update, plan.round)
    by_id = {prompt.id: prompt for prompt in plan.prompts}
    prompts, key = [by_id[id_] for id_ in ids], plan.round.key(f"update-{number}")
    rollouts = learning.actor.sample(prompts, plan.sampling.responses_per_prompt, plan.sampling, key)
    seconds["seconds_sample"] = round(clock.lap(), 3)
    prepared = learning.actor.prepare(rollouts)
    seconds["seconds_prepare"] = round(clock.lap(), 3)
    raw, z, tokens = _rewarded(learning, plan, prepared)
    seconds["seconds_reward"] = round(clock.lap(), 3)
    if state.update == 0 and plan.ppo.estimator == "gae":
        warm_up_value(learning, prepared, z, state.kl_weight, tokens)
    targets = make_targets(learning.actor, prepared, z, state.kl_weight, plan.ppo.estimator, tokens)
    generator = keyed_generator("minibatches", plan.round.seed, plan.round.number, number)
    stats = run_update(learning.actor, prepared, targets, learning.optimisers, plan.steps, generator)
    seconds["seconds_update"] = round(clock.lap(), 3)
    whole = z if tokens is None else z + to_grid(tokens, rollouts.response_lengths).sum(1)
    metrics = update_metrics((number, state.kl_weight), prepared, (raw, whole), targets, stats)
    state, new = _advance(state, plan, order, metrics)
    sizes = state.sizes or plan.sizes(sum(seconds.values()))
    assert sizes is not None
    alarms = [alarm.name for alarm in new]
    told: dict[str, Metric] = {"updates": sizes.updates, "flat_groups": targets.flat_groups, "alarms": alarms}
    if "repeats" in alarms:
        told["repeating"] = [learning.actor.text(tokens) for tokens in most_repeating(rollouts, REPEATING_SHOWN)]
    parts = {f"part_{name}": mean for name, mean in raw.parts.items()}
    return replace(state, sizes=sizes), {**_finite(metrics), **seconds, **parts, **told}


def _rewarded(learning: Learning, plan: TunePlan, prepared: Prepared) -> tuple[RewardValues, Tensor, Tensor | None]:
    """Return the rewards as they were given, and normalised: of episodes, and of response tokens if there are any."""
    raw, caution = learning.reward.of(prepared), plan.ppo.caution
    check_rewards(raw.mean - caution * raw.sd, prepared.rollouts)
    if raw.tokens is not None:
        check_rewards(to_grid(raw.tokens, prepared.rollouts.response_lengths).sum(1), prepared.rollouts)
    z = normalise(raw.mean, raw.sd, prepared.rollouts.finished, plan.normaliser, caution)
    return raw, z, None if raw.tokens is None else raw.tokens / plan.normaliser.sd


def make_targets(
    actor: Actor,
    prepared: Prepared,
    z: Tensor,
    kl_weight: float,
    estimator: Estimator = "gae",
    tokens: Tensor | None = None,
) -> Targets:
    """Return what the update of the prepared episodes moves towards.

    `z` [episodes] and `tokens` [response tokens] are their normalised rewards. Every estimator but grpo, whose KL is a
    loss, finds the KL in the rewards; without a value a response's rewards count as one.
    """
    lengths, responses = prepared.rollouts.response_lengths, prepared.rollouts.responses
    rewards = _rewards(prepared, z, 0.0 if estimator == "grpo" else kl_weight, tokens)
    if estimator == "grpo":
        relative, flat = grpo(rewards.sum(1), responses)
        return Targets(relative.repeat_interleave(lengths), kl_weight=kl_weight, flat_groups=flat)
    if estimator == "rloo":
        return Targets(whiten(rloo(rewards.sum(1), responses).repeat_interleave(lengths)))
    with torch.no_grad():
        values = all_values(actor, prepared)
    advantages, returns = gae(rewards, to_grid(values, lengths), is_response(lengths))
    return Targets(whiten(to_flat(advantages, lengths)), ValueTargets(to_flat(returns, lengths), values))


def warm_up_value(
    learning: Learning, prepared: Prepared, z: Tensor, kl_weight: float, tokens: Tensor | None = None
) -> None:
    """Fit the value alone to whole returns, so that the first advantages are not noise of its random beginning.

    As value pretraining of arXiv 2503.01491.
    """
    rewards, lengths = _rewards(prepared, z, kl_weight, tokens), prepared.rollouts.response_lengths
    _, returns = gae(rewards, torch.zeros_like(rewards), is_response(lengths), trace=1.0)
    target = to_flat(returns, lengths)
    for _ in range(WARM_UP_STEPS):
        learning.optimisers.value.zero_grad()
        for episodes in micro_batches(prepared.rollouts, range(prepared.rollouts.episodes)):
            values = learning.actor.values(prepared, episodes)
            errors = values - target[flat_index(prepared.rollouts, episodes)]
            (0.5 * errors.square().sum() / len(target)).backward()
        learning.optimisers.value.step()


def all_values(actor: Actor, prepared: Prepared) -> Tensor:
    """Return the value at every response token, flat [response tokens]."""
    found = torch.empty_like(prepared.old_logprobs)
    for episodes in micro_batches(prepared.rollouts, range(prepared.rollouts.episodes)):
        found[flat_index(prepared.rollouts, episodes)] = actor.values(prepared, episodes)
    return found


def _rewards(prepared: Prepared, z: Tensor, kl_weight: float, tokens: Tensor | None) -> Tensor:
    lengths = prepared.rollouts.response_lengths
    log_ratio = to_grid(prepared.old_logprobs - prepared.reference_logprobs, lengths)
    return reward_tensor(z, log_ratio, lengths, kl_weight, tokens)


def dump_state(state: TuneState) -> str:
    """Return the state as JSON; every float comes back as it was."""
    return json.dumps(asdict(state), sort_keys=True, indent=1)


def load_state(text: str) -> TuneState:
    """Return the state that `dump_state` wrote. Errors: ModelRefused, for one that lacks or has what ours does not."""
    try:
        state = TypeAdapter(TuneState).validate_python(json.loads(text))
    except ValidationError as error:
        raise _another_state(f"{error.errors()[0]['loc'][-1]}: {error.errors()[0]['msg']}") from error
    # What has a default could be missing, and what is unknown be passed over.
    if json.loads(dump_state(state), parse_constant=str) != json.loads(text, parse_constant=str):
        raise _another_state("its items are others")
    return state


def _another_state(why: str) -> ModelRefused:
    return ModelRefused(
        f"A checkpoint holds another state than this version of expound stores ({why}).",
        "Go on with the version that began the tuning, or remove the round's folder policy/checkpoints.",
    )


def _advance(
    state: TuneState, plan: TunePlan, order: PromptOrder, metrics: UpdateMetrics
) -> tuple[TuneState, tuple[Alarm, ...]]:
    """Return the state behind an update and the alarms that it set off."""
    target = state.kl_target
    if target is None:
        target = auto_target(metrics.length) if plan.ppo.kl_target == "auto" else plan.ppo.kl_target
    window = (*state.window, metrics)[-WINDOW:]
    ground = Ground(target, state.first or metrics, plan.normaliser.doubt)
    new = find_alarms(window, ground)
    known = tuple(alarm for alarm in state.alarms if alarm.name not in {alarm.name for alarm in new})
    after = replace(
        state,
        order=order,
        kl_weight=next_weight(state.kl_weight, metrics.kl, target),
        update=metrics.update,
        kl_target=target,
        quiet=state.update if is_quiet(metrics, ground) else state.quiet,
        first=ground.first,
        window=window,
        alarms=known + new,
    )
    return after, new


def _outcome(state: TuneState) -> Outcome:
    if not state.paused:
        return Outcome(state.update, state.alarms, f"all {state.update} updates are done")
    why = next(alarm.sentence for alarm in reversed(state.alarms) if alarm.action == "pause")
    ended = f"an alarm ended the tuning in update {state.update}; the policy is that of update {state.quiet}. {why}"
    return Outcome(state.quiet, state.alarms, ended)


def _finite(metrics: UpdateMetrics) -> dict[str, Metric]:
    """Return the figures with None for what is no number, since JSON has no other word for it."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(metrics).items()}


class Clock:
    """Seconds of wall clock since the last lap."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap, or since the clock was made."""
        now = time.perf_counter()
        spent, self._last = now - self._last, now
        return spent
