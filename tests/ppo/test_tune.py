"""Tuning a table: it learns, resumes exactly, pauses at the last quiet policy and stops where it must."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from expound.errors import TrainingStopped
from expound.ppo.actor import Prepared, RewardValues
from expound.ppo.rollout import Normaliser, Rollouts
from expound.ppo.sizes import MOST_UPDATES, Sizes
from expound.ppo.tune import Learning, Metric, TunePlan, TuneState, begin, dump_state, load_state, tune
from expound.ppo.update import make_optimisers
from expound.records import Prompt, Round, SamplingKey
from expound.settings import PpoSettings, SamplingSettings
from tests.support.tabular import FirstTokenReward, TabularActor, make_prompt

REFERENCE = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 7))).float()
REWARDS = torch.linspace(-1, 1, 7)


@dataclass
class Notes:
    """Progress that remembers."""

    bars: list[tuple[str, int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Notes]:
        self.bars.append((what, total, done))
        yield self

    def __call__(self, steps: int = 1, note: str = "") -> None:
        self.notes.append(note)

    def say(self, line: str) -> None:
        self.notes.append(line)


@dataclass
class Memory:
    """A keeper that holds deep copies, and pulls the plug after a given update."""

    learning: Learning
    kill_after: int | None = None
    lines: dict[int, Mapping[str, Metric]] = field(default_factory=dict)
    kept: dict[int, tuple[str, Tensor, Tensor, dict[str, object], dict[str, object]]] = field(default_factory=dict)

    def line(self, update: int, metrics: Mapping[str, Metric]) -> None:
        json.dumps(metrics, allow_nan=False)
        self.lines[update] = metrics

    def checkpoint(self, state: TuneState) -> None:
        actor, optimisers = self.learning.actor, self.learning.optimisers
        assert isinstance(actor, TabularActor)
        tensors = (actor.policy.detach().clone(), actor.value.detach().clone())
        moments = (copy.deepcopy(optimisers.policy.state_dict()), copy.deepcopy(optimisers.value.state_dict()))
        self.kept[state.update] = (dump_state(state), *tensors, *moments)
        if self.kill_after == state.update:
            raise KeyboardInterrupt


def make_plan(**ppo: object) -> TunePlan:
    settings = {"updates": 6, "episodes": 32, "epochs": 2, "minibatches": 2, "learning_rate": 0.05, **ppo}
    return TunePlan(
        round=Round(1, 11, "{}", ""),
        prompts=tuple(make_prompt(f"p{n}") for n in range(11)),
        sampling=SamplingSettings(temperature=0.8, max_new_tokens=5, responses_per_prompt=4),
        ppo=PpoSettings.model_validate(settings),
        normaliser=Normaliser(0.0, 0.5),
    )


def make_learning(plan: TunePlan) -> Learning:
    actor = TabularActor(REFERENCE)
    return Learning(actor, make_optimisers(actor, plan.rate(1)), FirstTokenReward(REWARDS))


def restored(kept: tuple[str, Tensor, Tensor, dict[str, object], dict[str, object]], plan: TunePlan) -> Learning:
    learning = make_learning(plan)
    assert isinstance(learning.actor, TabularActor)
    _, policy, value, policy_moments, value_moments = copy.deepcopy(kept)
    with torch.no_grad():
        learning.actor.policy.copy_(policy)
        learning.actor.value.copy_(value)
    learning.optimisers.policy.load_state_dict(policy_moments)
    learning.optimisers.value.load_state_dict(value_moments)
    return learning


def run(plan: TunePlan, kill_after: int | None = None) -> Memory:
    learning = make_learning(plan)
    memory = Memory(learning, kill_after)
    tune(learning, plan, begin(plan), memory, Notes())
    return memory


def test_the_reward_rises_and_everything_is_told() -> None:
    plan = make_plan(updates=12)
    learning, notes = make_learning(plan), Notes()
    memory = Memory(learning)
    outcome = tune(learning, plan, begin(plan), memory, notes)
    assert (outcome.update, outcome.ended) == (12, "all 12 updates are done")
    # That value knows the step alone, which tells nothing.
    assert {alarm.name for alarm in outcome.alarms} <= {"value_blind"}
    lines = [memory.lines[update] for update in range(1, 13)]
    rewards = [line["reward"] for line in lines]
    assert all(isinstance(reward, float) for reward in rewards)
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.3
    assert all(line["optimiser_steps"] == 4 and line["episodes"] == 32 for line in lines)
    assert all(f"seconds_{phase}" in lines[0] for phase in ("sample", "prepare", "reward", "update"))
    assert lines[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert notes.bars == [("tune", 12, 0)]
    assert notes.notes[0].startswith("reward ")
    assert sorted(memory.kept) == list(range(13))


def test_the_value_is_warm_before_it_is_needed() -> None:
    line = run(make_plan(updates=1)).lines[1]
    assert isinstance(line["explained_variance"], float)
    assert line["explained_variance"] > 0


@pytest.mark.parametrize("estimator", ["rloo", "grpo"])
def test_an_estimator_without_a_value_raises_the_reward_too(estimator: str) -> None:
    memory = run(make_plan(updates=12, estimator=estimator))
    lines = [memory.lines[update] for update in range(1, 13)]
    rewards = [line["reward"] for line in lines]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.3
    assert {line["explained_variance"] for line in lines} == {None}
    assert {line["value_loss"] for line in lines} == {0.0}
    assert all((line["flat_groups"] is None) == (estimator == "rloo") for line in lines)
    assert not memory.kept[12][2].any(), "no value learns"


@pytest.mark.parametrize(
    ("estimator", "kill_after"), [*(("gae", after) for after in (0, 1, 3, 5, 6)), ("rloo", 3), ("grpo", 0), ("grpo", 4)]
)
def test_a_tuning_that_was_killed_ends_in_the_same_weights(estimator: str, kill_after: int) -> None:
    plan = make_plan(estimator=estimator)
    whole = run(plan)
    learning = make_learning(plan)
    first = Memory(learning, kill_after)
    with pytest.raises(KeyboardInterrupt):
        tune(learning, plan, begin(plan), first, Notes())
    kept = first.kept[kill_after]
    again = restored(kept, plan)
    second, notes = Memory(again), Notes()
    outcome = tune(again, plan, load_state(kept[0]), second, notes)
    assert outcome.update == 6
    assert notes.bars == [("tune", 6, kill_after)]
    last = {**first.kept, **second.kept}[6]
    assert torch.equal(last[1], whole.kept[6][1])
    assert torch.equal(last[2], whole.kept[6][2])
    assert last[0] == whole.kept[6][0]


def test_what_is_left_open_is_chosen_behind_the_first_update_and_told() -> None:
    """A table is so fast that the most updates there are do not fill ten minutes."""
    plan = make_plan(updates="auto", episodes="auto", learning_rate=0.005, kl_target=0.0)
    learning, notes = make_learning(plan), Notes()
    memory = Memory(learning)
    outcome = tune(learning, plan, begin(plan), memory, notes)
    assert outcome.ended == f"all {MOST_UPDATES} updates are done"
    assert notes.bars == [("tune", MOST_UPDATES, 1)]
    assert notes.notes[:2] == [
        "One update is timed, to choose how many there will be.",
        f"Tuning takes {MOST_UPDATES} updates of 44 responses on this machine.",
    ]
    assert {line["updates"] for line in memory.lines.values()} == {MOST_UPDATES}
    assert {line["episodes"] for line in memory.lines.values()} == {44}  # of eleven prompts, none twice


@pytest.mark.parametrize("kill_after", [1, 2, 7])
def test_a_resumed_tuning_keeps_the_sizes_that_were_chosen(kill_after: int) -> None:
    """Also on a machine that would choose others: the checkpoint of the first update says 9 of 32 responses."""
    plan, chosen = make_plan(updates="auto", episodes="auto", kl_target=0.0), Sizes(9, 32)

    def slow(learning: Learning) -> tuple[TuneState, Memory]:
        memory = Memory(learning, kill_after=1)
        with pytest.raises(KeyboardInterrupt):
            tune(learning, plan, begin(plan), memory, Notes())
        return replace(load_state(memory.kept[1][0]), sizes=chosen), memory

    learning = make_learning(plan)
    state, _ = slow(learning)
    whole = Memory(learning)
    outcome = tune(learning, plan, state, whole, Notes())
    assert outcome.update == 9
    assert {whole.lines[update]["updates"] for update in range(2, 10)} == {9}
    assert {whole.lines[update]["episodes"] for update in range(2, 10)} == {32}
    again = make_learning(plan)
    state, first = slow(again)
    if kill_after > 1:
        first = Memory(again, kill_after)
        with pytest.raises(KeyboardInterrupt):
            tune(again, plan, state, first, Notes())
        again, state = restored(first.kept[kill_after], plan), load_state(first.kept[kill_after][0])
        assert state.sizes == chosen
    last = Memory(again)
    tune(again, plan, state, last, Notes())
    assert torch.equal(last.kept[9][1], whole.kept[9][1])
    assert last.kept[9][0] == whole.kept[9][0]


def test_drift_pauses_at_the_last_quiet_policy() -> None:
    plan = make_plan(updates=20, learning_rate=0.5, kl_weight=0.0, kl_target=0.2)
    learning = make_learning(plan)
    memory = Memory(learning)
    outcome = tune(learning, plan, begin(plan), memory, Notes())
    kl = [memory.lines[update]["kl"] for update in sorted(memory.lines)]
    assert all(isinstance(one, float) for one in kl)
    high = [update for update, one in enumerate(kl, start=1) if isinstance(one, float) and one > 3 * 0.2]
    assert [alarm.name for alarm in outcome.alarms] == ["kl_high"]
    assert len(kl) == high[1] == high[0] + 1  # it ended with the second update in a row
    assert outcome.update == high[0] - 2  # the policy that sampled in the update before the first high one
    assert f"ended the tuning in update {len(kl)}" in outcome.ended
    # A resumed tuning that was paused does not go on.
    kept = memory.kept[len(kl)]
    resumed = tune(restored(kept, plan), plan, load_state(kept[0]), Memory(learning), Notes())
    assert resumed == outcome


@dataclass
class RepeatReward:
    """A reward that likes one token, and whose members disagree about it."""

    token: int
    sd: float = 0.0

    def of(self, prepared: Prepared) -> RewardValues:
        lengths = prepared.rollouts.response_lengths.tolist()
        same = [float((part == self.token).sum()) for part in prepared.rollouts.response_tokens.split(lengths)]
        return RewardValues(torch.tensor(same) / 10, self.sd * torch.tensor(same))


ENDLESS = torch.from_numpy(np.random.default_rng(3).normal(size=(10, 4))).float() - torch.tensor([30.0, 0, 0, 0])


@pytest.mark.parametrize("name", ["repeats", "doubt"])
def test_a_pause_keeps_the_policy_from_before_the_sign(name: str) -> None:
    """The policy that counts sampled the last update whose own figures gave no alarm."""
    plan = make_plan(updates=40, learning_rate=0.2, kl_weight=0.0, kl_target=0.0, caution=0.0)
    plan = replace(
        plan,
        sampling=SamplingSettings(temperature=1.0, max_new_tokens=10, responses_per_prompt=4),
        normaliser=Normaliser(1.0, 0.2, doubt=0.3 if name == "doubt" else 0.0),
    )
    actor = TabularActor(ENDLESS)
    learning = Learning(actor, make_optimisers(actor, 0.2), RepeatReward(2, sd=0.1 if name == "doubt" else 0.0))
    memory = Memory(learning)
    outcome = tune(learning, plan, begin(plan), memory, Notes())
    last = len(memory.lines)
    assert [alarm.name for alarm in outcome.alarms if alarm.action == "pause"] == [name]
    assert 2 < last < 40
    assert outcome.update == last - 2  # it sampled in the update before
    assert name in np.atleast_1d(memory.lines[last]["alarms"])
    if name == "repeats":
        shown = memory.lines[last]["repeating"]
        assert isinstance(shown, list)
        assert len(shown) == 3
        assert all(text.count("2") > 6 for text in shown)
        assert f"the line of update {last}" in next(alarm.remedy for alarm in outcome.alarms if alarm.name == name)


def test_the_first_update_is_what_later_ones_are_held_against_also_after_a_kill() -> None:
    plan = make_plan(updates=12)
    learning = make_learning(plan)
    first = Memory(learning, kill_after=10)
    with pytest.raises(KeyboardInterrupt):
        tune(learning, plan, begin(plan), first, Notes())
    state = load_state(first.kept[10][0])
    assert state.first is not None
    assert (state.first.update, [one.update for one in state.window]) == (1, list(range(3, 11)))
    assert state.first.length == first.lines[1]["length"]


@dataclass
class FlatReward:
    """A reward that says the same of everything."""

    value: float

    def of(self, prepared: Prepared) -> RewardValues:
        mean = torch.full((prepared.rollouts.episodes,), self.value)
        return RewardValues(mean, torch.zeros_like(mean))


def test_a_flat_reward_is_noted_once_and_a_broken_one_refused() -> None:
    plan = make_plan()
    plan = replace(plan, sampling=plan.sampling)
    learning = make_learning(plan)
    # Cut responses lose a spread, which is no flat reward any more; so the table always ends at once.
    assert isinstance(learning.actor, TabularActor)
    with torch.no_grad():
        learning.actor.reference[:, 0] = learning.actor.policy[:, 0] = 30.0
    flat = Learning(learning.actor, learning.optimisers, FlatReward(0.3))
    outcome = tune(flat, plan, begin(plan), Memory(flat), Notes())
    assert [alarm.name for alarm in outcome.alarms] == ["flat_reward"]
    broken = Learning(learning.actor, learning.optimisers, FlatReward(math.nan))
    with pytest.raises(TrainingStopped, match="is nan"):
        tune(broken, plan, begin(plan), Memory(broken), Notes())


@dataclass
class TokenReward:
    """A reward of the tokens alone: each gets what the table says."""

    table: Tensor

    def of(self, prepared: Prepared) -> RewardValues:
        mean = torch.zeros(prepared.rollouts.episodes)
        tokens = self.table[prepared.rollouts.response_tokens]
        return RewardValues(mean, mean, tokens, {"even": float(tokens.mean())})


@pytest.mark.parametrize("estimator", ["gae", "rloo", "grpo"])
def test_a_reward_of_tokens_is_learnt_and_shown_in_spreads(estimator: str) -> None:
    plan = make_plan(kl_target=0.0, estimator=estimator)
    actor = TabularActor(REFERENCE)
    learning = Learning(actor, make_optimisers(actor, 0.05), TokenReward(REWARDS / 2))
    memory = Memory(learning)
    tune(learning, plan, begin(plan), memory, Notes())
    shown = [memory.lines[update]["z"] for update in range(1, 7)]
    assert np.mean(shown[-2:]) > np.mean(shown[:2]) + 0.3
    assert {line["reward"] for line in memory.lines.values()} == {0.0}
    assert all(isinstance(line["part_even"], float) for line in memory.lines.values())
    alarms = [name for line in memory.lines.values() for name in np.atleast_1d(line["alarms"])]
    assert "flat_reward" not in alarms


class Liar(TabularActor):
    """An actor whose log-probabilities at sampling time are not those it learns with."""

    def prepare(self, rollouts: Rollouts) -> Prepared:
        prepared = super().prepare(rollouts)
        return replace(prepared, old_logprobs=prepared.old_logprobs + 0.01)


class Broken(TabularActor):
    """An actor whose value becomes infinite."""

    def values(self, prepared: Prepared, episodes: Sequence[int]) -> Tensor:
        return super().values(prepared, episodes) + math.inf


@pytest.mark.parametrize(
    ("kind", "words"), [(Liar, "not the policy that wrote"), (Broken, "became infinite in update 1")]
)
def test_a_stopping_alarm_is_an_error_and_leaves_the_checkpoint_before(kind: type[TabularActor], words: str) -> None:
    plan, actor = make_plan(), kind(REFERENCE)
    learning = Learning(actor, make_optimisers(actor, 0.1), FirstTokenReward(REWARDS))
    memory = Memory(learning)
    with pytest.raises(TrainingStopped, match=words):
        tune(learning, plan, begin(plan), memory, Notes())
    assert sorted(memory.kept) == [0]
    assert memory.lines[1]["alarms"]


def test_the_rate_falls_in_a_line_to_thirty_percent() -> None:
    """Holds the schedule that the demonstration learnt with."""
    plan = make_plan(updates=8, learning_rate=7e-4)
    assert [plan.rate(update) for update in (1, 8)] == pytest.approx([7e-4, 2.1e-4])
    assert plan.rate(4) - plan.rate(5) == pytest.approx(7e-4 * 0.1)
    assert make_plan(updates=1, learning_rate="auto").rate(1) == pytest.approx(2e-4)


def test_an_update_holds_no_prompt_twice_however_few_there_are() -> None:
    plan = make_plan(minibatches=4)
    assert (plan.prompts_per_update, plan.steps.minibatches) == (8, 4)
    few = replace(plan, prompts=plan.prompts[:3])
    assert (few.prompts_per_update, few.steps.minibatches) == (3, 3)
    learning = make_learning(few)
    memory = Memory(learning)
    tune(learning, few, begin(few), memory, Notes())
    assert memory.lines[1]["episodes"] == 12


def test_the_state_comes_back_as_it_was() -> None:
    memory = run(make_plan(updates=2))
    text = memory.kept[2][0]
    state = load_state(text)
    assert dump_state(state) == text
    odd = replace(state, window=(replace(state.window[0], explained_variance=math.nan),))
    assert math.isnan(load_state(dump_state(odd)).window[0].explained_variance)


def test_the_kl_weight_follows_the_controller() -> None:
    """A change here changes every training: start at the setting, then Ziegler's controller, an update as horizon."""
    memory = run(make_plan(updates=5, kl_weight=0.07, kl_target="auto"))
    state = load_state(memory.kept[5][0])
    length = memory.lines[1]["length"]
    assert isinstance(length, float)
    assert state.kl_target == pytest.approx(0.1 * length)
    weight = 0.07
    for update in range(1, 6):
        assert memory.lines[update]["beta"] == pytest.approx(weight)
        kl = memory.lines[update]["kl"]
        assert isinstance(kl, float)
        weight *= 1 + max(-0.2, min(0.2, kl / (0.1 * length) - 1))
    assert state.kl_weight == pytest.approx(weight)


def test_updates_walk_over_all_prompts() -> None:
    asked: list[str] = []

    class Listener(TabularActor):
        def sample(
            self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
        ) -> Rollouts:
            asked.extend(prompt.id for prompt in prompts)
            return super().sample(prompts, responses, sampling, key)

    plan, actor = make_plan(updates=11), Listener(REFERENCE)
    learning = Learning(actor, make_optimisers(actor, 0.01), FirstTokenReward(REWARDS))
    tune(learning, plan, begin(plan), Memory(learning), Notes())
    assert Counter(asked) == {prompt.id: 8 for prompt in plan.prompts}
