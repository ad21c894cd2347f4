"""A resumed tuning ends where it would have ended; without any one item of its state it ends elsewhere or is refused.

The tuning, its keeper and its files are real; what learns is a table, so that dozens of runs take seconds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from expound.errors import ModelRefused
from expound.models.checkpoints import Held, numbers, read_checkpoint, save_checkpoint
from expound.models.learner import CHECKPOINTS, OPTIMIZER, CheckpointKeeper
from expound.ppo.actor import Prepared, RewardValues, TokenReward
from expound.ppo.rollout import Normaliser
from expound.ppo.sizes import Sizes
from expound.ppo.tune import Learning, Metric, TunePlan, TuneState, begin, dump_state, load_state, tune
from expound.ppo.update import make_optimisers
from expound.records import Json, Round, content_id
from expound.settings import PpoSettings, SamplingSettings
from tests.support.tabular import FirstTokenReward, TabularActor, make_prompt

REFERENCE = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 7))).float()
FIRST_TOKEN = FirstTokenReward(torch.linspace(-1, 1, 7))
IDENTITY = {"reference": "table"}
FAR = 13
"""Updates after which a tuning that has lost its end counts as another one."""

Path_ = tuple[str | int, ...]
"""Where an item stands in the JSON of a state."""


class Table(TabularActor):
    """A table whose tensors can be kept."""

    def state(self) -> dict[str, Tensor]:
        return {"policy.logits": self.policy.detach().clone(), "value.steps": self.value.detach().clone()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        if set(state) != set(self.state()):
            raise ModelRefused("This is no table.", "Bring one.")
        self.policy.copy_(state["policy.logits"])
        self.value.copy_(state["value.steps"])


class Elsewhere(Exception):
    """A tuning goes on that should have ended."""


class Silent:
    """Progress that nobody sees."""

    def bar(self, what: str, total: int, done: int = 0) -> Silent:
        return self

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, steps: int = 1, note: str = "") -> None:
        pass

    def say(self, line: str) -> None:
        pass


@dataclass(frozen=True)
class Keeper:
    """The keeper of a folder, with somebody who sees every checkpoint."""

    keeper: CheckpointKeeper
    seen: Callable[[int], None]

    def line(self, update: int, metrics: Mapping[str, Metric]) -> None:
        self.keeper.line(update, metrics)

    def checkpoint(self, state: TuneState) -> None:
        self.keeper.checkpoint(state)
        self.seen(state.update)


class ShortReward:
    """A reward that has learnt that shorter is better, and nothing else."""

    def of(self, prepared: Prepared) -> RewardValues:
        lengths = prepared.rollouts.response_lengths.float()
        return RewardValues(-0.2 * lengths, torch.zeros_like(lengths))


@dataclass(frozen=True)
class Scenario:
    """A tuning that needs some items of its state; `sizes` are those that a slower machine chose behind update 1."""

    name: str
    reward: TokenReward = FIRST_TOKEN
    prompts: int = 11
    sizes: Sizes | None = None
    ppo: Mapping[str, object] = field(default_factory=dict)

    @property
    def plan(self) -> TunePlan:
        settings = {"updates": 6, "episodes": 32, "epochs": 2, "minibatches": 2, "learning_rate": 0.05}
        return TunePlan(
            round=Round(1, 11, "{}", ""),
            prompts=tuple(make_prompt(f"p{n}") for n in range(self.prompts)),
            sampling=SamplingSettings(temperature=0.8, max_new_tokens=5, responses_per_prompt=4),
            ppo=PpoSettings.model_validate({**settings, **self.ppo}),
            normaliser=Normaliser(0.0, 0.5),
        )


SCENARIOS = (
    Scenario("plain", ppo={"kl_target": "auto"}),
    Scenario("every update ends a pass over the prompts", prompts=8, ppo={"updates": 3}),
    Scenario("an alarm ends it", ppo={"learning_rate": 0.15, "kl_weight": 0.0, "kl_target": 0.2, "updates": 12}),
    Scenario("the reward has learnt length", ShortReward(), ppo={"learning_rate": 0.15, "updates": 12}),
    Scenario("sizes by time", sizes=Sizes(5, 16), ppo={"updates": "auto", "episodes": "auto"}),
)


@dataclass(frozen=True)
class Whole:
    """A scenario that nothing disturbed: where it ended, and its folder as every checkpoint left it."""

    scenario: Scenario
    end: str
    left: tuple[Path, ...]

    def state(self) -> dict[str, Json]:
        held = read_checkpoint(self.left[-1] / CHECKPOINTS, numbers(self.left[-1] / CHECKPOINTS)[-1], IDENTITY)
        state: dict[str, Json] = json.loads(held.state)
        return state

    def ends_elsewhere(self, left: Path, spoil: Callable[[Held], Held]) -> bool:
        """Say whether a tuning with a spoilt newest checkpoint is refused, or ends otherwise than the whole one."""
        folder = next(left.with_name(f"{left.name}-again-{n}") for n in count() if fresh(left, n))
        shutil.copytree(left, folder)
        spoil_newest(folder / CHECKPOINTS, spoil)
        try:
            return go_on(self.scenario, folder, stop_far_out) != self.end
        except (ModelRefused, Elsewhere):
            return True


def fresh(left: Path, number: int) -> bool:
    return not left.with_name(f"{left.name}-again-{number}").exists()


def stop_far_out(update: int) -> None:
    if update > FAR:
        raise Elsewhere


def spoil_newest(checkpoints: Path, spoil: Callable[[Held], Held]) -> None:
    number = numbers(checkpoints)[-1]
    save_checkpoint(checkpoints, number, spoil(read_checkpoint(checkpoints, number, IDENTITY)), IDENTITY)


def go_on(scenario: Scenario, folder: Path, seen: Callable[[int], None]) -> str:
    """Tune from what is in the folder to the end, as the learner does, and return a hash of what that comes to."""
    plan, actor = scenario.plan, Table(REFERENCE)
    optimisers = make_optimisers(actor, plan.rate(1))
    keeper = CheckpointKeeper(folder, actor, optimisers, IDENTITY)
    state = keeper.resume(Silent().say) or begin(plan)
    learning = Learning(actor, optimisers, scenario.reward)
    outcome = tune(learning, plan, state, Keeper(keeper, seen), Silent())
    weights = [tensor.tolist() for part in keeper.weights(outcome.update).values() for tensor in part.values()]
    return content_id(weights, json.loads(json.dumps(asdict(outcome))))


def run_whole(scenario: Scenario, place: Path) -> Whole:
    folder, left = place / "policy", []

    def seen(update: int) -> None:
        if update == 1 and scenario.sizes is not None and not left[1:]:
            left.append(folder)
            raise Elsewhere
        left.append(Path(shutil.copytree(folder, place / f"behind-{update}")))

    try:
        end = go_on(scenario, folder, seen)
    except Elsewhere:
        del left[:]
        spoil_newest(
            folder / CHECKPOINTS,
            lambda held: replace(held, state=dump_state(replace(load_state(held.state), sizes=scenario.sizes))),
        )
        left.append(Path(shutil.copytree(folder, place / "behind-1")))
        end = go_on(scenario, folder, seen)
    return Whole(scenario, end, tuple(left))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Whole, ...]:
    return tuple(run_whole(scenario, tmp_path_factory.mktemp("whole")) for scenario in SCENARIOS)


@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=[one.name for one in SCENARIOS])
def test_killed_behind_any_checkpoint_it_ends_where_it_would_have_ended(wholes: tuple[Whole, ...], number: int) -> None:
    """At the end of a pass over the prompts, too, and behind the last update: never is nothing done and no end made."""
    whole = wholes[number]
    assert len(whole.left) >= 4
    assert not [left.name for left in whole.left if whole.ends_elsewhere(left, lambda held: held)]


# --- the state is whole, and no larger than needed


def places(value: Json, at: Path_ = ()) -> Iterator[Path_]:
    """Yield where every item of nested objects stands."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in pairs:
        if isinstance(key, str):
            yield (*at, key)
        yield from places(inside, (*at, key))


