"""The actor that PPO trains: what it samples, computes once and learns."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, LlamaModel

from expound.errors import ModelRefused, PromptError, SettingsError
from expound.models.branches import BranchActor, live_count
from expound.models.layout import lay_out
from expound.models.policy import ModelPolicy
from expound.ppo.rollout import Rollouts, micro_batches
from expound.records import SamplingKey
from expound.settings import Mode, SamplingSettings
from tests.laws.test_cut import stir, teacher_forced
from tests.support.families import LAYERS, WIDTH, as_loaded, family, prompts, render
from tests.support.tiny import tiny_llama

KEY = SamplingKey(0, 1, "update-3")
SAMPLING = SamplingSettings(temperature=0.7, max_new_tokens=9)
FAMILIES = ("llama", "gpt2", "gpt-neox")


def actor_of(kind: str = "llama", *, live: int = 2, seed: int = 1) -> BranchActor:
    return BranchActor(as_loaded(family(kind)), render, live_layers=live, seed=seed)


def states_of(kind: str, rollouts: Rollouts, episode: int) -> tuple[Tensor, ...]:
    """Give all hidden states of one episode, alone and without a cache: inputs of each layer, then the final ones."""
    row = rollouts.tokens[rollouts.starts[episode] : rollouts.starts[episode + 1]][None]
    with torch.no_grad():
        found = family(kind)(input_ids=row, output_hidden_states=True, use_cache=False).hidden_states
    return tuple(state[0] for state in found)


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_prepared_is_what_plain_passes_give(kind: str) -> None:
    """Trunk, value features, reference log-probabilities and reading against one unpadded pass an episode."""
    actor = actor_of(kind)
    stir(actor)
    rollouts = actor.sample(prompts(), 3, SAMPLING, KEY)
    prepared = actor.prepare(rollouts)
    assert (prepared.reference_logprobs - teacher_forced(family(kind), rollouts)).abs().max() < 1e-5
    begin = 0
    for episode, length in enumerate(rollouts.response_lengths.tolist()):
        states, start = states_of(kind, rollouts, episode), int(rollouts.prompt_lengths[episode])
        trunk = prepared.rollouts.trunk[rollouts.starts[episode] : rollouts.starts[episode + 1]]
        assert (trunk - states[1]).abs().max() < 2e-5
        assert (prepared.features[begin : begin + length] - states[-1][start - 1 : -1]).abs().max() < 2e-5
        assert (prepared.rollouts.reading[episode] - states[2][start:].mean(0)).abs().max() < 2e-5
        begin += length
    assert prepared.rollouts.reading.shape == (12, WIDTH)
    assert (actor.read(rollouts) - prepared.rollouts.reading).abs().max() < 2e-5


def test_the_sampler_and_the_trainer_agree() -> None:
    """So the sampler's own log-probabilities serve as the old ones, and the ratio of the first step is 1."""
    actor = actor_of()
    stir(actor)
    prepared = actor.prepare(actor.sample(prompts(), 3, SAMPLING, KEY))
    assert prepared.old_logprobs is prepared.rollouts.sampler_logprobs
    with torch.no_grad():
        again = actor.logprobs(prepared.rollouts, range(12))
    assert (again - prepared.old_logprobs).abs().max() < 1e-5


def test_a_sampler_that_disagrees_is_not_believed() -> None:
    actor = actor_of()
    stir(actor)
    rollouts = actor.sample(prompts(), 3, SAMPLING, KEY)
    lying = dataclasses.replace(rollouts, sampler_logprobs=rollouts.sampler_logprobs + 0.01)
    assert (actor.prepare(lying).old_logprobs - rollouts.sampler_logprobs).abs().max() < 1e-5


def test_recomputed_log_probabilities_of_the_same_batch_are_equal() -> None:
    actor = actor_of()
    stir(actor)
    rollouts = actor.prepare(actor.sample(prompts(), 2, SAMPLING, KEY)).rollouts
    first, second = (actor.logprobs(rollouts, range(8)) for _ in range(2))
    assert torch.equal(first, second)


