"""Sampling, explaining and saving, beside transformers' own generate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from expound.errors import ModelRefused, PromptError
from expound.models.branches import BranchActor
from expound.models.chat import leave_marks_to_the_template, rendered, token_ids, turn_ends
from expound.models.loading import Loaded, load, prompt_ids
from expound.models.policy import CHUNK_PROMPTS, ModelPolicy, policy_id
from expound.records import Conversation, Prompt, Response, SamplingKey, Text
from expound.settings import SamplingSettings
from tests.laws.test_cut import stir
from tests.support.families import as_loaded, family, prompts, render
from tests.support.tiny import END, tiny_tokenizer

KEY = SamplingKey(3, 1, "sample train")
SAMPLING = SamplingSettings(temperature=0.7, max_new_tokens=10)
GREEDY = SamplingSettings(max_new_tokens=12).model_copy(update={"temperature": 0.0})
HELLO = Conversation("You answer questions about a text.", "Why was the train late?")


def tuned(loaded: Loaded) -> dict[str, torch.Tensor]:
    actor = BranchActor(loaded, render, live_layers=2, seed=1)
    stir(actor, 0.05)
    return actor.state()


def generate_summary(text: str, folder: Path) -> str:
    """The article's function, with the prompt cut off what it returns."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    input_ids = tokenizer.encode(text, return_tensors="pt")
    output_ids = model.generate(input_ids)
    assert output_ids[0, : input_ids.shape[1]].tolist() == input_ids[0].tolist()
    return str(tokenizer.decode(output_ids[0, input_ids.shape[1] :], skip_special_tokens=True)).strip()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt-neox"])
@pytest.mark.parametrize("is_tuned", [False, True])
def test_greedy_explanations_are_what_generate_gives_on_the_saved_folder(
    kind: str, is_tuned: bool, tmp_path: Path
) -> None:
    loaded = as_loaded(family(kind))
    policy = ModelPolicy(loaded, render, GREEDY, tuned(loaded) if is_tuned else None)
    policy.save(tmp_path / "out")
    for question in ("Why?", "Why was the train late? A tree lay on the rails.", "河水上涨"):
        conversation = Conversation(HELLO.system, question)
        said = policy.explain(conversation, GREEDY, KEY)
        assert said == generate_summary(rendered(loaded.tokenizer, conversation), tmp_path / "out")
        assert said


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt-neox"])
def test_a_saved_policy_loads_with_equal_logits(kind: str, tmp_path: Path) -> None:
    loaded = as_loaded(family(kind))
    state = tuned(loaded)
    policy = ModelPolicy(loaded, render, SAMPLING, state)
    policy.save(tmp_path / "out")
    again = load(str(tmp_path / "out"))
    row = torch.tensor([[5, 9, 300, 77]])
    with torch.no_grad():
        merged = ModelPolicy(again, render, SAMPLING)
        assert torch.equal(again.model(row).logits, policy._model(row).logits)  # noqa: SLF001
        assert not torch.equal(again.model(row).logits, loaded.model(row).logits)
    assert [one.tokens for one in merged.sample(prompts(), 2, SAMPLING, KEY)] == [
        one.tokens for one in policy.sample(prompts(), 2, SAMPLING, KEY)
    ]
    assert prompt_ids(again, HELLO, "", 1) == prompt_ids(loaded, HELLO, "", 1)


def test_the_saved_generation_config_says_all(tmp_path: Path) -> None:
    loaded = as_loaded(family("llama"), end_tokens=(0, 7))
    before = loaded.model.generation_config
    ModelPolicy(loaded, render, SAMPLING).save(tmp_path / "out")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "out").generation_config
    assert saved.do_sample is False
    assert (saved.max_new_tokens, saved.eos_token_id, saved.pad_token_id) == (10, [0, 7], 0)
    assert loaded.model.generation_config is before
    ModelPolicy(loaded, render, GREEDY).save(tmp_path / "out")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").generation_config.max_new_tokens == 12


def test_responses_are_complete_records() -> None:
    policy = ModelPolicy(as_loaded(family("llama")), render, SAMPLING)
    found = policy.sample(prompts(3), 2, SAMPLING, KEY)
    assert [(one.prompt, one.sample) for one in found] == [(f"p{p}", s) for p in range(3) for s in range(2)]
    for one in found:
        assert (one.policy, one.round) == ("identity", 1)
        assert one.id == Response.make_id(one.prompt, one.policy, 1, one.sample, one.text)
        assert one.finished == (one.tokens[-1] == 0)
        assert len(one.tokens) == 10 or one.finished
        assert one.text == tiny_tokenizer().decode(list(one.tokens), skip_special_tokens=True).strip()
        assert END not in one.text


def test_chunks_depend_on_the_prompts_alone_and_sampling_by_chunk_changes_nothing() -> None:
    policy = ModelPolicy(as_loaded(family("llama")), render, SAMPLING)
    many = [Prompt(f"q{n}", (Text("question", "why " * (1 + n % 7)),)) for n in range(2 * CHUNK_PROMPTS + 3)]
    chunks = policy.chunks(many)
    assert [len(chunk) for chunk in chunks] == [CHUNK_PROMPTS, CHUNK_PROMPTS, 3]
    assert policy.chunks(many[::-1]) == chunks
    assert sorted(prompt.id for chunk in chunks for prompt in chunk) == sorted(prompt.id for prompt in many)
    assert policy.chunks(chunks[1]) == [chunks[1]]
    once = {one.id: one for one in policy.sample(many, 2, SAMPLING, KEY)}
    for chunk in chunks:
        for one in policy.sample(chunk, 2, SAMPLING, KEY):
            assert once[one.id] == one


