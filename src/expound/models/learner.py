"""The Learner port: fits the reward on the frozen reference and tunes the branch above it.

`reward/` and `ppo/` do the work; this file wires them to one loaded model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from torch import Tensor

from expound.errors import InputError, ModelRefused, PromptError
from expound.files import clear_staging, json_lines, write_file
from expound.models.branches import BranchActor, Render, actor_for
from expound.models.checkpoints import (
    MANIFEST,
    Held,
    Identity,
    keep_only,
    moments,
    newest_checkpoint,
    read_checkpoint,
    read_whole,
    restore_moments,
    save_checkpoint,
    write_whole,
)
from expound.models.heads import FittedReward, FunctionReward, heads_id, read_reward, spread_of, write_reward
from expound.models.loading import Loaded, prompt_ids
from expound.models.policy import ModelPolicy, policy_id, reached, text_of
from expound.ports import Progress, RewardTask, Scorer, TuneTask
from expound.ppo.rollout import Normaliser, Rollouts
from expound.ppo.tune import Learning, Metric, Outcome, TunePlan, TuneState, begin, dump_state, load_state, tune
from expound.ppo.update import Optimisers, make_optimisers
from expound.records import (
    Alarm,
    Example,
    PolicyRecord,
    Prompt,
    Response,
    RewardCard,
    Round,
    content_id,
)
from expound.reward.calibration import (
    learning_curve,
    left_out_accuracy,
    length_accuracy,
    normaliser,
    pair_accuracy,
)
from expound.reward.fit import Floats, Material, fit_heads, predict
from expound.settings import RewardSettings, SamplingSettings

READ_TOGETHER = 64
"""Stored responses that the reference reads in one go."""

CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
OPTIMIZER = "optimizer"

Weights = Mapping[str, Mapping[str, Tensor]]
"""What learns, by member and name."""


class BranchLearner:
    """Fits rewards and tunes policies over one loaded reference."""

    def __init__(
        self,
        loaded: Loaded,
        render: Render,
        progress: Progress,
        sampling: SamplingSettings | None = None,
    ) -> None:
        """Take the reference and how prompts become conversations; `progress` shows the reading of responses.

        `sampling` is what exported policies default to.
        """
        self._loaded, self._render, self._progress = loaded, render, progress
        self._sampling = sampling or SamplingSettings()
        self._readings: dict[tuple[str, ...], Floats] = {}

    def reference(self) -> ModelPolicy:
        """Return the policy at the start of round 1."""
        return ModelPolicy(self._loaded, self._render, self._sampling)

    def policy(self, id_: str, folder: Path) -> ModelPolicy:
        """Return the finished policy in a folder.

        Errors: ModelRefused when it is damaged, or is not the policy of that id over this reference.
        """
        policy = ModelPolicy(self._loaded, self._render, self._sampling, _finished(folder).tensors["policy"])
        if policy.id != id_:
            raise ModelRefused(
                f"The policy in {folder} is {policy.id} over this model, not {id_}.",
                "Set [project] model as it was when the policy was tuned.",
            )
        return policy

    # --- the reward -------------------------------------------------------------------------------------------------

    def fit(
        self,
        examples: Sequence[Example],
        prompts: Mapping[str, Prompt],
        responses: Mapping[str, Response],
        settings: RewardSettings,
        target: RewardTask,
    ) -> RewardCard:
        """Fit the reward model, write it into the target's folder, and return what is known of it.

        Responses of files that do not fit the model are left out. Errors: NothingToLearn, ModelRefused, StorageError.
        """
        responses = self._with_tokens(prompts, responses)
        examples = [example for example in examples if example.response in responses]
        judged = [responses[example.response] for example in examples]
        actor = BranchActor(self._loaded, self._render, live_layers="third", seed=target.seed)
        readings = self._read(actor, prompts, responses)
        values, names = np.array([one.value for one in examples]), tuple(one.prompt for one in examples)
        material = Material(np.stack([readings[one.id] for one in judged]), values, names)
        heads = fit_heads(material, settings.members, target.seed)
        is_reference = [response.policy == self._loaded.identity for response in judged]
        mean, sd, doubt = normaliser(heads, material.features, is_reference)
        accuracy, ground = left_out_accuracy(material, target.seed), self._ground()
        card = RewardCard(
            id=heads_id(heads, ground),
            round=target.round,
            examples=len(examples),
            members=settings.members,
            pair_accuracy=accuracy.share,
            pair_accuracy_low=accuracy.low,
            pair_accuracy_high=accuracy.high,
            length_accuracy=length_accuracy(material, [len(response.tokens) for response in judged], target.seed).share,
            pairs=accuracy.pairs,
            mean=mean,
            sd=sd,
            curve=learning_curve(material, target.seed),
            doubt=doubt,
        )
        write_reward(target.folder, heads, card, ground)
        return card

    def rewards(
        self, reward: Path, prompts: Mapping[str, Prompt], responses: Sequence[Response]
    ) -> tuple[Floats, Floats]:
        """Return mean and spread of the members of the fitted reward in a folder, [responses] each.

        Errors: ModelRefused for a reward that is damaged or was fitted on something else.
        """
        _, heads = read_reward(reward, self._ground())
        assert heads is not None, "the card of a function says so before"
        actor = BranchActor(self._loaded, self._render, live_layers="third", seed=0)
        readings = self._read(actor, prompts, {response.id: response for response in responses})
        return predict(heads, np.stack([readings[response.id] for response in responses]))

    def adopt(self, scorer: Scorer, responses: Sequence[Response], target: RewardTask) -> RewardCard:
        """Make a function of the user's the reward, and return what is known of it.

        Its mean and spread are those of the reference's among the responses.
        Errors: InputError for what the function does wrong, NothingToLearn when it tells nothing apart, StorageError.
        """
        values, ground = scorer.values(responses, target.round), self._ground()
        scores = np.array([value.mean for value in values])
        mean, sd = spread_of(values, [response.policy == self._loaded.identity for response in responses])
        lengths = [len(response.tokens) for response in responses]
        material = Material(np.zeros((len(scores), 1)), scores, tuple(response.prompt for response in responses))
        card = RewardCard(
            id=content_id("function", scorer.name, dict(ground), mean, sd),
            round=target.round,
            examples=len(responses),
            members=1,
            pair_accuracy=1.0,
            pair_accuracy_low=1.0,
            pair_accuracy_high=1.0,
            length_accuracy=length_accuracy(material, lengths, target.seed).share,
            pairs=pair_accuracy(scores, material).pairs,
            mean=mean,
            sd=sd,
            function=scorer.name,
        )
        write_reward(target.folder, None, card, ground)
        return card

    def doubts(
        self, prompts: Mapping[str, Prompt], responses: Mapping[str, Response], reward: Path
    ) -> Mapping[str, float]:
        """Return the spread of the members of the fitted reward in that folder about each response.

        What is read for it is kept for the next fit. Errors: ModelRefused.
        """
        _, heads = read_reward(reward, self._ground())
        assert heads is not None, "a function has no members"
        actor = BranchActor(self._loaded, self._render, live_layers="third", seed=0)
        readings = self._read(actor, prompts, responses)
        _, spread = predict(heads, np.stack(list(readings.values())))
        return dict(zip(readings, spread.tolist(), strict=True))

    def _with_tokens(self, prompts: Mapping[str, Prompt], responses: Mapping[str, Response]) -> dict[str, Response]:
        """Return the responses, those of files with the tokens by which this model would have said them."""
        loaded, found = self._loaded, dict(responses)
        for id_, one in responses.items():
            if one.tokens:
                continue
            tokens = (*loaded.tokenizer.encode(one.text, add_special_tokens=False), loaded.end_tokens[0])
            try:
                prompt_ids(loaded, self._render(prompts[one.prompt]), one.prompt, len(tokens))
                found[id_] = replace(one, tokens=tokens)
            except PromptError:
                del found[id_]
        if len(found) < len(responses):
            self._progress.say(f"{len(responses) - len(found)} responses of files do not fit the model: left out.")
        return found

    def _read(
        self, actor: BranchActor, prompts: Mapping[str, Prompt], responses: Mapping[str, Response]
    ) -> dict[str, Floats]:
        """Return what the reward reads of each response.

        Groups are kept. Who is read with whom depends on the responses alone, so that a resumed run agrees.
        """
        groups = {tuple(response.id for response in group): group for group in read_together(responses.values())}
        missing = {ids: group for ids, group in groups.items() if ids not in self._readings}
        with self._progress.bar("read responses", sum(map(len, missing))) as advance:
            for ids, group in missing.items():
                # A reading does not depend on the temperature.
                rollouts = actor.rollouts_of(prompts, group, temperature=1.0)
                self._readings[ids] = actor.read(rollouts).double().cpu().numpy()
                advance(len(ids))
        return {id_: row for ids in groups for id_, row in zip(ids, self._readings[ids], strict=True)}

    # --- the policy -------------------------------------------------------------------------------------------------

    def tune(self, task: TuneTask, reward: Path, progress: Progress) -> tuple[PolicyRecord, Sequence[Alarm]]:
        """Tune the policy of the round with the reward in that folder; resume from the last checkpoint.

        The round begins with the policy of the last round that has one, else with the reference. A finished policy is
        returned as it is. Errors: ModelRefused, TrainingStopped, PromptError, SettingsError, StorageError.
        """
        if not (task.folder / MANIFEST).exists():
            clear_staging(task.folder)
            plan, learning, keeper = self._prepare(task, reward)
            state = keeper.resume(progress.say) or begin(plan)
            outcome = tune(learning, plan, state, keeper, progress)
            self._finish(task, outcome, keeper.weights(outcome.update))
        done = TypeAdapter(_Finished).validate_json(_finished(task.folder).state)
        shutil.rmtree(task.folder / CHECKPOINTS, ignore_errors=True)
        place = task.folder.relative_to(task.folder.parents[2]).as_posix()
        return PolicyRecord(done.id, task.round.number, place, done.outcome.ended), done.outcome.alarms

    def _prepare(self, task: TuneTask, reward: Path) -> tuple[TunePlan, Learning, CheckpointKeeper]:
        card, heads = read_reward(reward, self._ground())
        normal = Normaliser(card.mean, card.sd, card.doubt)
        plan = TunePlan(task.round, tuple(task.prompts), task.sampling, task.ppo, normal)
        actor = actor_for(self._loaded, self._render, task.ppo, task.round.seed)
        for note in actor.notes:
            self._progress.say(note)
        before = previous_policy(task)
        if before is not None:
            start = _finished(before).tensors
            actor.load_state({**start["policy"], **start["value"]})
        identity = {
            "reference": self._loaded.identity,
            "reward": card.id,
            "starting policy": policy_id(self._loaded.identity, actor.state()),
            "settings": content_id(task.ppo.model_dump_json(), task.sampling.model_dump_json()),
            "round": content_id(task.round.seed, task.round.number),
            "set of prompts": content_id(sorted(prompt.id for prompt in task.prompts)),
        }
        judge = self._function(task, actor, card) if heads is None else FittedReward(heads)
        learning = Learning(actor, make_optimisers(actor, plan.rate(1)), judge)
        return plan, learning, CheckpointKeeper(task.folder, actor, learning.optimisers, identity)

    def _function(self, task: TuneTask, actor: BranchActor, card: RewardCard) -> FunctionReward:
        if task.scorer is None:
            raise ModelRefused(
                f"the reward of round {task.round.number} is the function '{card.function}', which is not given.",
                "Give it to project.run(feedback=...).",
            )
        return FunctionReward(
            responses=lambda rollouts: self._said(rollouts, actor, task.round),
            reached=partial(reached, self._loaded),
            scorer=task.scorer,
            round=task.round.number,
        )

    def _said(self, rollouts: Rollouts, actor: BranchActor, round_: Round) -> tuple[Response, ...]:
        """Return episodes as responses of the policy that sampled them, which is the actor as it is now."""
        policy, number = policy_id(self._loaded.identity, actor.state()), round_.number
        tokens = rollouts.response_tokens.split(rollouts.response_lengths.tolist())
        rows = zip(rollouts.prompts, rollouts.samples, rollouts.finished.tolist(), tokens, strict=True)
        found = []
        for prompt, sample, finished, part in rows:
            said = tuple(part.tolist())
            text = text_of(self._loaded, said)
            id_ = Response.make_id(prompt, policy, number, sample, text)
            found.append(Response(id_, prompt, text, policy, number, sample, finished, said))
        return tuple(found)

    def _finish(self, task: TuneTask, outcome: Outcome, weights: Weights) -> None:
        """Make the policy of the update that counts the round's."""
        state = _Finished(policy_id(self._loaded.identity, weights["policy"]), outcome)
        held = Held(weights, json.dumps(asdict(state), indent=1))
        write_whole(task.folder, held, {"reference": self._loaded.identity})

    def _ground(self) -> Identity:
        """Return what a reward is fitted on."""
        return {"reference": self._loaded.identity}