def test_without_deltas_the_policy_is_the_reference() -> None:
    actor = actor_of()
    prepared = actor.prepare(actor.sample(prompts(), 2, SAMPLING, KEY))
    assert (prepared.old_logprobs - prepared.reference_logprobs).abs().max() < 1e-5


def test_the_actor_samples_what_the_policy_samples() -> None:
    loaded = as_loaded(family("llama"))
    actor = BranchActor(loaded, render, live_layers=2, seed=1)
    stir(actor)
    rollouts = actor.sample(prompts(), 2, SAMPLING, KEY)
    said = ModelPolicy(loaded, render, SAMPLING, actor.state()).sample(prompts(), 2, SAMPLING, KEY)
    assert [one.tokens for one in said] == list(responses_of(rollouts))
    again = actor.rollouts_of({prompt.id: prompt for prompt in prompts()}, said, 0.7)
    for field in ("tokens", "starts", "prompt_lengths", "finished"):
        assert torch.equal(getattr(again, field), getattr(rollouts, field))
    assert (again.prompts, again.samples) == (rollouts.prompts, rollouts.samples)
    assert bool(again.sampler_logprobs.isnan().all())
    assert (actor.prepare(again).old_logprobs - rollouts.sampler_logprobs).abs().max() < 1e-5


def responses_of(rollouts: Rollouts) -> list[tuple[int, ...]]:
    begins = (rollouts.starts[:-1] + rollouts.prompt_lengths).tolist()
    return [tuple(rollouts.tokens[b:e].tolist()) for b, e in zip(begins, rollouts.starts[1:].tolist(), strict=True)]


def test_stored_responses_are_read_in_any_order_and_company() -> None:
    actor = actor_of()
    loaded = as_loaded(family("llama"))
    said = ModelPolicy(loaded, render, SAMPLING).sample(prompts(), 3, SAMPLING, KEY)
    by_id = {prompt.id: prompt for prompt in prompts()}
    whole = actor.read(actor.rollouts_of(by_id, said, 1.0))
    mixed = [7, 2, 11, 0]
    some = actor.read(actor.rollouts_of(by_id, [said[index] for index in mixed], 1.0))
    assert (some - whole[mixed]).abs().max() < 2e-5


def test_a_response_without_tokens_cannot_be_read() -> None:
    said = ModelPolicy(as_loaded(family("llama")), render, SAMPLING).sample(prompts(1), 1, SAMPLING, KEY)[0]
    with pytest.raises(PromptError, match="was stored without its tokens"):
        actor_of().rollouts_of({"p0": prompts(1)[0]}, [dataclasses.replace(said, tokens=())], 1.0)


@pytest.mark.parametrize("kind", FAMILIES)
def test_gradients_are_those_of_autograd_on_the_whole_model(kind: str) -> None:
    """The branch on stored trunk states against the whole model with the same deltas and full logits."""
    actor = actor_of(kind)
    stir(actor)
    rollouts = actor.prepare(actor.sample(prompts(3), 2, SAMPLING, KEY)).rollouts
    weights = torch.linspace(-1, 1, len(rollouts.response_tokens))
    (actor.logprobs(rollouts, range(6)) * weights).sum().backward()
    mine = [parameter.grad.clone() for parameter in actor.parameters("policy")]
    whole = BranchActor(as_loaded(family(kind)), render, live_layers=2, seed=1)
    whole.load_state(actor.state())
    found = []
    for episode, start in enumerate(rollouts.starts[:-1].tolist()):
        span, begin = slice(start, int(rollouts.starts[episode + 1])), int(rollouts.prompt_lengths[episode])
        hidden = whole._voice.branch(inputs_embeds=rollouts.trunk[span][None], use_cache=False)[0]  # noqa: SLF001
        logits = family(kind).get_output_embeddings()(hidden)[0] / rollouts.temperature
        found.append(torch.log_softmax(logits, dim=-1)[begin - 1 : -1].gather(1, rollouts.tokens[span][begin:, None]))
    (torch.cat(found)[:, 0] * weights).sum().backward()
    for own, oracle in zip(mine, whole.parameters("policy"), strict=True):
        torch.testing.assert_close(own, oracle.grad, rtol=1e-3, atol=1e-5)