def changed(text: str, at: Path_, change: Callable[[dict[str, Json]], None]) -> str:
    """Return the JSON of a state after a change to the object that holds an item."""
    state = json.loads(text)
    change(reduce(lambda inside, key: inside[key], at[:-1], state))
    return json.dumps(state)


ITEMS = [at for at in places(json.loads(dump_state(begin(SCENARIOS[0].plan)))) if at != ("order",)]


@pytest.mark.parametrize("at", ITEMS, ids=".".join)
def test_every_item_of_the_state_decides_where_some_tuning_ends(wholes: tuple[Whole, ...], at: Path_) -> None:
    """It is forgotten: as at the beginning. A new item needs a scenario above; without one it is superfluous."""

    def forgotten(whole: Whole, held: Held) -> Held:
        first = reduce(lambda inside, key: inside[key], at, json.loads(dump_state(begin(whole.scenario.plan))))
        return replace(held, state=changed(held.state, at, lambda inside: inside.update({at[-1]: first})))

    assert any(
        whole.ends_elsewhere(left, lambda held, whole=whole: forgotten(whole, held))
        for whole in wholes
        for left in reversed(whole.left[-4:])
    )


def test_a_state_that_lacks_an_item_or_has_another_is_refused(wholes: tuple[Whole, ...]) -> None:
    state = wholes[2].state() | {"sizes": asdict(Sizes(5, 16))}
    text, lacking = json.dumps(state), list(places(state))
    assert load_state(text).alarms
    assert len(lacking) > len(ITEMS) + 20
    for at in lacking:
        with pytest.raises(ModelRefused, match="holds another state than this version"):
            load_state(changed(text, at, lambda inside, at=at: inside.pop(at[-1])))
    with pytest.raises(ModelRefused, match="its items are others"):
        load_state(json.dumps({**state, "unheard": 1}))


