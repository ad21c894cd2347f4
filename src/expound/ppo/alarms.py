"""Signs that a tuning run goes wrong, each with what is seen and what to do. Pure functions of the last updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expound.ppo.metrics import UpdateMetrics
from expound.records import Alarm

WINDOW = 8
"""Updates that the alarms look back on; they are part of a checkpoint."""

MAX_GAP = 1e-3
MIN_KL = -0.05
MAX_KL = 3.0
MIN_Z_SPREAD = 0.05
LENGTH_CHANGE, LENGTH_PULL = 0.4, 0.5
MORE_REPEATED, MAX_REPEATED = 2.0, 0.2
MORE_DOUBT = 2.0
MIN_FINISHED, FINISHED_RISE, UNFINISHED_UPDATES = 0.7, 0.1, 3
BLIND_UPDATES = 5
MAX_CLIP_SHARE, CLIPPED_UPDATES = 0.3, 3
MAX_CUT_SHORT = WINDOW // 2


@dataclass(frozen=True)
class Ground:
    """What updates are held against.

    The KL target in nats (0: none), the round's first update, and the mean spread of the reward's members over
    responses of the reference (0: there is one member).
    """

    kl_target: float
    first: UpdateMetrics
    doubt: float = 0.0


def find_alarms(window: Sequence[UpdateMetrics], ground: Ground) -> tuple[Alarm, ...]:
    """Return the alarms that the newest of the updates in `window` (oldest first) sets off."""
    newest = window[-1]
    found = (
        ratio(newest),
        not_finite(newest),
        negative_kl(window),
        kl_high(window, ground),
        length(newest, ground),
        repeats(newest, ground),
        doubt(newest, ground),
        flat_reward(newest),
        never_ends(window),
        value_blind(window),
        big_steps(window),
    )
    return tuple(alarm for alarm in found if alarm is not None)


def is_quiet(metrics: UpdateMetrics, ground: Ground) -> bool:
    """Say whether the policy that sampled gave no alarm that pauses a reason: of such a one a pause keeps the last."""
    signs = (is_far, goes_with_length, is_repeating, is_doubtful)
    return not any(sign(metrics, ground) for sign in signs)


def is_far(metrics: UpdateMetrics, ground: Ground) -> bool:
    """Say whether the policy was too far from the reference."""
    return 0 < MAX_KL * ground.kl_target < metrics.kl


def goes_with_length(metrics: UpdateMetrics, ground: Ground) -> bool:
    """Say whether responses are much longer or shorter than at first, and the reward asks for just that.

    Where it asks for the contrary, as it often does while a policy learns to end, length is not what it learnt.
    """
    change = metrics.length / ground.first.length - 1.0
    return abs(change) > LENGTH_CHANGE and (metrics.length_pull if change > 0 else -metrics.length_pull) > LENGTH_PULL


def is_repeating(metrics: UpdateMetrics, ground: Ground) -> bool:
    """Say whether responses repeat themselves, and not because they always did."""
    return metrics.repeated > max(MORE_REPEATED * ground.first.repeated, MAX_REPEATED)


def is_doubtful(metrics: UpdateMetrics, ground: Ground) -> bool:
    """Say whether the members of the reward differ more than they did about the reference's responses."""
    return 0 < MORE_DOUBT * ground.doubt < metrics.doubt


# --- tuning ends with an error ------------------------------------------------------------------------------------


def ratio(newest: UpdateMetrics) -> Alarm | None:
    """Find that the policy that learns had other log-probabilities than the one that sampled, before any step."""
    if newest.gap <= MAX_GAP:
        return None
    sentence = f"The policy that learns is not the policy that wrote these responses (gap {newest.gap:.2g})."
    return Alarm(
        "ratio", sentence, "Run again, which begins a new round; if this comes back, report it as a bug.", "stop"
    )


def not_finite(newest: UpdateMetrics) -> Alarm | None:
    """Find a loss or gradient norm that is no number; the step was not taken."""
    if not newest.broken:
        return None
    sentence = f"A number became infinite in update {newest.update}, optimiser step {newest.optimiser_steps + 1}."
    remedy = "Lower [ppo] learning_rate and run again, which begins a new round."
    return Alarm("not_finite", sentence, remedy, "stop")


def negative_kl(window: Sequence[UpdateMetrics]) -> Alarm | None:
    """Find a KL that is negative beyond chance twice in a row."""
    if len(window) < 2 or any(one.kl >= MIN_KL or one.kl >= -3 * one.kl_se for one in window[-2:]):
        return None
    sentence = f"The KL is negative ({window[-1].kl:.2f} nats): the responses were not drawn from the policy."
    return Alarm("negative_kl", sentence, "Some step truncates or rescales the distribution; remove it.", "stop")


# --- tuning ends early, with the last quiet policy ----------------------------------------------------------------