def test_only_the_deltas_and_the_value_learn() -> None:
    actor = actor_of()
    policy, value = actor.parameters("policy"), actor.parameters("value")
    assert len(policy) == 2 * 2 * 7
    assert not {id(one) for one in policy} & {id(one) for one in value}
    state = actor.state()
    assert {name.split(".")[0] for name in state} == {"policy", "value"}
    assert {name.split(".")[1] for name in state if name.startswith("policy")} == {"1", "2"}
    assert all(bool((state[name] == 0).all()) for name in state if name.endswith(".b") and name.startswith("policy"))
    directions = torch.cat(
        [state[name].flatten() * state[name].shape[1] ** 0.5 for name in state if name.endswith(".a")]
    )
    assert directions.std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("mode", ["branches", "full"])
def test_the_value_begins_at_zero_and_learns(mode: Mode) -> None:
    actor = BranchActor(as_loaded(family("llama")), render, live_layers=2, seed=1, mode=mode)
    prepared = actor.prepare(actor.sample(prompts(), 2, SAMPLING, KEY))
    assert torch.equal(actor.values(prepared, range(8)), torch.zeros(len(prepared.old_logprobs)))
    target = prepared.features[:, 0]
    optimizer = torch.optim.AdamW(actor.parameters("value"), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        ((actor.values(prepared, range(8)) - target) ** 2).mean().backward()
        optimizer.step()
    assert ((actor.values(prepared, range(8)) - target) ** 2).mean() < 0.05 * target.var()


def test_the_start_follows_from_the_seed_and_moves_no_global_generator() -> None:
    before = torch.get_rng_state()
    first, same, other = actor_of(seed=1).state(), actor_of(seed=1).state(), actor_of(seed=2).state()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["policy.1.mlp.up_proj.a"], other["policy.1.mlp.up_proj.a"])


def test_state_goes_round() -> None:
    actor = actor_of()
    stir(actor)
    state = actor.state()
    fresh = actor_of(seed=9)
    fresh.load_state(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in fresh.state().items())
    stir(actor)
    assert not torch.equal(actor.state()["policy.2.mlp.up_proj.b"], state["policy.2.mlp.up_proj.b"]), "state is a copy"


def test_a_state_of_another_shape_is_refused() -> None:
    state = actor_of().state()
    with pytest.raises(ModelRefused, match="does not fit this model and its live layers"):
        actor_of(live=1).load_state(state)
    with pytest.raises(ModelRefused, match=r"first difference: value.0.bias"):
        actor_of().load_state(state | {"value.0.bias": torch.zeros(3)})


def test_live_layers() -> None:
    assert [live_count("third", layers) for layers in (1, 2, 3, 4, 30)] == [1, 1, 1, 2, 10]
    assert live_count(4, 4) == 4
    for wrong in (0, 5):
        with pytest.raises(SettingsError, match=rf"live_layers = {wrong}, but the model has 4 layers"):
            live_count(wrong, 4)


class DoublingModel(LlamaModel):
    """A decoder that does something to its input embeddings that nobody knows of."""

    def forward(self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None, **rest):
        embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        return super().forward(inputs_embeds=2 * embeds, **rest)


def test_a_model_that_cannot_be_cut_is_run_whole() -> None:
    """Slower, the same numbers, and a note."""
    model = tiny_llama(layers=LAYERS)
    strange = LlamaForCausalLM(model.config)
    strange.model = DoublingModel(model.config)
    strange.load_state_dict(model.state_dict())
    strange = strange.eval().requires_grad_(requires_grad=False)
    actor = BranchActor(as_loaded(strange), render, live_layers=2, seed=1)
    assert not actor.is_cut
    assert "cannot be cut" in actor.notes[-1]
    stir(actor)
    prepared = actor.prepare(actor.sample(prompts(3), 2, SAMPLING, KEY))
    assert prepared.rollouts.trunk is None
    assert prepared.old_logprobs is prepared.rollouts.sampler_logprobs
    assert (actor.logprobs(prepared.rollouts, range(6)) - prepared.old_logprobs).abs().max() < 1e-5
    assert (prepared.reference_logprobs - teacher_forced(strange, prepared.rollouts)).abs().max() < 1e-5
    assert BranchActor(as_loaded(model), render, live_layers=2, seed=1).notes == ()


