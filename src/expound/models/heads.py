"""The fitted reward as a folder, and as what PPO asks for rewards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from expound.files import staged_folder
from expound.models.checkpoints import Held, Identity, read_whole, to_bytes, write_whole
from expound.ppo.actor import Prepared, RewardValues
from expound.ppo.rollout import Normaliser
from expound.records import RewardCard, content_id
from expound.reward.fit import Heads, predict

HEADS = "reward"


@dataclass(frozen=True)
class FittedReward:
    """Mean and spread of linear heads over what the reference makes of episodes."""

    heads: Heads
    normaliser: Normaliser
    id: str

    def of(self, prepared: Prepared) -> RewardValues:
        """Return the rewards of all episodes (fulfils ppo.actor.TokenReward)."""
        found = predict(self.heads, prepared.reading.double().cpu().numpy())
        mean, sd = (torch.from_numpy(one).float().to(prepared.reading.device) for one in found)
        return RewardValues(mean, sd)


def heads_id(heads: Heads, identity: Identity) -> str:
    """Return the identity of a fitted reward."""
    return content_id("reward", dict(identity), to_bytes(_tensors(heads)).hex())


def write_reward(folder: Path, heads: Heads, card: RewardCard, identity: Identity) -> None:
    """Make the reward's folder appear; an older one is replaced. Errors: StorageError."""
    held = Held({HEADS: _tensors(heads)}, json.dumps(asdict(card), sort_keys=True, indent=1))
    with staged_folder(folder, replaces=True) as staging:
        write_whole(staging, held, identity)


def read_reward(folder: Path, identity: Identity) -> FittedReward:
    """Return the reward in a folder.

    Errors: ModelRefused when it is missing or damaged, or was fitted on something else.
    """
    held = read_whole(folder, "Fit it again.", identity)
    card = TypeAdapter(RewardCard).validate_json(held.state)
    heads = Heads(**{name: tensor.numpy() for name, tensor in held.tensors[HEADS].items()})
    return FittedReward(heads, Normaliser(card.mean, card.sd), card.id)


def _tensors(heads: Heads) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in vars(heads).items()}
