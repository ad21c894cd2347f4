"""Updates and episodes from the seconds of one update, by hand."""

from __future__ import annotations

import pytest

from expound.ppo.sizes import Sizes, first_episodes, known_sizes, timed_sizes
from expound.settings import PpoSettings

AUTO = PpoSettings()


def test_both_are_left_to_the_machine_by_default() -> None:
    assert (AUTO.updates, AUTO.episodes) == ("auto", "auto")
    assert known_sizes(AUTO, 4) is None


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [
        (0.0, Sizes(80, 64)),
        (7.0, Sizes(80, 64)),
        (30.0, Sizes(20, 64)),
        (75.0, Sizes(8, 64)),
        (80.0, Sizes(15, 32)),  # eight of them would take longer than ten minutes; 15 of half the responses do not
        (1000.0, Sizes(8, 32)),
    ],
)
def test_tuning_takes_about_ten_minutes_between_eight_and_eighty_updates(seconds: float, sizes: Sizes) -> None:
    assert timed_sizes(AUTO, 4, seconds) == sizes
    if 8 <= sizes.updates < 80 and seconds < 1000:
        assert sizes.updates * seconds * sizes.episodes / 64 == pytest.approx(600, rel=0.05)


@pytest.mark.parametrize(("responses", "minibatches", "episodes"), [(4, 4, 64), (3, 4, 72), (5, 2, 70), (64, 4, 256)])
def test_episodes_hold_whole_mini_batches_of_whole_prompts(responses: int, minibatches: int, episodes: int) -> None:
    ppo = PpoSettings(minibatches=minibatches)
    assert first_episodes(ppo, responses) == episodes
    assert timed_sizes(ppo, responses, 500.0).episodes % (responses * minibatches) == 0


def test_what_is_set_stays() -> None:
    assert known_sizes(PpoSettings(updates=3, episodes=16), 4) == Sizes(3, 16)
    assert known_sizes(PpoSettings(updates=3), 4) == Sizes(3, 64)
    assert timed_sizes(PpoSettings(episodes=16), 4, 100.0) == Sizes(8, 16)
