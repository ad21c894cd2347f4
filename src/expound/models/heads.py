"""A reward as a folder, and as what PPO asks for rewards: heads that were fitted, or a function of the user's."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from expound.errors import NothingToLearn
from expound.files import staged_folder
from expound.models.checkpoints import Held, Identity, read_whole, to_bytes, write_whole
from expound.ports import RewardValue, Scorer
from expound.ppo.actor import Prepared, RewardValues
from expound.ppo.rollout import Rollouts
from expound.records import Response, RewardCard, content_id
from expound.reward.fit import Heads, predict

HEADS = "reward"
CONSTANT_SCORES = 1e-9
"""Scores that differ by less than this share of the largest differ by rounding alone."""


@dataclass(frozen=True)
class FittedReward:
    """Mean and spread of linear heads over what the reference makes of episodes."""

    heads: Heads

    def of(self, prepared: Prepared) -> RewardValues:
        """Return the rewards of all episodes (fulfils ppo.actor.TokenReward)."""
        reading = prepared.rollouts.reading
        assert reading is not None, "the actor prepares what a reward reads"
        found = predict(self.heads, reading.double().cpu().numpy())
        mean, sd = (torch.from_numpy(one).float().to(reading.device) for one in found)
        return RewardValues(mean, sd)


@dataclass(frozen=True)
class FunctionReward:
    """What a function of the user's says of the texts of episodes.

    `reached` gives, behind each token of a response, the characters of its text that are complete.
    """

    responses: Callable[[Rollouts], Sequence[Response]]
    reached: Callable[[Sequence[int]], Sequence[int]]
    scorer: Scorer
    round: int

    def of(self, prepared: Prepared) -> RewardValues:
        """Return the rewards of all episodes (fulfils ppo.actor.TokenReward). Errors: InputError."""
        responses, device = self.responses(prepared.rollouts), prepared.features.device
        values = self.scorer.values(responses, self.round)
        mean = torch.tensor([value.mean for value in values], device=device)
        sd = torch.tensor([value.sd or 0.0 for value in values], device=device)
        pairs = list(zip(values, responses, strict=True))
        each = [worth for value, response in pairs for worth in token_worths(value, response.tokens, self.reached)]
        is_told = any(value.tokens or value.spans for value in values)
        return RewardValues(mean, sd, torch.tensor(each, device=device) if is_told else None, _part_means(values))


def token_worths(
    value: RewardValue, tokens: Sequence[int], reached: Callable[[Sequence[int]], Sequence[int]]
) -> list[float]:
    """Return what each token of a response is worth beside the whole: a span's value is on its last token."""
    found = list(value.tokens or [0.0] * len(tokens))
    ends = reached(tokens) if value.spans else ()
    for _, end, worth in value.spans or ():
        found[bisect_left(ends, end)] += worth
    return found


def _part_means(values: Sequence[RewardValue]) -> dict[str, float]:
    said: dict[str, list[float]] = {}
    for value in values:
        for name, part in (value.parts or {}).items():
            said.setdefault(name, []).append(part)
    return {name: sum(parts) / len(parts) for name, parts in sorted(said.items())}


def spread_of(values: Sequence[RewardValue], is_reference: Sequence[bool]) -> tuple[float, float]:
    """Return the mean of a function's means and the spread of its totals, over the reference's responses.

    Where it has none they are over all. Errors: NothingToLearn when the totals are the same.
    """
    some = [one for one, is_its in zip(values, is_reference, strict=True) if is_its or not any(is_reference)]
    chosen = np.array([value.total for value in some])
    if not np.ptp(chosen) > CONSTANT_SCORES * np.abs(chosen).max():
        raise NothingToLearn(
            f"your function gives every response the same score ({float(chosen[0]):g}).",
            "Let it tell responses apart, or bring other prompts; then run again: a new round begins.",
        )
    return float(np.mean([value.mean for value in some])), float(chosen.std())


def heads_id(heads: Heads, identity: Identity) -> str:
    """Return the identity of a fitted reward."""
    return content_id("reward", dict(identity), to_bytes(_tensors(heads)).hex())


def write_reward(folder: Path, heads: Heads | None, card: RewardCard, identity: Identity) -> None:
    """Make the reward's folder appear; an older one is replaced. A function has no heads. Errors: StorageError."""
    tensors = {} if heads is None else {HEADS: _tensors(heads)}
    held = Held(tensors, json.dumps(asdict(card), sort_keys=True, indent=1))
    with staged_folder(folder, replaces=True) as staging:
        write_whole(staging, held, identity)


def read_reward(folder: Path, identity: Identity) -> tuple[RewardCard, Heads | None]:
    """Return what is known of the reward in a folder, and its heads where it was fitted.

    Errors: ModelRefused when it is missing or damaged, or was fitted on something else.
    """
    held = read_whole(folder, "Fit it again.", identity)
    card = TypeAdapter(RewardCard).validate_json(held.state)
    if card.function:
        return card, None
    return card, Heads(**{name: tensor.numpy() for name, tensor in held.tensors[HEADS].items()})


def _tensors(heads: Heads) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in vars(heads).items()}