FAMILIES = [("policy", ""), ("value", "")] + [
    (OPTIMIZER, f"{member}.0.{part}") for member in ("policy", "value") for part in ("step", "exp_avg", "exp_avg_sq")
]


@pytest.mark.parametrize(("file", "prefix"), FAMILIES)
def test_every_tensor_decides_where_the_tuning_ends(wholes: tuple[Whole, ...], file: str, prefix: str) -> None:
    """It is forgotten, as at the beginning; or it is not there, and that is refused."""
    plain, first = wholes[0], Table(REFERENCE)

    def forgotten(held: Held) -> Held:
        begun = {name: first.state().get(name, torch.zeros_like(one)) for name, one in held.tensors[file].items()}
        part = {name: begun[name] if name.startswith(prefix) else one for name, one in held.tensors[file].items()}
        assert len(part) == len(held.tensors[file])
        return replace(held, tensors={**held.tensors, file: part})

    def missing(held: Held) -> Held:
        part = {name: one for name, one in held.tensors[file].items() if name != (prefix or name)}
        return replace(held, tensors={**held.tensors, file: part})

    assert plain.ends_elsewhere(plain.left[3], forgotten)
    folder = plain.left[0].with_name(f"missing-{file}-{prefix}")
    shutil.copytree(plain.left[3], folder)
    spoil_newest(folder / CHECKPOINTS, missing)
    with pytest.raises(ModelRefused):
        go_on(plain.scenario, folder, stop_far_out)


def test_a_checkpoint_without_a_file_is_refused(wholes: tuple[Whole, ...], tmp_path: Path) -> None:
    for file in ("policy", "value", OPTIMIZER):
        folder = tmp_path / file
        shutil.copytree(wholes[0].left[3], folder)
        spoil_newest(
            folder / CHECKPOINTS,
            lambda held, file=file: replace(held, tensors={n: one for n, one in held.tensors.items() if n != file}),
        )
        with pytest.raises(ModelRefused):
            go_on(wholes[0].scenario, folder, stop_far_out)
