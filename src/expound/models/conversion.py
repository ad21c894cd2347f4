"""A GGUF file becomes a safetensors folder once; big files are hashed once. Both are remembered in the cache folder."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import gguf
import platformdirs
import torch
import transformers
from pydantic import TypeAdapter
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from expound.errors import ModelRefused
from expound.files import sha256_of, staged_folder, write_file
from expound.models.reference import first_line
from expound.records import content_id

CACHE_VARIABLE = "EXPOUND_CACHE"
MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """Return the folder of what can be made again; EXPOUND_CACHE in the environment names another."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("expound"))


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers, which draws bars and prints advice, show nothing but errors in the block."""
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def hash_once(path: Path) -> str:
    """Return the sha256 of a file; a file of the same path, size and time of change is not read again."""
    path = path.resolve()
    found = path.stat()
    note = cache_folder() / "hashes" / content_id(str(path), found.st_size, found.st_mtime_ns)
    if note.is_file():
        return note.read_text(encoding="ascii")
    digest = sha256_of(path)
    write_file(note, digest)
    return digest


def converted(source: Path, say: Callable[[str], None]) -> Path:
    """Return the safetensors folder of a GGUF file, making it if the cache holds none that is whole.

    Two processes may convert at once: the first to finish is kept. A folder appears whole or not at all.
    Errors: ModelRefused when the file is cut short or its architecture is unknown.
    """
    digest = hash_once(source)
    target = cache_folder() / "models" / f"{digest[:16]}-{transformers.__version__}"
    if _is_whole(target):
        return target
    # At once: half a minute from now a whole folder of another process may stand there, and be in use.
    shutil.rmtree(target, ignore_errors=True)
    _refuse_cut_short(source)
    say(f"Converting {source.name} once, about half a minute; it is kept in {target.parent}.")
    with staged_folder(target) as staging:
        # The library's conversion bar cannot be switched off.
        with quiet(), redirect_stderr(io.StringIO()):
            _convert(source, staging)
        sizes = {path.name: path.stat().st_size for path in staging.iterdir()}
        write_file(staging / MANIFEST, json.dumps(asdict(_Manifest(1, digest, sizes)), indent=1))
    return target


@dataclass(frozen=True)
class _Manifest:
    format: Literal[1]
    source: str
    sizes: dict[str, int]


def _is_whole(folder: Path) -> bool:
    try:
        sizes = TypeAdapter(_Manifest).validate_json((folder / MANIFEST).read_bytes()).sizes
    except (OSError, ValueError):
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def _refuse_cut_short(source: Path) -> None:
    try:
        # Lays every tensor over the file, so a file that is too short fails here and not half a minute later.
        gguf.GGUFReader(source)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ModelRefused(
            f"{source} is cut short or is no GGUF file ({first_line(error)}).", "Fetch or install it again."
        ) from error


def _convert(source: Path, folder: Path) -> None:
    """Write the model as fp32 safetensors with its tokenizer.

    transformers refuses to save a model that it read from GGUF ("quantized with gguf"), so a fresh one takes over the
    weights; it is built without storage, which also leaves the global random generator alone.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, trust_remote_code=False)
        read = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, dtype=torch.float32, trust_remote_code=False
        )
    except (ValueError, KeyError, NotImplementedError, OSError) as error:
        raise ModelRefused(
            f"transformers cannot read {source} ({first_line(error)}).", "Convert it to a safetensors folder elsewhere."
        ) from error
    config = read.config
    del config.quantization_config
    with torch.device("meta"):
        fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    fresh.load_state_dict(read.state_dict(), strict=True, assign=True)
    fresh.tie_weights()
    fresh.generation_config = read.generation_config
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
