"""How many updates a round's tuning has, and of how many episodes, where the settings leave it to the machine."""

from __future__ import annotations

from dataclasses import dataclass

from expound.settings import PpoSettings

TUNE_SECONDS = 600.0
"""Tuning takes about ten minutes: no longer than a person waits who comes back to look."""

FEWEST_UPDATES, MOST_UPDATES = 8, 80
"""Eight are what the demonstration learns in; beyond eighty PPO on a learned reward decays (arXiv 2305.14387)."""

EPISODES, FEWER_EPISODES = 64, 32
"""Advantages are whitened over an update's episodes, so more of them make quieter steps.

The demonstration learns from 32, which is what an update shrinks to where the fewest updates of 64 would take too long.
"""


@dataclass(frozen=True)
class Sizes:
    """How many updates a tuning has, and how many episodes each of them but the first asks for."""

    updates: int
    episodes: int


def unit(ppo: PpoSettings, responses: int) -> int:
    """Return what an update's episodes are a multiple of: each mini-batch holds whole prompts."""
    return responses * ppo.minibatches


def first_episodes(ppo: PpoSettings, responses: int) -> int:
    """Return the episodes of the first update: as set, or the multiple of the unit that reaches 64."""
    return _reaching(EPISODES, unit(ppo, responses)) if ppo.episodes == "auto" else ppo.episodes


def known_sizes(ppo: PpoSettings, responses: int) -> Sizes | None:
    """Return the sizes that need no timing, or None where `updates` is auto."""
    return None if ppo.updates == "auto" else Sizes(ppo.updates, first_episodes(ppo, responses))


def timed_sizes(ppo: PpoSettings, responses: int, seconds: float) -> Sizes:
    """Return the sizes with which tuning takes about ten minutes, from the seconds of the first update.

    Where they are set they stay; beyond the fewest and the most updates tuning takes longer or shorter.
    """
    episodes = first_episodes(ppo, responses)
    fewer = _reaching(FEWER_EPISODES, unit(ppo, responses))
    if ppo.episodes == "auto" and fewer < episodes and FEWEST_UPDATES * seconds > TUNE_SECONDS:
        episodes, seconds = fewer, seconds * fewer / episodes
    fitting = round(TUNE_SECONDS / max(seconds, 1e-9))
    updates = min(MOST_UPDATES, max(FEWEST_UPDATES, fitting)) if ppo.updates == "auto" else ppo.updates
    return Sizes(updates, episodes)


def _reaching(wanted: int, step: int) -> int:
    return -(-wanted // step) * step
