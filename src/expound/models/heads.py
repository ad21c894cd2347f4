"""The fitted reward as a folder, and as what PPO asks for rewards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load, save

from expound.errors import ModelRefused
from expound.files import parse_json, sha256_of, staged_folder
from expound.ppo.actor import Prepared, RewardValues
from expound.ppo.rollout import Normaliser
from expound.records import RewardCard, content_id
from expound.reward.fit import Floats, Heads, predict

HEADS = "reward.safetensors"
CARD = "card.json"


@dataclass(frozen=True)
class Ground:
    """What a reward was fitted on: the reference's identity, and the live layers that say where it is read."""

    reference: str
    live_layers: int


@dataclass(frozen=True)
class FittedReward:
    """A reward of whole episodes: the spread and mean of linear heads over what the reference makes of them."""

    heads: Heads
    normaliser: Normaliser
    id: str

    def of(self, prepared: Prepared) -> RewardValues:
        """Return the rewards of all episodes (fulfils ppo.actor.TokenReward)."""
        mean, sd = predict(self.heads, prepared.reading.double().cpu().numpy())
        device = prepared.reading.device
        return RewardValues(torch.from_numpy(mean).float().to(device), torch.from_numpy(sd).float().to(device))


def heads_id(heads: Heads, ground: Ground) -> str:
    """Return the identity of a fitted reward."""
    return content_id("reward", ground.reference, ground.live_layers, save(_arrays(heads)).hex())


def write_reward(folder: Path, heads: Heads, card: RewardCard, ground: Ground) -> None:
    """Make the reward's folder appear; an older one is replaced. Errors: StorageError."""
    with staged_folder(folder, replaces=True) as staging:
        (staging / HEADS).write_bytes(save(_arrays(heads)))
        content = {**asdict(card), **asdict(ground), "sha256": sha256_of(staging / HEADS)}
        (staging / CARD).write_text(json.dumps(content, sort_keys=True, indent=1))


def read_reward(folder: Path, ground: Ground) -> FittedReward:
    """Return the reward in a folder.

    Errors: ModelRefused when it is missing or damaged, or was fitted on another reference or other live layers.
    """
    try:
        card, content = parse_json((folder / CARD).read_text()), (folder / HEADS).read_bytes()
    except (OSError, ValueError) as error:
        raise ModelRefused(f"The reward in {folder} cannot be read ({error}).", "Fit it again.") from error
    if not isinstance(card, dict) or card.get("sha256") != sha256_of(folder / HEADS):
        raise ModelRefused(f"The reward in {folder} is damaged.", "Fit it again.")
    for name, value in asdict(ground).items():
        if card.get(name) != value:
            other = f"another {name.replace('_', ' ')} ({card.get(name)}, not {value})"
            raise ModelRefused(f"The reward in {folder} was fitted on {other}.", "Fit it again.")
    mean, sd = card["mean"], card["sd"]
    assert isinstance(mean, float), "the card is ours"
    assert isinstance(sd, float), "the card is ours"
    arrays = load(content)
    heads = Heads(arrays["center"], arrays["scale"], arrays["weights"], arrays["bias"])
    return FittedReward(heads, Normaliser(mean, sd), str(card["id"]))


def _arrays(heads: Heads) -> dict[str, Floats]:
    parts = {"center": heads.center, "scale": heads.scale, "weights": heads.weights, "bias": heads.bias}
    return {name: np.ascontiguousarray(array) for name, array in parts.items()}
