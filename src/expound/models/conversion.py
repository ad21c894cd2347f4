"""A GGUF file becomes a safetensors folder once; big files are hashed once. Both are remembered in the cache folder."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import gguf
import platformdirs
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from expound.errors import ModelRefused
from expound.files import parse_json, sha256_of, staged_folder, write_file
from expound.models.quiet import quiet
from expound.models.reference import first_line
from expound.records import content_id

CACHE_VARIABLE = "EXPOUND_CACHE"
MANIFEST = "manifest.json"
_MANIFEST_FORMAT = 1


def cache_folder() -> Path:
    """Return the folder of what can be made again; the environment variable EXPOUND_CACHE names another."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("expound"))


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
    _refuse_cut_short(source)
    say(f"Converting {source.name} once, about half a minute; it is kept in {target.parent}.")
    with staged_folder(target, replaces=target.exists()) as staging:
        # The library's conversion bar cannot be switched off.
        with quiet(), redirect_stderr(io.StringIO()):
            _convert(source, staging)
        write_file(staging / MANIFEST, _manifest(staging, digest))
    return target


def _manifest(folder: Path, source: str) -> str:
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    entries = ",\n ".join(f'"{name}": {size}' for name, size in sizes.items())
    return f'{{"format": {_MANIFEST_FORMAT}, "source": "{source}", "sizes": {{\n {entries}}}}}\n'


def _is_whole(folder: Path) -> bool:
    if not (folder / MANIFEST).is_file():
        return False
    manifest = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or manifest.get("format") != _MANIFEST_FORMAT:
        return False
    sizes = manifest["sizes"]
    assert isinstance(sizes, dict)
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