def test_explaining_at_a_temperature_is_repeatable_and_follows_the_key() -> None:
    policy = ModelPolicy(as_loaded(family("llama")), render, SAMPLING)
    first = policy.explain(HELLO, SAMPLING, KEY)
    assert policy.explain(HELLO, SAMPLING, KEY) == first
    assert policy.explain(HELLO, SAMPLING, SamplingKey(4, 1, "sample train")) != first


def test_the_id_follows_the_policy_and_not_the_value() -> None:
    loaded = as_loaded(family("llama"))
    state = tuned(loaded)
    policy = ModelPolicy(loaded, render, SAMPLING, state)
    assert policy.id == policy_id("identity", state) != "identity"
    assert policy_id("identity", dict(reversed(state.items()))) == policy.id
    assert policy_id("identity", state | {"value.0.weight": torch.ones(2)}) == policy.id
    changed = state | {"policy.1.mlp.up_proj.b": state["policy.1.mlp.up_proj.b"] + 1e-6}
    assert len({policy.id, policy_id("other", state), policy_id("identity", changed)}) == 3


def test_a_branch_of_another_model_is_refused() -> None:
    state = tuned(as_loaded(family("llama")))
    with pytest.raises(ModelRefused, match=r"The model has no linear layer 1.self_attn.q_proj"):
        ModelPolicy(as_loaded(family("gpt2")), render, SAMPLING, state)
    name = "policy.1.mlp.up_proj.a"
    with pytest.raises(ModelRefused, match=r"The delta of layer 1.mlp.up_proj has another shape"):
        ModelPolicy(as_loaded(family("llama")), render, SAMPLING, state | {name: state[name][:, 1:]})


def test_a_prompt_beyond_the_context_is_named_before_anything_is_sampled() -> None:
    policy = ModelPolicy(as_loaded(family("llama"), context=40), render, SAMPLING)
    with pytest.raises(
        PromptError, match=r"Prompt name-1 has .* tokens and its response may have 10, but the model holds 40"
    ):
        policy.sample(prompts(2), 2, SAMPLING, KEY)
    with pytest.raises(PromptError, match="holds 40"):
        policy.explain(Conversation("x " * 40, "y"), SAMPLING, KEY)


# --- the conversation as text -----------------------------------------------------------------------------------


def own_tokenizer():
    """Give a tokenizer that a test may change."""
    import copy

    return copy.deepcopy(tiny_tokenizer())


def test_the_rendered_text_gives_the_templates_own_ids() -> None:
    tokenizer = tiny_tokenizer()
    messages = [{"role": "system", "content": HELLO.system}, {"role": "user", "content": HELLO.user}]
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert token_ids(tokenizer, rendered(tokenizer, HELLO)) == tuple(expected)


def test_a_beginning_mark_is_never_doubled(tmp_path: Path) -> None:
    """A Llama-like tokenizer adds the mark on encode, and its template writes it too; the saved one must not."""
    tokenizer = own_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<|system|>"})
    mark = tokenizer.bos_token_id
    adds = TemplateProcessing(single="<|system|> $A", pair="<|system|> $A $B", special_tokens=[("<|system|>", mark)])
    tokenizer.backend_tokenizer.post_processor = adds
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    text = rendered(tokenizer, HELLO)
    assert token_ids(tokenizer, text)[:3] == (mark, mark, mark), "the template writes it twice here by itself"
    leave_marks_to_the_template(tokenizer)
    assert token_ids(tokenizer, text)[:3] != (mark, mark, mark)
    tokenizer.save_pretrained(tmp_path)
    assert token_ids(AutoTokenizer.from_pretrained(tmp_path), text) == token_ids(tokenizer, text)


def test_a_tokenizer_without_a_template_reads_plain_text() -> None:
    tokenizer = own_tokenizer()
    tokenizer.chat_template = None
    assert rendered(tokenizer, HELLO) == f"{HELLO.system}\n\n{HELLO.user}\n"
    assert turn_ends(tokenizer) == ()


def test_a_template_that_refuses_a_system_message_gets_it_from_the_user() -> None:
    tokenizer = own_tokenizer()
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    tokenizer.chat_template = refuse + tokenizer.chat_template
    assert rendered(tokenizer, HELLO) == f"<|user|>{HELLO.system}\n\n{HELLO.user}{END}<|assistant|>"


def test_the_end_of_the_turn_is_found_in_the_template() -> None:
    tokenizer = own_tokenizer()
    assert turn_ends(tokenizer) == (0,)
    tokenizer.chat_template = tokenizer.chat_template.replace(END, "<|user|>")
    assert turn_ends(tokenizer) == (tokenizer.convert_tokens_to_ids("<|user|>"),)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|user|>", "\n")
    assert turn_ends(tokenizer) == ()


def test_a_tokenizer_that_cannot_stop_adding_marks_is_refused() -> None:
    class Stubborn(PreTrainedTokenizerFast):
        def encode(self, text, add_special_tokens=True, **rest):
            return [0, *super().encode(text, **rest)] if add_special_tokens else super().encode(text, **rest)

    tokenizer = Stubborn(
        tokenizer_object=own_tokenizer().backend_tokenizer, chat_template=tiny_tokenizer().chat_template
    )
    with pytest.raises(ModelRefused, match="The tokenizer Stubborn adds marks that its chat template writes too"):
        leave_marks_to_the_template(tokenizer)
