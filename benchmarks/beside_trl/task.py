"""What both sides are given: questions, sizes of the work, and the reward. Standard library only; no torch.

A side is a process of its own, in an environment of its own. It reads a `Work` from a file of JSON and prints a line of
JSON an update. When it is paced, it waits before each update for a line on its standard input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REWARD = HERE / "reward.json"

SYSTEM = "You explain things."
SHORT = "Explain in one sentence why {what}."
LONG = (
    "A curious reader asks you a question. Give the reason first, then what shows it, in plain words, "
    "and stop after two sentences. Why is it that {what}?"
)

TRAIN = (
    "bread dough rises", "the sky is blue", "ice floats on water", "leaves turn red in autumn", "cats purr",
    "iron rusts", "onions make us cry", "the moon has phases", "birds fly south in winter", "bees dance",
    "metal feels colder than wood", "popcorn pops", "rivers bend", "thunder comes after lightning",
    "soap removes grease",
    "the sea is salty", "wheels are round", "we sneeze in bright light", "bananas turn brown", "clocks have pendulums",
    "a boiled egg is hard", "wool keeps us warm", "yawning is catching", "mirrors swap left and right",
    "candles need air", "salt melts ice on roads", "some mushrooms glow", "tyres have treads", "teeth decay",
    "houseplants lean to the window", "a stone sinks and a ship floats", "volcanoes erupt", "dogs pant",
    "stars twinkle", "glass is transparent", "kites stay up", "fog forms in valleys", "old paper turns yellow",
    "milk turns sour", "camels have humps", "echoes come back", "magnets attract iron", "whales come up to breathe",
    "muscles ache after sport", "rainbows are curved", "spiders do not stick to their webs", "honey keeps for years",
    "bridges have gaps in the road",
)  # fmt: skip
HELD_OUT = (
    "cheese has holes", "deserts are cold at night", "fish have gills", "grass is green", "hot air balloons rise",
    "islands exist in the sea", "jet planes leave white trails", "knives get blunt", "lemons taste sour",
    "mosquito bites itch", "nails are hammered in at an angle", "owls hunt at night", "pencils write",
    "quicksand pulls us down", "roosters crow at dawn", "snow is white", "tea cools faster in a wide cup",
    "umbrellas are often black", "violins are hollow", "windows fog up in winter", "yeast needs sugar",
    "zebras have stripes", "apples fall down", "batteries run empty", "coffee keeps us awake", "doors creak",
    "eggs are oval", "frogs croak after rain", "geysers spout", "hands wrinkle in the bath", "ink stains paper",
    "jam is cooked with sugar",
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What a side is to do. Prompts are token ids; `rate` is the learning rate, `mode` and `live` are ours alone.

    `episodes` an update, of `responses` responses to a prompt; `ends` says whether an end token ends a response.
    Every `look` updates (0: never) the held-out prompts are answered `held_responses` times each, which takes no part
    in the times.
    """

    weights: str
    wording: str
    train: tuple[tuple[int, ...], ...]
    held_out: tuple[tuple[int, ...], ...]
    rate: float
    seed: int
    updates: int
    episodes: int = 32
    responses: int = 4
    new_tokens: int = 48
    epochs: int = 4
    minibatches: int = 4
    ends: bool = False
    temperature: float = 0.7
    kl_weight: float = 0.05
    look: int = 0
    held_responses: int = 2
    mode: str = "branches"
    live: int = 0
    paced: bool = False


@dataclass(frozen=True)
class Head:
    """The reward: weight [width] on the reference's last state of a response, and a bias."""

    weight: tuple[float, ...]
    bias: float


def save_work(work: Work, path: Path) -> None:
    """Write what a side is to do."""
    path.write_text(json.dumps(asdict(work)), encoding="utf-8")


def load_work(path: Path) -> Work:
    """Return what `save_work` wrote."""
    held = json.loads(path.read_text(encoding="utf-8"))
    for name in ("train", "held_out"):
        held[name] = tuple(map(tuple, held[name]))
    return Work(**held)


def load_head(path: Path = REWARD) -> Head:
    """Return the reward."""
    held = json.loads(path.read_text(encoding="utf-8"))
    return Head(tuple(held["weight"]), held["bias"])


def repeated(responses: Sequence[Sequence[int]], run: int = 4) -> float:
    """Return the mean share of runs of four tokens that stood in their response before."""
    shares = []
    for tokens in responses:
        runs = [tuple(tokens[start : start + run]) for start in range(len(tokens) - run + 1)]
        shares.append(1.0 - len(set(runs)) / len(runs) if runs else 0.0)
    return sum(shares) / len(shares)