def kl_high(window: Sequence[UpdateMetrics], ground: Ground) -> Alarm | None:
    """Find a KL beyond three times its target twice in a row."""
    if len(window) < 2 or not all(is_far(one, ground) for one in window[-2:]):
        return None
    sentence = (
        f"The policy has drifted {window[-1].kl:.1f} nats from where it began (target {ground.kl_target:.1f}); "
        "rewards out there are guesses."
    )
    remedy = "Lower learning_rate or raise kl_weight, and judge new responses before going on."
    return Alarm("kl_high", sentence, remedy, "pause")


def length(newest: UpdateMetrics, ground: Ground) -> Alarm | None:
    """Find that the policy follows a reward that has learnt length."""
    if not goes_with_length(newest, ground):
        return None
    way = "longer" if newest.length > ground.first.length else "shorter"
    sentence = (
        f"Responses are getting {way} ({newest.length:.0f} tokens, {ground.first.length:.0f} at first) "
        f"and the reward goes with length (r = {newest.length_pull:.2f})."
    )
    remedy = (
        "The reward has learnt length: see in 'expound report' whether it orders pairs better than length alone, "
        "and have responses of like length compared."
    )
    return Alarm("length", sentence, remedy, "pause")


def repeats(newest: UpdateMetrics, ground: Ground) -> Alarm | None:
    """Find that responses say the same again and again."""
    if not is_repeating(newest, ground):
        return None
    sentence = f"Responses repeat themselves ({newest.repeated:.0%} of their runs of four tokens stood there before)."
    remedy = (
        "Raise [ppo] kl_weight; read three of them: they stand as 'repeating' in the round's metrics.jsonl, "
        f"in the line of update {newest.update}."
    )
    return Alarm("repeats", sentence, remedy, "pause")


def doubt(newest: UpdateMetrics, ground: Ground) -> Alarm | None:
    """Find that the reward guesses about what is written now."""
    if not is_doubtful(newest, ground):
        return None
    sentence = (
        f"The reward members disagree about what is written now "
        f"({newest.doubt / ground.doubt:.1f} times as much as about the model's own responses)."
    )
    remedy = "Go on with the next round: its ballots begin with the responses on which they disagree most."
    return Alarm("doubt", sentence, remedy, "pause")


# --- noted --------------------------------------------------------------------------------------------------------


def flat_reward(newest: UpdateMetrics) -> Alarm | None:
    """Find that all responses of an update got nearly the same reward."""
    if newest.z_sd >= MIN_Z_SPREAD:
        return None
    sentence = f"All responses get the same reward (spread {newest.z_sd:.3f}): there is nothing to learn from."
    remedy = "Bring more diverse prompts, a higher temperature or a better reward."
    return Alarm("flat_reward", sentence, remedy, "note")


def never_ends(window: Sequence[UpdateMetrics]) -> Alarm | None:
    """Find that many responses are cut, three times in a row, and that the policy is not learning to end."""
    last = [one.finished for one in window[-UNFINISHED_UPDATES:]]
    if len(last) < UNFINISHED_UPDATES or max(last) >= MIN_FINISHED or last[-1] >= last[0] + FINISHED_RISE:
        return None
    sentence = f"{1 - last[-1]:.0%} of responses are cut at max_new_tokens."
    remedy = "Raise [sampling] max_new_tokens, or see that the prompts ask for a short answer."
    return Alarm("never_ends", sentence, remedy, "note")


def value_blind(window: Sequence[UpdateMetrics]) -> Alarm | None:
    """Find a value that was worse than none five times in a row; without a value there is no figure to be below 0."""
    last = [one.explained_variance for one in window[-BLIND_UPDATES:]]
    if len(last) < BLIND_UPDATES or not all(one < 0 for one in last):
        return None
    sentence = f"The value predicts worse than a constant (explained variance {last[-1]:.2f})."
    remedy = 'Raise [ppo] episodes, or take [ppo] estimator = "rloo", which needs no value.'
    return Alarm("value_blind", sentence, remedy, "note")


def big_steps(window: Sequence[UpdateMetrics]) -> Alarm | None:
    """Find epochs that were cut short in most of the last updates, or much clipping three times in a row."""
    clipped = [one.clip_share > MAX_CLIP_SHARE for one in window[-CLIPPED_UPDATES:]]
    is_clipped = len(clipped) == CLIPPED_UPDATES and all(clipped)
    if not is_clipped and sum(one.cut_short for one in window) <= MAX_CUT_SHORT:
        return None
    newest = window[-1]
    sentence = (
        f"Each update moves too far (k3 = {newest.step_k3:.3f} nats a token, clip share = {newest.clip_share:.2f})."
    )
    return Alarm("big_steps", sentence, "Halve [ppo] learning_rate or epochs.", "note")
