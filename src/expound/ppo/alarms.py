"""Signs that a tuning run goes wrong, each with what is seen and what to do. Pure functions of the last updates."""

from __future__ import annotations

from collections.abc import Sequence

from expound.ppo.metrics import UpdateMetrics
from expound.records import Alarm

WINDOW = 2
"""Updates that the alarms look back on; they are part of a checkpoint."""

MAX_GAP = 1e-3
MIN_KL = -0.05
MAX_KL = 3.0
MIN_Z_SPREAD = 0.05


def find_alarms(window: Sequence[UpdateMetrics], kl_target: float) -> tuple[Alarm, ...]:
    """Return the alarms that the newest of the updates in `window` (oldest first) sets off."""
    found = (ratio(window), not_finite(window), negative_kl(window), kl_high(window, kl_target), flat_reward(window))
    return tuple(alarm for alarm in found if alarm is not None)


def is_drifting(metrics: UpdateMetrics, kl_target: float) -> bool:
    """Say whether the policy that sampled was too far from the reference (with a target of 0 nothing is)."""
    return 0 < MAX_KL * kl_target < metrics.kl


def ratio(window: Sequence[UpdateMetrics]) -> Alarm | None:
    """Find that the policy that learns had other log-probabilities than the one that sampled, before any step."""
    if window[-1].gap <= MAX_GAP:
        return None
    sentence = f"The policy that learns is not the policy that wrote these responses (gap {window[-1].gap:.2g})."
    return Alarm(
        "ratio", sentence, "Run again, which begins a new round; if this comes back, report it as a bug.", "stop"
    )


def not_finite(window: Sequence[UpdateMetrics]) -> Alarm | None:
    """Find a loss or gradient norm that is no number; the step was not taken."""
    if not window[-1].broken:
        return None
    update, step = window[-1].update, window[-1].optimiser_steps + 1
    sentence = f"A number became infinite in update {update}, optimiser step {step}."
    remedy = "Lower [ppo] learning_rate and run again, which begins a new round."
    return Alarm("not_finite", sentence, remedy, "stop")


def negative_kl(window: Sequence[UpdateMetrics]) -> Alarm | None:
    """Find a KL that is negative beyond chance twice in a row."""
    if len(window) < 2 or any(one.kl >= MIN_KL or one.kl >= -3 * one.kl_se for one in window[-2:]):
        return None
    sentence = f"The KL is negative ({window[-1].kl:.2f} nats): the responses were not drawn from the policy."
    return Alarm("negative_kl", sentence, "Some step truncates or rescales the distribution; remove it.", "stop")


def kl_high(window: Sequence[UpdateMetrics], kl_target: float) -> Alarm | None:
    """Find a KL beyond three times its target twice in a row."""
    if len(window) < 2 or not all(is_drifting(one, kl_target) for one in window[-2:]):
        return None
    sentence = (
        f"The policy has drifted {window[-1].kl:.1f} nats from where it began (target {kl_target:.1f}); "
        "rewards out there are guesses."
    )
    remedy = "Lower learning_rate or raise kl_weight, and judge new responses before going on."
    return Alarm("kl_high", sentence, remedy, "pause")


def flat_reward(window: Sequence[UpdateMetrics]) -> Alarm | None:
    """Find that all responses of an update got nearly the same reward."""
    if window[-1].z_sd >= MIN_Z_SPREAD:
        return None
    sentence = f"All responses get the same reward (spread {window[-1].z_sd:.3f}): there is nothing to learn from."
    remedy = "Bring more diverse prompts, a higher temperature or a better reward."
    return Alarm("flat_reward", sentence, remedy, "note")
