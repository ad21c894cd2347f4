"""Models that are not there, that are damaged, and that must not or cannot be used."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from tests.bad_input.row import Given, Row, together, wrote

FORMS = "Give package:MODULE/FILE, a folder, a .gguf file or a hub name."
CONVERT = "Convert it elsewhere to a folder with config.json, a tokenizer and .safetensors weights."
AGAIN = "Fetch it again."
TWO = '{"text": "Why?"}\n{"text": "How?"}\n'
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
PLACE = Path("project") / "m"


def named(reference: str) -> Given:
    """Name the model in project.toml."""

    def name(here: Path) -> None:
        path = here / "project" / "project.toml"
        lines = path.read_text(encoding="utf-8").splitlines()
        changed = [f"model = {json.dumps(reference)}" if line.startswith("model") else line for line in lines]
        path.write_text("\n".join(changed), encoding="utf-8")

    return name


def told(does: str, reference: str, what: str, remedy: str) -> tuple[Row, Row]:
    """Return the rows of a reference that `init` refuses at once, and `run` where it was written into project.toml."""
    return (
        Row(f"{does}, named to init", f"init new --prompts a.jsonl --model '{reference}'", what, remedy,
            given=wrote("a.jsonl", TWO)),
        Row(does, "run project", what, remedy, given=named(reference)),
    )  # fmt: skip


def file(does: str, name: str, content: bytes, what: str, remedy: str) -> Row:
    """Return the row of one file that is named as a model."""
    return Row(does, "run project", what, remedy, given=together(named(name), wrote(f"project/{name}", content)))


def spoilt(does: str, spoil: Callable[[Path], object], what: str, remedy: str) -> Row:
    """Return the row of a model folder that was whole."""

    def put(here: Path) -> None:
        from tests.support.tiny import save_tiny

        named("m")(here)
        save_tiny(here / PLACE)
        spoil(here / PLACE)

    return Row(does, "run project", what.replace("MODEL", "…/project/m"), remedy, given=put)


def put(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def config(**changes: object) -> Callable[[Path], object]:
    """Change keys of config.json."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")

    return change


def encoder(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    sizes = {"vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    with torch.random.fork_rng(devices=[]):
        BertModel(BertConfig(**sizes, intermediate_size=64)).save_pretrained(folder)


def cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:3000])


