"""Checkpoints between two updates, and finished policies: folders whose manifest proves that they are whole.

Whatever is random follows from keys, so no generator and no rollout is stored: a killed update is done again from the
same keys, to the same bits. Nothing here unpickles.
"""

from __future__ import annotations

import json
import platform
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import load, save
from torch import Tensor
from torch.optim import Optimizer

from expound.errors import ModelRefused
from expound.files import STAGING, clear_staging, parse_json, sha256_of, staged_folder, write_file
from expound.records import Json, content_id

MANIFEST = "manifest.json"
STATE = "state.json"
QUARANTINE = "quarantine"
NAME = "update-{:05d}"

Say = Callable[[str], None]
TensorFiles = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: tensors by file (without its ending) and name, and the rest as text."""

    number: int
    tensors: TensorFiles
    state: str


def machine() -> dict[str, str]:
    """Return what decides whether a resumed run is the same bit for bit, beside the checkpoint."""
    return {
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
    }


def save_checkpoint(folder: Path, checkpoint: Checkpoint, identity: Mapping[str, str]) -> None:
    """Make the checkpoint appear whole below `folder`; one of that number that is there already is replaced.

    `identity` names what it belongs to (reference, reward, settings ...). Errors: StorageError.
    """
    with staged_folder(folder / NAME.format(checkpoint.number), replaces=True) as staging:
        for name, tensors in checkpoint.tensors.items():
            (staging / f"{name}.safetensors").write_bytes(to_bytes(tensors))
        (staging / STATE).write_text(checkpoint.state)
        (staging / MANIFEST).write_text(_manifest(staging, identity))


def newest_checkpoint(folder: Path, identity: Mapping[str, str], say: Say) -> Checkpoint | None:
    """Return the newest whole checkpoint below `folder`, or None.

    What is not whole is moved to quarantine/ and told. What belongs to another reference, reward or settings is
    refused; another machine is told. Errors: ModelRefused, naming the difference.
    """
    clear_staging(folder)
    for number in sorted(numbers(folder), reverse=True):
        place = folder / NAME.format(number)
        trouble = damage(place)
        if trouble is None:
            _check_identity(place, identity)
            _tell_machine(place, say)
            return read_checkpoint(folder, number)
        say(f"{place} is damaged ({trouble}); it was set aside, and an older checkpoint is used.")
        (folder / QUARANTINE).mkdir(exist_ok=True)
        place.rename(folder / QUARANTINE / f"{place.name}-{uuid.uuid4().hex[:8]}")
    return None


def read_checkpoint(folder: Path, number: int) -> Checkpoint:
    """Return a checkpoint that is whole. Errors: ModelRefused when it is not."""
    place = folder / NAME.format(number)
    trouble = damage(place)
    if trouble is not None:
        raise ModelRefused(f"{place} is damaged ({trouble}).", "Remove it and tune again.")
    tensors = {path.stem: read_tensors(path) for path in sorted(place.glob("*.safetensors"))}
    return Checkpoint(number, tensors, (place / STATE).read_text())


def numbers(folder: Path) -> list[int]:
    """Return the numbers of the checkpoints below `folder`, whole or not."""
    return sorted(int(path.name.removeprefix("update-")) for path in folder.glob("update-" + "[0-9]" * 5))


def keep_only(folder: Path, kept: set[int]) -> None:
    """Remove all other checkpoints; a kill in between leaves staging names only."""
    for number in set(numbers(folder)) - kept:
        doomed = folder / f"{STAGING}{uuid.uuid4().hex}"
        (folder / NAME.format(number)).rename(doomed)
        shutil.rmtree(doomed)


def save_finished(folder: Path, tensors: TensorFiles, state: str, identity: Mapping[str, str]) -> None:
    """Write a finished policy into a folder that may hold other things; the manifest comes last and makes it whole."""
    for name, some in tensors.items():
        write_file(folder / f"{name}.safetensors", to_bytes(some))
    write_file(folder / STATE, state)
    write_file(folder / MANIFEST, _manifest(folder, identity))


def damage(folder: Path) -> str | None:
    """Return what is wrong with a folder that has a manifest, or None when every file is as it was written."""
    try:
        manifest = _read_manifest(folder)
    except (OSError, ValueError) as error:
        return f"{MANIFEST}: {error}"
    for name, known in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of(path) != known:
            return f"{name} has changed"
    return None


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as a safetensors file; equal tensors give equal bytes."""
    return save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    # Copies, because a file's tensors lie at any address, and sums can depend on how they are aligned.
    return {name: tensor.clone() for name, tensor in load(path.read_bytes()).items()}


def moments(optimiser: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimiser as tensors named by parameter number and part."""
    state = optimiser.state_dict()["state"]
    return {f"{number}.{part}": tensor for number, parts in state.items() for part, tensor in parts.items()}


def restore_moments(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give a fresh optimiser of the same parameters the state that `moments` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, part = name.split(".", 1)
        state.setdefault(int(number), {})[part] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


@dataclass(frozen=True)
class _Manifest:
    files: Mapping[str, str]
    identity: Mapping[str, str]
    machine: Mapping[str, str]


def _manifest(folder: Path, identity: Mapping[str, str]) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors" or path.name == STATE)
    content: dict[str, Json] = {
        "files": {name: sha256_of(folder / name) for name in names},
        "identity": dict(identity),
        "machine": machine(),
    }
    return json.dumps({**content, "check": content_id(content)}, sort_keys=True, indent=1)


def _read_manifest(folder: Path) -> _Manifest:
    """Return the manifest of a folder; OSError or ValueError when it is missing or not as it was written."""
    content = parse_json((folder / MANIFEST).read_text())
    if not isinstance(content, dict) or content.pop("check", None) != content_id(content):
        raise ValueError("not as it was written")
    return _Manifest(_words(content["files"]), _words(content["identity"]), _words(content["machine"]))


def _words(value: Json) -> dict[str, str]:
    assert isinstance(value, dict), "the manifest was checked"
    return {str(key): str(word) for key, word in value.items()}


def _check_identity(place: Path, identity: Mapping[str, str]) -> None:
    stored = _read_manifest(place).identity
    for name in sorted({*stored, *identity}):
        if stored.get(name) != identity.get(name):
            raise ModelRefused(
                f"{place} belongs to another {name} ({stored.get(name)}, not {identity.get(name)}).",
                f"Restore the {name}, or remove {place.parent} to tune from the start of the round.",
            )


def _tell_machine(place: Path, say: Say) -> None:
    stored, now = _read_manifest(place).machine, machine()
    changed = [f"{name} {stored.get(name)} -> {value}" for name, value in now.items() if stored.get(name) != value]
    if changed:
        say(f"The tuning goes on from {place.name}, but not bit for bit: {', '.join(changed)}.")
