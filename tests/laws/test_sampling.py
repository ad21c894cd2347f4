"""The sampler draws from the distribution, and a response depends on its key and the weights alone."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from expound.models.cut import decoder_of
from expound.models.decoding import BLOCK, Asked, Drawn, Speaker, decode, draw, sample_responses, uniforms
from expound.models.head import head_of
from expound.records import SamplingKey
from expound.settings import SamplingSettings
from tests.support.families import VOCABULARY, family

DRAWS = 1_000_000
KEY = SamplingKey(7, 2, "law")
PROMPTS = [(5, 9, 300), (9,), tuple(range(40, 61)), (17, 250, 90, 6, 1)]
NEVER = (VOCABULARY + 5,)
DISTRIBUTIONS = {
    "even": [0.0] * 8,
    "steep": [0.0, 1.0, 2.0, 3.0, 4.0],
    "rare": [9.0, 0.0, 0.0, 0.0],
    "with impossible tokens": [-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf],
    "two": [0.3, -0.3],
}


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_follow_the_distribution(name: str, temperature: float) -> None:
    logits = torch.tensor(DISTRIBUTIONS[name])
    expected = torch.softmax(logits.double() / temperature, dim=0)
    tokens, logprobs = draw(logits.expand(DRAWS, -1), temperature, uniforms(KEY, name, 0, DRAWS))
    counts = torch.bincount(tokens, minlength=len(logits))
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert scipy.stats.chisquare(counts[possible], expected[possible] * DRAWS).pvalue > 1e-3
    torch.testing.assert_close(logprobs.double(), expected.log()[tokens], rtol=0, atol=1e-5)


@pytest.mark.parametrize("vocabulary", [BLOCK - 1, 2 * BLOCK, 7 * BLOCK + 3])
def test_draws_of_large_vocabularies_are_those_of_one_running_sum(vocabulary: int) -> None:
    """In double precision, but for numbers within rounding of a step; a third of the tokens are impossible."""
    generator = torch.Generator().manual_seed(vocabulary)
    logits = 3 * torch.randn(vocabulary, generator=generator)
    logits[torch.rand(vocabulary, generator=generator) < 1 / 3] = -torch.inf
    uniform = torch.cat([uniforms(KEY, "many", 0, 20_000), torch.tensor([1.0, 1 - 2**-53, 2**-53])])
    tokens, logprobs = draw(logits.expand(len(uniform), -1), 1.0, uniform)
    expected = torch.softmax(logits.double(), dim=0)
    sums = torch.cat([torch.zeros(1), expected.cumsum(0)])
    assert (expected[tokens] > 0).all()
    assert (sums[tokens] < uniform + 1e-6).all()
    assert (sums[tokens + 1] > uniform - 1e-6).all()
    torch.testing.assert_close(logprobs.double(), expected.log()[tokens], rtol=0, atol=1e-5)


@pytest.mark.parametrize("uniform", [1.0, 1 - 2**-53, 2**-53, 1e-300])
def test_the_ends_of_the_unit_interval_draw_possible_tokens(uniform: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf, -300.0]])
    token, logprob = draw(logits, 1.0, torch.tensor([uniform], dtype=torch.float64))
    assert token.item() in (1, 2)
    assert logprob.isfinite().all()


def test_uniforms_are_never_zero_and_depend_on_every_part_of_the_key() -> None:
    numbers = uniforms(KEY, "p", 0, 100_000)
    assert numbers.min() > 0
    assert numbers.max() <= 1
    others = [
        uniforms(SamplingKey(8, 2, "law"), "p", 0, 4),
        uniforms(SamplingKey(7, 3, "law"), "p", 0, 4),
        uniforms(SamplingKey(7, 2, "other"), "p", 0, 4),
        uniforms(KEY, "q", 0, 4),
        uniforms(KEY, "p", 1, 4),
    ]
    assert len({float(one[0]) for one in (numbers, *others)}) == 6
    assert torch.equal(numbers[:4], uniforms(KEY, "p", 0, 4)), "a longer response begins like a shorter one"


def test_temperature_zero_takes_the_likeliest() -> None:
    token, logprob = draw(torch.tensor([[0.0, 2.0, 1.0]]), 0.0, torch.ones(1))
    assert token.item() == 1
    assert logprob.item() == pytest.approx(2 - torch.logsumexp(torch.tensor([0.0, 2.0, 1.0]), 0).item(), abs=1e-6)


# --- the decoder ------------------------------------------------------------------------------------------------


def speaker(kind: str, ends: tuple[int, ...] = NEVER) -> Speaker:
    model = family(kind)
    return Speaker(decoder_of(model), head_of(model), ends, pad_token=0)


def numbers(rows: int, steps: int) -> torch.Tensor:
    return torch.stack([uniforms(KEY, "row", row, steps) for row in range(rows)])


def forced(kind: str, prompt: tuple[int, ...], said: Drawn, temperature: float) -> torch.Tensor:
    """Give the log-probabilities of a response by one plain forward pass of the whole sequence, unpadded."""
    row = torch.tensor([[*prompt, *said.tokens]])
    with torch.no_grad():
        table = torch.log_softmax(family(kind)(input_ids=row, use_cache=False).logits[0].double() / temperature, dim=-1)
    return table[len(prompt) - 1 : -1].gather(1, row[0, len(prompt) :, None])[:, 0]


@pytest.mark.parametrize("compact_below", [0.0, 1.0])
@pytest.mark.parametrize("copies", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt-neox", "mistral"])
def test_sampled_log_probabilities_are_teacher_forced_ones(kind: str, copies: int, compact_below: float) -> None:
    """Prompts of 1 to 21 tokens side by side, so up to 20 columns of padding; about a third of the rows end early."""
    rows = [index for index in range(len(PROMPTS)) for _ in range(copies)]
    talker = speaker(kind, ends=tuple(range(0, VOCABULARY, 16)))
    drawn = decode(talker, PROMPTS, rows, numbers(len(rows), 12), 0.7, compact_below=compact_below)
    for index, said in zip(rows, drawn, strict=True):
        assert (torch.tensor(said.logprobs) - forced(kind, PROMPTS[index], said, 0.7)).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt-neox"])
def test_compaction_changes_no_token(kind: str) -> None:
    rows = [0, 0, 1, 1, 2, 2, 3, 3]
    talker = speaker(kind, ends=tuple(range(0, VOCABULARY, 16)))
    kept = decode(talker, PROMPTS, rows, numbers(8, 20), 0.7, compact_below=0.0)
    left = decode(talker, PROMPTS, rows, numbers(8, 20), 0.7, compact_below=1.0)
    assert [one.tokens for one in kept] == [one.tokens for one in left]
    assert len({len(one.tokens) for one in kept}) > 2


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt-neox"])
def test_a_response_depends_on_its_key_and_the_weights_alone(kind: str) -> None:
    """Dealt over 1, 2 or 4 parts, in another order, with fewer siblings: the same tokens."""
    talker, sampling = speaker(kind, (0,)), SamplingSettings(temperature=0.7, max_new_tokens=12)
    asked = [Asked(f"p{index}", tokens) for index, tokens in enumerate(PROMPTS)]
    whole = sample_responses(talker, asked, 3, sampling, KEY)
    for parts in (2, 4):
        size = len(asked) // parts
        dealt = [
            drawn
            for part in range(parts)
            for drawn in sample_responses(talker, asked[part * size : (part + 1) * size], 3, sampling, KEY)
        ]
        assert tokens_of(dealt) == tokens_of(whole)
    assert tokens_of(sample_responses(talker, asked[::-1], 3, sampling, KEY))[::-1] == tokens_of(whole)
    assert tokens_of(sample_responses(talker, asked, 2, sampling, KEY)) == [row[:2] for row in tokens_of(whole)]
    assert sample_responses(talker, asked, 3, sampling, KEY) == whole, "the same chunk: bit for bit"
    other = speaker(kind, (0,))
    other.decoder.get_input_embeddings().weight.data.mul_(1.5)
    assert tokens_of(sample_responses(other, asked, 3, sampling, KEY)) != tokens_of(whole)


def tokens_of(drawn: list[list[Drawn]]) -> list[list[tuple[int, ...]]]:
    return [[one.tokens for one in row] for row in drawn]


def test_sampling_moves_no_global_generator() -> None:
    before = torch.get_rng_state()
    decode(speaker("llama"), PROMPTS, [0, 1], numbers(2, 4), 0.7)
    assert torch.equal(before, torch.get_rng_state())


# --- end tokens -------------------------------------------------------------------------------------------------


def once(ends: tuple[int, ...], steps: int = 8) -> Drawn:
    return decode(speaker("llama", ends), [PROMPTS[0]], [0], numbers(1, steps), 0.7)[0]


def test_never_an_end() -> None:
    said = once(NEVER)
    assert (len(said.tokens), said.finished) == (8, False)


def test_the_end_as_first_token_stays_as_the_only_one() -> None:
    free = once(NEVER).tokens
    assert once((free[0],)) == Drawn(free[:1], once(NEVER).logprobs[:1], finished=True)


def test_the_end_as_the_last_token_that_fits_counts_as_finished() -> None:
    free = once(NEVER).tokens
    assert free[-1] not in free[:-1]
    said = once((free[-1],))
    assert (said.tokens, said.finished) == (free, True)


def test_the_first_of_several_ends_counts() -> None:
    free = once(NEVER).tokens
    said = once((free[5], free[3], NEVER[0]))
    assert (said.tokens, said.finished) == (free[:4], True)


def test_padding_that_is_the_end_token_ends_nothing_and_hides_nothing() -> None:
    """Pad = end, in the prompt, in the padding before it and in the answer."""
    prompt = (3, 0, 7, 0)
    talker = speaker("llama", ends=(0,))
    alone = decode(talker, [prompt], [0], numbers(1, 8), 0.7)[0]
    padded = decode(talker, [prompt, PROMPTS[2]], [0, 1], numbers(2, 8), 0.7)[0]
    assert alone.tokens == padded.tokens
    assert (torch.tensor(padded.logprobs) - forced("llama", prompt, padded, 0.7)).abs().max() < 1e-5
