"""Each alarm sounds on a made series and none on a quiet one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from expound.ppo.alarms import find_alarms
from expound.ppo.metrics import UpdateMetrics
from expound.records import Alarm

QUIET = UpdateMetrics(
    update=1,
    episodes=32,
    reward=0.2,
    reward_sd=0.6,
    z=0.1,
    z_sd=0.9,
    doubt=0.2,
    kl=1.0,
    kl_se=0.2,
    k3=0.02,
    beta=0.05,
    step_k3=0.005,
    clip_share=0.05,
    entropy=2.0,
    policy_loss=-0.01,
    value_loss=0.3,
    explained_variance=0.4,
    finished=0.9,
    length=30.0,
    length_sd=8.0,
    repeated=0.01,
    policy_norm=0.5,
    value_norm=0.5,
    gap=2e-6,
    optimiser_steps=4,
    epochs=2,
    broken=False,
)


def heard(*series: UpdateMetrics, target: float = 3.0) -> dict[str, Alarm]:
    return {alarm.name: alarm for alarm in find_alarms(series, target)}


def test_a_quiet_run_is_quiet() -> None:
    """The KL of fresh episodes may be a little negative by chance, and may pass its target for a while."""
    run = [replace(QUIET, kl=kl, kl_se=0.3) for kl in (-0.04, -0.6, 0.4, 2.0, 5.0, 8.9, 9.5, 4.0)]
    for before, after in pairwise(run):
        assert heard(before, after) == {}
    assert heard(run[0]) == {}


@pytest.mark.parametrize(
    ("name", "series", "words", "action"),
    [
        ("ratio", [replace(QUIET, gap=2e-3)], "gap 0.002", "stop"),
        (
            "not_finite",
            [replace(QUIET, update=7, broken=True, optimiser_steps=3)],
            "update 7, optimiser step 4",
            "stop",
        ),
        ("negative_kl", [replace(QUIET, kl=-0.5, kl_se=0.1)] * 2, "-0.50 nats", "stop"),
        ("kl_high", [replace(QUIET, kl=9.1), replace(QUIET, kl=12.0)], "12.0 nats", "pause"),
        ("flat_reward", [replace(QUIET, z_sd=0.04)], "spread 0.040", "note"),
    ],
)
def test_each_alarm_sounds(name: str, series: list[UpdateMetrics], words: str, action: str) -> None:
    found = heard(*series)
    assert list(found) == [name]
    assert words in found[name].sentence
    assert found[name].remedy
    assert found[name].action == action


def test_once_is_not_twice() -> None:
    assert heard(QUIET, replace(QUIET, kl=12.0)) == {}
    assert heard(replace(QUIET, kl=12.0), QUIET) == {}
    assert heard(QUIET, replace(QUIET, kl=-0.5, kl_se=0.1)) == {}


def test_without_a_target_no_kl_is_high() -> None:
    assert heard(*[replace(QUIET, kl=40.0)] * 2, target=0.0) == {}