def test_large_rollouts_are_run_in_several_passes() -> None:
    rollouts = actor_of().sample(prompts(), 3, SAMPLING, KEY)
    parts = list(micro_batches(rollouts, range(12), 150))
    assert len(parts) > 1
    assert sorted(episode for part in parts for episode in part) == list(range(12))
    for part in parts:
        layout = lay_out(rollouts, part)
        assert layout.prompts.numel() + layout.responses.numel() <= 150


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_where_all_layers_learn_the_reference_stays_and_the_policy_is_the_whole_model(kind: str, mode: Mode) -> None:
    """Sampled, trained, read and merged numbers agree, and what rewards read is the untouched model's."""
    loaded = as_loaded(family(kind))
    actor = BranchActor(loaded, render, live_layers="third", seed=1, mode=mode)
    stir(actor)
    prepared = actor.prepare(actor.sample(prompts(), 2, SAMPLING, KEY))
    assert prepared.old_logprobs is prepared.rollouts.sampler_logprobs
    assert (actor.logprobs(prepared.rollouts, range(8)) - prepared.old_logprobs).abs().max() < 1e-5
    assert (prepared.reference_logprobs - teacher_forced(family(kind), prepared.rollouts)).abs().max() < 1e-5
    assert (actor.read(prepared.rollouts) - prepared.rollouts.reading).abs().max() < 2e-5
    said = ModelPolicy(loaded, render, SAMPLING, actor.state()).sample(prompts(), 2, SAMPLING, KEY)
    assert [one.tokens for one in said] == list(responses_of(prepared.rollouts))
    assert (prepared.old_logprobs - prepared.reference_logprobs).abs().max() > 1e-2
    assert actor.notes == ()


@pytest.mark.parametrize("kind", FAMILIES)
def test_gradients_of_a_whole_policy_are_those_of_autograd(kind: str) -> None:
    """Embeddings and head among them, whether the two share their weight or not."""
    actor = BranchActor(as_loaded(family(kind)), render, live_layers="third", seed=1, mode="full")
    rollouts = actor.prepare(actor.sample(prompts(3), 2, SAMPLING, KEY)).rollouts
    weights = torch.linspace(-1, 1, len(rollouts.response_tokens))
    (actor.logprobs(rollouts, range(6)) * weights).sum().backward()
    model, found = family(kind).requires_grad_(), []
    for episode, start in enumerate(rollouts.starts[:-1].tolist()):
        row, begin = rollouts.tokens[start : rollouts.starts[episode + 1]], int(rollouts.prompt_lengths[episode])
        table = torch.log_softmax(model(input_ids=row[None], use_cache=False).logits[0] / rollouts.temperature, dim=-1)
        found.append(table[begin - 1 : -1].gather(1, row[begin:, None])[:, 0])
    (torch.cat(found) * weights).sum().backward()
    for own, oracle in zip(actor.parameters("policy"), model.parameters(), strict=True):
        torch.testing.assert_close(own.grad, oracle.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("live", [1, 2, 3])
def test_what_is_captured_while_sampling_is_what_a_pass_gives(live: int) -> None:
    """Above, at and below where rewards read; with responses that end early and rows that leave."""
    actor = BranchActor(as_loaded(family("gpt2"), end_tokens=tuple(range(30))), render, live_layers=live, seed=1)
    stir(actor)
    sampled = actor.sample(prompts(), 3, SamplingSettings(temperature=1.5, max_new_tokens=40), KEY)
    assert sampled.response_lengths.unique().numel() > 1
    passed = actor.prepare(dataclasses.replace(sampled, trunk=None, reading=None))
    captured = actor.prepare(sampled)
    assert (sampled.trunk is None) == (live == 3)
    for one, other in zip(
        (captured.features, captured.rollouts.reading), (passed.features, passed.rollouts.reading), strict=True
    ):
        assert (one - other).abs().max() < 5e-5
    if sampled.trunk is not None:
        assert (captured.rollouts.trunk - passed.rollouts.trunk).abs().max() < 5e-5
