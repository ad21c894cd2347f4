"""What a round costs on this machine: seconds and bytes, tried with the project's own model on a few prompts."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from expound.models.branches import BranchActor, Render, actor_for, live_of
from expound.models.cache import ROOM, new_cache
from expound.models.cut import decoder_of, layers_of
from expound.models.decoding import ROWS
from expound.models.layout import lay_out
from expound.models.loading import Loaded, prompt_ids
from expound.models.policy import ModelPolicy
from expound.ppo.rollout import TOKEN_BUDGET, Rollouts, micro_batches
from expound.ppo.sizes import first_episodes, unit
from expound.ppo.tune import Clock, make_targets
from expound.ppo.update import Steps, make_optimisers, run_update
from expound.records import Prompt, Response, SamplingKey
from expound.settings import PpoSettings, Settings
from expound.statistics import keyed_generator

NO_STEP = 1e-9  # a learning rate: what is timed changes nothing, so that no epoch is left out


@dataclass(frozen=True)
class Tried:
    """Seconds a response: to sample it, to read it for the reward, to prepare it and to pass an epoch over it.

    `tokens` is the mean of a response with its prompt, `saved` the bytes that gradients need for a token of an update.
    """

    sample: float
    read: float
    prepare: float
    epoch: float
    responses: tuple[Response, ...]
    tokens: float
    saved: float


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of a round.

    `program` is the process before the model; `copies` what learns, or is merged to sample from; `cache` are the keys
    and values of responses that are sampled side by side; `activations` what an update holds.
    """

    program: int
    weights: int
    copies: int
    cache: int
    activations: int

    @property
    def peak(self) -> int:
        """Return the whole; sampling and updating never hold theirs at once."""
        return self.program + self.weights + self.copies + max(self.cache, self.activations)


def resident() -> int:
    """Return the bytes that this process holds now; at its peak, where the system tells no more."""
    held = Path("/proc/self/statm")
    if held.exists():
        return int(held.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def spread(loaded: Loaded, render: Render, prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    """Return some of the prompts, from short to long at even steps."""
    ordered = sorted(prompts, key=lambda one: (len(prompt_ids(loaded, render(one), one.name, 0)), one.id))
    taken = min(count, len(ordered))
    return [ordered[(2 * place + 1) * len(ordered) // (2 * taken)] for place in range(taken)]


def try_out(loaded: Loaded, render: Render, prompts: Sequence[Prompt], settings: Settings, count: int) -> Tried:
    """Sample responses to `count` of the prompts, read them and pass one epoch over them; nothing learns from it.

    Errors: PromptError when a prompt does not fit the context.
    """
    asked, clock = spread(loaded, render, prompts, count), Clock()
    sampling, key = settings.sampling, SamplingKey(settings.project.seed, 0, "plan")
    actor = actor_for(loaded, render, settings.ppo, key.seed)
    optimisers = make_optimisers(actor, NO_STEP)
    clock.lap()
    found = ModelPolicy(loaded, render, sampling).sample(asked, sampling.responses_per_prompt, sampling, key)
    sample = clock.lap() / len(found)
    rollouts = actor.rollouts_of({one.id: one for one in asked}, found, sampling.temperature)
    actor.read(rollouts)
    read = clock.lap() / len(found)
    prepared = actor.prepare(rollouts)
    prepare = clock.lap() / len(found)
    lengths = rollouts.response_lengths.float()
    rewards = lengths / lengths.mean()
    targets = make_targets(actor, prepared, rewards, settings.ppo.kl_weight, settings.ppo.estimator)
    run_update(actor, prepared, targets, optimisers, Steps(1, 1), keyed_generator("plan", key.seed))
    epoch = clock.lap() / len(found)
    saved = _saved_bytes(loaded, actor, prepared.rollouts)
    return Tried(sample, read, prepare, epoch, found, int(rollouts.starts[-1]) / len(found), saved)


def memory(
    loaded: Loaded, render: Render, prompts: Sequence[Prompt], settings: Settings, tried: Tried, program: int
) -> Memory:
    """Return what a round holds at its peak, from the bytes a token that were found in the trial."""
    sampling, longest = settings.sampling, max(len(prompt_ids(loaded, render(one), one.name, 0)) for one in prompts)
    width = loaded.model.get_input_embeddings().get_parameter("weight").shape[1]
    episodes = first_episodes(settings.ppo, sampling.responses_per_prompt)
    kept = episodes * tried.tokens * 2 * width * 4  # what the branch begins with, and what the value reads
    together = max(1, episodes // unit(settings.ppo, sampling.responses_per_prompt))  # prompts of a mini-batch
    tokens = together * (longest + sampling.responses_per_prompt * sampling.max_new_tokens)
    return Memory(
        program=program,
        weights=_bytes(loaded.model),
        copies=_copies(loaded, settings.ppo),
        cache=int(ROWS * (longest + sampling.max_new_tokens + ROOM) * _cache_bytes(loaded)),
        activations=int(min(TOKEN_BUDGET, tokens) * tried.saved + kept),
    )


def _copies(loaded: Loaded, ppo: PpoSettings) -> int:
    """Return the bytes of weights that learn or are merged to sample from, with gradients and moments.

    Deltas are few; a whole policy and its value have a gradient and two moments for each of their weights.
    """
    decoder = decoder_of(loaded.model)
    if ppo.mode == "full":
        return 4 * (_bytes(loaded.model) + _bytes(decoder))
    layers = list(layers_of(decoder))
    return sum(map(_bytes, layers[-live_of(ppo, len(layers)) :]))


def _bytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.parameters())


@torch.no_grad()
def _cache_bytes(loaded: Loaded) -> float:
    """Return the bytes of a token's keys and values."""
    decoder = decoder_of(loaded.model)
    cache, tokens = new_cache(decoder), torch.ones(1, 2, dtype=torch.long, device=loaded.model.device)
    decoder(input_ids=tokens, past_key_values=cache, use_cache=True)
    held = [vars(layer).get(name) for layer in cache.layers for name in ("keys", "values")]
    return sum(tensor.nbytes for tensor in held if isinstance(tensor, Tensor)) / tokens.numel()


@dataclass
class _Saved:
    """Counts the storages that gradients keep, each once and no weight among them."""

    known: set[int]
    bytes: int = 0

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.known.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def _saved_bytes(loaded: Loaded, actor: BranchActor, rollouts: Rollouts) -> float:
    """Return the bytes that gradients need for a token of the largest group of episodes that is run at once."""
    weights = {one.untyped_storage().data_ptr() for one in (*loaded.model.parameters(), *actor.parameters("policy"))}
    counted, episodes = _Saved(weights), next(micro_batches(rollouts, range(rollouts.episodes)))
    with torch.autograd.graph.saved_tensors_hooks(counted.pack, lambda tensor: tensor):
        kept = actor.logprobs(rollouts, episodes)
    layout = lay_out(rollouts, episodes)
    del kept
    return counted.bytes / (layout.prompts.numel() + layout.responses.numel())
