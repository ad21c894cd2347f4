"""What is known of an update: the line that goes into metrics.jsonl and that the alarms look at."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from expound.ppo.actor import Prepared, RewardValues
from expound.ppo.penalty import k3
from expound.ppo.rollout import Rollouts, to_grid
from expound.ppo.update import Targets, UpdateStats

MEANS = ("policy_loss", "value_loss", "clip_share", "policy_norm", "value_norm")
"""Figures of a step of which an update reports the mean over its steps."""

REPEAT_RUN = 4
"""Tokens of a run that counts as repeated when it stood in the response before."""

FEWEST_FINISHED = 16
"""Finished responses below which nothing is said of reward and length."""


@dataclass(frozen=True)
class UpdateMetrics:
    """Figures of one update.

    `reward` as the members' mean gives it, `z` as PPO maximises it, `doubt` the mean spread of the members; `kl` nats a
    response to the reference with its standard error, `k3` nats a token; `beta` the KL weight in force; `step_k3` nats
    a token between the policy that sampled and the one that learns, in the last epoch; `finished` and `repeated` are
    shares, `length` tokens, `length_pull` the correlation of z with it; `gap` the largest difference in a
    log-probability before the first step; `cut_short` says that steps too large ended the epochs early. Without a value
    that is trained its loss is 0 and `explained_variance` no number.
    """

    update: int
    episodes: int
    reward: float
    reward_sd: float
    z: float
    z_sd: float
    doubt: float
    kl: float
    kl_se: float
    k3: float
    beta: float
    step_k3: float
    clip_share: float
    entropy: float
    policy_loss: float
    value_loss: float
    explained_variance: float
    finished: float
    length: float
    length_sd: float
    length_pull: float
    repeated: float
    policy_norm: float
    value_norm: float
    gap: float
    optimiser_steps: int
    epochs: int
    cut_short: bool
    broken: bool


def update_metrics(
    place: tuple[int, float],
    prepared: Prepared,
    rewards: tuple[RewardValues, Tensor],
    targets: Targets,
    stats: UpdateStats,
) -> UpdateMetrics:
    """Return the figures of an update; `place` is its number and KL weight, `rewards` are raw and normalised."""
    (update, beta), (raw, z), rollouts, value = place, rewards, prepared.rollouts, targets.value
    lengths, kl = rollouts.response_lengths.float(), response_kl(prepared)
    means = {name: _mean([asdict(step)[name] for step in stats.steps]) for name in MEANS}
    last = stats.steps[-max(1, len(stats.steps) // stats.epochs) :]
    return UpdateMetrics(
        update=update,
        episodes=rollouts.episodes,
        reward=float(raw.mean.mean()),
        reward_sd=_spread(raw.mean),
        z=float(z.mean()),
        z_sd=_spread(z),
        doubt=float(raw.sd.mean()),
        kl=float(kl.mean()),
        kl_se=_spread(kl) / math.sqrt(len(kl)),
        k3=float(k3(prepared.old_logprobs - prepared.reference_logprobs).mean()),
        beta=beta,
        entropy=-float(prepared.old_logprobs.mean()),
        step_k3=_mean([step.step_kl for step in last]),
        explained_variance=math.nan if value is None else explained_variance(value.old, value.returns),
        finished=float(rollouts.finished.float().mean()),
        length=float(lengths.mean()),
        length_sd=_spread(lengths),
        length_pull=length_pull(z, rollouts),
        repeated=_mean(repeated_shares(rollouts)),
        gap=stats.steps[0].gap,
        optimiser_steps=len(stats.steps) - stats.broken,
        epochs=stats.epochs,
        cut_short=stats.cut_short,
        broken=stats.broken,
        **means,
    )


def response_kl(prepared: Prepared) -> Tensor:
    """Return the estimated KL to the reference of each response, in nats, [episodes]."""
    return to_grid(prepared.old_logprobs - prepared.reference_logprobs, prepared.rollouts.response_lengths).sum(1)


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """Return the share of the variance of the returns that the values explain: 1 all, below 0 worse than a constant."""
    variance = float(returns.var(correction=0))
    return 1.0 - float((returns - values).var(correction=0)) / variance if variance > 0 else math.nan


def length_pull(z: Tensor, rollouts: Rollouts) -> float:
    """Return the correlation of reward and length over the finished responses, NaN where it is not known.

    Cut responses are the longest and are punished for that, whatever the reward has learnt.
    """
    pair = torch.stack([z.cpu(), rollouts.response_lengths.cpu().float()])[:, rollouts.finished.cpu()]
    return float(pair.corrcoef()[0, 1]) if pair.shape[1] >= FEWEST_FINISHED else math.nan


def repeated_shares(rollouts: Rollouts, run: int = REPEAT_RUN) -> list[float]:
    """Return for each response the share of runs of `run` tokens that stood in it before; too short counts as 0."""
    shares = []
    for tokens in said(rollouts):
        runs = list(zip(*(tokens[start:] for start in range(run)), strict=False))
        shares.append(1.0 - len(set(runs)) / len(runs) if runs else 0.0)
    return shares


def most_repeating(rollouts: Rollouts, count: int) -> list[list[int]]:
    """Return the tokens of the responses that repeat themselves most, the worst first."""
    shares, tokens = repeated_shares(rollouts), said(rollouts)
    worst = sorted(range(len(shares)), key=lambda episode: -shares[episode])
    return [tokens[episode] for episode in worst[:count]]


def said(rollouts: Rollouts) -> list[list[int]]:
    """Return the response tokens of each episode."""
    return [part.tolist() for part in rollouts.response_tokens.split(rollouts.response_lengths.tolist())]


def _spread(values: Tensor) -> float:
    return float(values.std()) if len(values) > 1 else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
