"""The cut and the deltas: a branch on the trunk's output is the whole model, and a merged policy is the branch."""

from __future__ import annotations

import pytest
import torch

from expound.models.branches import BranchActor
from expound.models.cut import branch_of, cut_law_gap, decoder_of, layers_of
from expound.models.low_rank import make_low_rank, merged_copy
from expound.records import SamplingKey
from expound.settings import SamplingSettings
from tests.support.families import LAYERS, as_loaded, family, prompts, render

DUE = ("llama", "gpt2", "gpt-neox")
CUT = (*DUE, "qwen2", "qwen3", "mistral", "gemma2", "granite", "bloom")
TOKENS = torch.tensor([[5, 9, 300, 77, 12, 400, 8, 31], [9, 9, 2, 17, 250, 90, 6, 1]])


@pytest.mark.parametrize("first", [0, 1, LAYERS - 1])
@pytest.mark.parametrize("kind", CUT)
def test_a_branch_on_the_trunks_output_is_the_whole_model(kind: str, first: int) -> None:
    decoder = decoder_of(family(kind))
    assert cut_law_gap(decoder, branch_of(decoder, first), first) == 0.0


def test_the_law_is_sharp() -> None:
    """A branch that adds the learned positions a second time is found."""
    decoder = decoder_of(family("gpt2"))
    branch = branch_of(decoder, 1)
    branch.add_module("wpe", dict(decoder.named_children())["wpe"])
    assert cut_law_gap(decoder, branch, 1) > 1e-2


def test_a_branch_that_cannot_run_is_infinitely_far() -> None:
    decoder = decoder_of(family("llama"))
    assert cut_law_gap(decoder, branch_of(decoder_of(family("gpt2")), 1), 1) > 1e-2


@pytest.mark.parametrize("kind", DUE)
def test_zero_deltas_are_the_reference_exactly(kind: str) -> None:
    model = family(kind)
    whole, branch = decoder_of(model), decoder_of(family(kind))
    with torch.no_grad():
        before = whole(input_ids=TOKENS, use_cache=False)[0]
        make_low_rank(branch, 2, 1, torch.Generator().manual_seed(3))
        after = branch(input_ids=TOKENS, use_cache=False)[0]
    assert torch.equal(before, after)


@pytest.mark.parametrize("kind", DUE)
def test_merged_is_unmerged(kind: str) -> None:
    model, unmerged = family(kind), decoder_of(family(kind))
    generator = torch.Generator().manual_seed(3)
    deltas = make_low_rank(unmerged, 2, 1, generator)
    untouched = [parameter.clone() for parameter in model.parameters()]
    with torch.no_grad():
        for tensor in deltas.values():
            tensor += 0.02 * torch.randn(tensor.shape, generator=generator)
        apart = unmerged(input_ids=TOKENS, use_cache=False)[0]
        merged = merged_copy(model, deltas)
        together = decoder_of(merged)(input_ids=TOKENS, use_cache=False)[0]
        reference = decoder_of(model)(input_ids=TOKENS, use_cache=False)[0]
    assert (apart - together).abs().max() < 1e-5
    assert (apart - reference).abs().max() > 1e-2, "the deltas must do something, or the law holds for nothing"
    for before, after in zip(untouched, model.parameters(), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("kind", DUE)
def test_log_probabilities_of_the_branch_are_those_of_the_whole_merged_model(kind: str) -> None:
    """Shared prompts, padding on both sides and trunk states included."""
    actor = BranchActor(as_loaded(family(kind)), render, live_layers=2, seed=1)
    stir(actor)
    rollouts = actor.sample(
        prompts(3), 2, SamplingSettings(temperature=0.7, max_new_tokens=9), SamplingKey(0, 1, "law")
    )
    prepared = actor.prepare(rollouts)
    assert prepared.rollouts.trunk is not None
    own = actor.logprobs(prepared.rollouts, range(6))
    model = merged_copy(family(kind), {name.removeprefix("policy."): value for name, value in actor.state().items()})
    assert (own - teacher_forced(model, rollouts)).abs().max() < 1e-5


def stir(actor: BranchActor, scale: float = 0.02) -> None:
    """Move the policy away from the reference."""
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in actor.parameters("policy"):
            parameter += scale * torch.randn(parameter.shape, generator=generator)


def teacher_forced(model, rollouts) -> torch.Tensor:
    """Give the log-probabilities of all response tokens, each episode alone, without padding, trunk or cache."""
    found = []
    for episode in range(rollouts.episodes):
        row = rollouts.tokens[rollouts.starts[episode] : rollouts.starts[episode + 1]]
        begin = int(rollouts.prompt_lengths[episode])
        with torch.no_grad():
            logits = model(input_ids=row[None], use_cache=False).logits[0].double() / rollouts.temperature
        found.append(torch.log_softmax(logits, dim=-1)[begin - 1 : -1].gather(1, row[begin:, None])[:, 0])
    return torch.cat(found).float()


def test_there_is_a_layer_list_for_every_family() -> None:
    assert {kind: len(layers_of(decoder_of(family(kind)))) for kind in CUT} == dict.fromkeys(CUT, LAYERS)