def cut_gguf(here: Path) -> None:
    from tests.support.tiny_gguf import save_tiny_gguf

    named("m.gguf")(here)
    whole = save_tiny_gguf(here / "whole.gguf").read_bytes()
    (here / "project" / "m.gguf").write_bytes(whole[: len(whole) // 2])


DAMAGED = "ModelRefused: The weights of MODEL are damaged (…)."
TOKENS = "ModelRefused: The tokenizer of MODEL cannot be read (…)."
GGUF = "is cut short or is no GGUF file (…)."
REFERENCES = (
    *told("a folder that is not there", "./none",
          "ModelNotFound: The model './none' is no file or folder here (…none).", FORMS),
    *told("a file that is not there", "none.gguf",
          "ModelNotFound: The model 'none.gguf' is no file or folder here (…none.gguf).", FORMS),
    *told("a name that cannot be", "two words",
          "ModelNotFound: The model 'two words' is no file or folder here (…two words).", FORMS),
    *told("a package that is not installed", "package:llm_none/x.gguf",
          "ModelNotFound: The package 'llm_none' is not installed.",
          "Install the package that holds it, or name another model."),
    *told("a package without that file", "package:json/x.gguf", "ModelNotFound: The package 'json' has no 'x.gguf'.",
          "It holds no .gguf file at all."),
    *told("a package without a file", "package:json", "ModelNotFound: 'package:json' names no file inside a top-level "
          "package.", "Write package:MODULE/FILE."),
    *told("a module for a package", "package:this/x.gguf",
          "ModelNotFound: 'this' is one file, not a package with data.", FORMS),
    *told("a file outside its package", "package:json/../x", "ModelRefused: 'package:json/../x' leads out of the "
          "package 'json'.", "Name a file that lies inside the package."),
    Row("an empty name", "init new --prompts a.jsonl --model ''",
        "ModelNotFound: The model '' is no file or folder here (.).", FORMS, given=wrote("a.jsonl", TWO)),
    Row("a hub name without a network", "run project",
        "ModelNotFound: The model 'some/model' is no folder here and could not be fetched from the hub (…).",
        "Check the name and the network, or give a folder.", given=named("some/model")),
)  # fmt: skip
FILES = (
    Row("a folder that is no model", "run project", "ModelNotFound: … is no model folder: config.json is missing.",
        CONVERT, given=named("..")),
    file("weights as a pickle", "m.bin", b"cposix\nsystem\n", "ModelRefused: …m.bin is no format that is opened here.",
         CONVERT),
    file("weights without a config", "m.safetensors", b"x",
         "ModelNotFound: …m.safetensors is no model folder: config.json is missing.", CONVERT),
    file("an empty .gguf file", "m.gguf", b"", f"ModelRefused: …m.gguf {GGUF}", "Fetch or install it again."),
    file("a .gguf file that is none", "m.gguf", random.Random(0).randbytes(500), f"ModelRefused: …m.gguf {GGUF}",
         "Fetch or install it again."),
    file("a .gguf file of its first bytes", "m.gguf", b"GGUF\3\0\0\0\0\0\0\0", f"ModelRefused: …m.gguf {GGUF}",
         "Fetch or install it again."),
    Row("a .gguf file cut short", "run project", f"ModelRefused: …m.gguf {GGUF}", "Fetch or install it again.",
        given=cut_gguf),
)  # fmt: skip
FOLDERS = (
    spoilt("no config.json", lambda folder: (folder / "config.json").unlink(),
           "ModelNotFound: MODEL is no model folder: config.json is missing.", CONVERT),
    spoilt("a config.json that breaks off", put("config.json", "{"),
           "ModelRefused: MODEL/config.json is not valid: …", AGAIN),
    spoilt("a list in config.json", put("config.json", "[]"),
           "ModelRefused: MODEL/config.json is not valid: not a JSON object.", AGAIN),
    spoilt("a config.json in Latin-1", put("config.json", '{"a": "é"}'.encode("latin-1")),
           "ModelRefused: MODEL/config.json is not UTF-8 at byte 7.", "Save it as UTF-8."),
    spoilt("a text for a size", config(hidden_size="wide"),
           "ModelRefused: The config.json of MODEL cannot be read (Validation error for field 'hidden_size': …).",
           AGAIN),
    spoilt("another size than that of the weights", config(hidden_size=128),
           "ModelRefused: MODEL cannot be read (its weights have other sizes than its config.json says).", CONVERT),
    spoilt("more layers than the weights have", config(num_hidden_layers=3),
           "ModelRefused: MODEL lacks weights (9, the first is model.layers.2.input_layernorm.weight).", AGAIN),
    spoilt("a kind that nobody knows", config(model_type="marvel"),
           "ModelRefused: MODEL is of an unknown kind (model_type 'marvel').",
           "Choose a model that transformers knows without extra code."),
    spoilt("a model with code of its own", config(model_type="own", auto_map={"AutoConfig": "configuration_own.Own"}),
           "ModelRefused: MODEL brings code of its own, which is never run (model_type 'own').",
           "Choose a model that transformers knows without extra code."),
    spoilt("an encoder, which cannot write", encoder,
           "ModelRefused: MODEL is a BertModel, which cannot write text token by token.",
           "Choose a decoder with a language-model head, such as GPT-2, Llama or Qwen2."),
    spoilt("pickled weights alone", lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"),
           "ModelRefused: MODEL holds its weights as pytorch_model.bin, which may run code when opened.", CONVERT),
    spoilt("no weights", lambda folder: (folder / WEIGHTS).unlink(),
           "ModelNotFound: MODEL holds no .safetensors weights.", CONVERT),
    spoilt("empty weights", put(WEIGHTS, b""), DAMAGED, AGAIN),
    spoilt("weights of random bytes", put(WEIGHTS, random.Random(0).randbytes(5000)), DAMAGED, AGAIN),
    spoilt("weights cut short", cut, DAMAGED, AGAIN),
    spoilt("no tokenizer", lambda folder: [(folder / name).unlink() for name in (TOKENIZER, "tokenizer_config.json")],
           TOKENS, CONVERT),
    spoilt("a tokenizer that breaks off", put(TOKENIZER, "{"), TOKENS, CONVERT),
    spoilt("a tokenizer of random bytes", put(TOKENIZER, b"\xff" * 99), TOKENS, CONVERT),
    spoilt("a list in tokenizer_config.json", put("tokenizer_config.json", "[]"),
           "ModelRefused: MODEL/tokenizer_config.json is not valid: not a JSON object.", AGAIN),
    spoilt("a chat template that breaks off", put("chat_template.jinja", "{% for"),
           "ModelRefused: The model's chat template cannot be used (unexpected 'end of template').",
           "Mend or remove it."),
)  # fmt: skip
ROWS = (*REFERENCES, *FILES, *FOLDERS)