class CheckpointKeeper:
    """Keeps checkpoints and metrics of one round (fulfils ppo.tune.Keeper)."""

    def __init__(self, folder: Path, actor: BranchActor, optimisers: Optimisers, identity: Identity) -> None:
        self._folder, self._metrics = folder / CHECKPOINTS, folder.parent / METRICS
        self._actor, self._optimisers, self._identity = actor, optimisers, identity

    def line(self, update: int, metrics: Mapping[str, Metric]) -> None:
        known = json_lines(self._metrics, InputError) if self._metrics.exists() else ()
        kept = [line for _, line in known if line["update"] in range(update)]
        write_file(self._metrics, "".join(f"{json.dumps(line)}\n" for line in [*kept, metrics]))

    def checkpoint(self, state: TuneState) -> None:
        """Keep the state and all tensors; of older checkpoints the last and the last quiet one stay."""
        tensors: dict[str, dict[str, Tensor]] = {OPTIMIZER: moments(vars(self._optimisers))}
        for name, tensor in self._actor.state().items():
            tensors.setdefault(name.partition(".")[0], {})[name] = tensor
        held = Held(tensors, dump_state(state))
        save_checkpoint(self._folder, state.update, held, self._identity)
        keep_only(self._folder, {state.update, state.update - 1, state.quiet})

    def resume(self, say: Callable[[str], None]) -> TuneState | None:
        """Take over the newest whole checkpoint and return its state, or None when there is none."""
        found = newest_checkpoint(self._folder, self._identity, say)
        if found is None:
            return None
        self._actor.load_state({name: one for part in _weights(found).values() for name, one in part.items()})
        restore_moments(vars(self._optimisers), found.tensors.get(OPTIMIZER, {}))
        return load_state(found.state)

    def weights(self, update: int) -> Weights:
        """Return what had been learnt by an update of which a checkpoint is kept. Errors: ModelRefused."""
        return _weights(read_checkpoint(self._folder, update, self._identity))


def read_together(responses: Iterable[Response]) -> list[list[Response]]:
    """Return the responses in groups that the reference reads in one go: of one round, those of a prompt together."""
    ordered = sorted(responses, key=lambda response: (response.round, response.prompt, response.sample, response.id))
    return [
        rows[start : start + READ_TOGETHER]
        for rows in (list(found) for _, found in groupby(ordered, key=lambda response: response.round))
        for start in range(0, len(rows), READ_TOGETHER)
    ]


def previous_policy(task: TuneTask) -> Path | None:
    """Return the folder of the finished policy of the last round before this one, or None."""
    rounds = task.folder.parent.parent
    folders = [rounds / f"{number:03d}" / task.folder.name for number in range(task.round.number - 1, 0, -1)]
    return next((folder for folder in folders if (folder / MANIFEST).exists()), None)


@dataclass(frozen=True)
class _Finished:
    """What a finished policy's folder says beside its tensors."""

    id: str
    outcome: Outcome


def _weights(held: Held) -> Weights:
    return {name: tensors for name, tensors in held.tensors.items() if name != OPTIMIZER}


def _finished(folder: Path) -> Held:
    return read_whole(folder, "Restore that folder from a backup.")
