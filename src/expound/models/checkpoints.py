"""Folders whose manifest proves that they are whole: checkpoints between two updates, finished policies, rewards.

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
from pydantic import TypeAdapter
from safetensors.torch import load, save
from torch import Tensor
from torch.optim import Optimizer

from expound.errors import ModelRefused
from expound.files import STAGING, clear_staging, parse_object, sha256_of, staged_folder, write_file
from expound.machine import versions
from expound.records import Json, content_id

MANIFEST = "manifest.json"
STATE = "state.json"
QUARANTINE = "quarantine"
NAME = "update-{:05d}"

Identity = Mapping[str, str]
"""What a folder belongs to, such as reference, reward and settings."""


@dataclass(frozen=True)
class Held:
    """What a folder holds: tensors by file (without its ending) and name, and the rest as text."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: str


def machine() -> dict[str, str]:
    """Return what decides whether a resumed run is the same bit for bit, beside the checkpoint."""
    return {
        "threads": str(torch.get_num_threads()),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        **versions(),
    }


def write_whole(folder: Path, held: Held, identity: Identity) -> None:
    """Write into a folder that may hold other things; the manifest comes last and makes it whole.

    Errors: StorageError.
    """
    for name, tensors in held.tensors.items():
        write_file(folder / f"{name}.safetensors", to_bytes(tensors))
    write_file(folder / STATE, held.state)
    names = [*(f"{name}.safetensors" for name in held.tensors), STATE]
    content: dict[str, Json] = {
        "files": {name: sha256_of(folder / name) for name in names},
        "identity": dict(identity),
        "machine": machine(),
    }
    write_file(folder / MANIFEST, _manifest_text(content))


def read_whole(folder: Path, remedy: str, identity: Identity | None = None) -> Held:
    """Return what a folder holds.

    Errors: ModelRefused with the remedy when the folder is not whole, or belongs to something else than `identity`.
    """
    trouble = damage(folder)
    if trouble is not None:
        raise ModelRefused(f"{folder} is damaged ({trouble}).", remedy)
    manifest = _read_manifest(folder)
    known = manifest.identity if identity is None else identity
    for name in sorted({*manifest.identity, *known}):
        one, other = manifest.identity.get(name), known.get(name)
        if one != other:
            raise ModelRefused(f"{folder} belongs to another {name} ({one}, not {other}).", remedy)
    tensors = {name: read_tensors(folder / name) for name in manifest.files if name != STATE}
    return Held({Path(name).stem: some for name, some in tensors.items()}, (folder / STATE).read_text())


def damage(folder: Path) -> str | None:
    """Return what is wrong with a folder, or None when every file of its manifest is as it was written."""
    try:
        manifest = _read_manifest(folder)
    except (OSError, ValueError) as error:
        return f"{MANIFEST}: {error}"
    troubles = {name: _damage_of(folder / name, known) for name, known in manifest.files.items()}
    return next((f"{name} {trouble}" for name, trouble in troubles.items() if trouble is not None), None)


def _damage_of(path: Path, known: str) -> str | None:
    try:
        return None if sha256_of(path) == known else "has changed"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def save_checkpoint(folder: Path, number: int, held: Held, identity: Identity) -> None:
    """Make a checkpoint appear whole below `folder`; one of that number that is there already is replaced."""
    with staged_folder(folder / NAME.format(number), replaces=True) as staging:
        write_whole(staging, held, _numbered(identity, number))


def read_checkpoint(folder: Path, number: int, identity: Identity) -> Held:
    """Return a checkpoint. Errors: ModelRefused when it is not whole, or belongs to something else."""
    remedy = f"Restore it, or remove {folder} to tune from the start of the round."
    return read_whole(folder / NAME.format(number), remedy, _numbered(identity, number))


def newest_checkpoint(folder: Path, identity: Identity, say: Callable[[str], None]) -> Held | None:
    """Return the newest whole checkpoint below `folder`, or None.

    What is not whole is moved to quarantine/ and told; another machine is told. Errors: ModelRefused, naming the
    difference, for what belongs to something else.
    """
    clear_staging(folder)
    for number in sorted(numbers(folder), reverse=True):
        place = folder / NAME.format(number)
        trouble = damage(place)
        if trouble is None:
            held = read_checkpoint(folder, number, identity)
            _tell_machine(place, say)
            return held
        say(f"{place} is damaged ({trouble}); it was set aside, and the tuning goes on from before it.")
        (folder / QUARANTINE).mkdir(exist_ok=True)
        place.rename(folder / QUARANTINE / f"{place.name}-{uuid.uuid4().hex[:8]}")
    return None


def numbers(folder: Path) -> list[int]:
    """Return the numbers of the checkpoints below `folder`, whole or not."""
    return sorted(int(path.name.removeprefix("update-")) for path in folder.glob("update-" + "[0-9]" * 5))


def keep_only(folder: Path, kept: set[int]) -> None:
    """Remove all other checkpoints; a kill in between leaves staging names only."""
    for number in set(numbers(folder)) - kept:
        doomed = folder / f"{STAGING}{uuid.uuid4().hex}"
        (folder / NAME.format(number)).rename(doomed)
        shutil.rmtree(doomed)


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as a safetensors file; equal tensors give equal bytes."""
    return save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    # Copies, because a file's tensors lie at any address, and sums can depend on how they are aligned.
    return {name: tensor.clone() for name, tensor in load(path.read_bytes()).items()}


def moments(optimisers: Mapping[str, Optimizer]) -> dict[str, Tensor]:
    """Return the states of AdamW optimisers as tensors named by optimiser, parameter number and part.

    Of a parameter that took no step yet they are the zeros that its first step would begin with.
    """
    return {
        f"{name}.{number}.{part}": tensor
        for name, one in optimisers.items()
        for number, parameter in enumerate(one.param_groups[0]["params"])
        for part, tensor in (one.state.get(parameter) or _at_rest(parameter)).items()
    }


def _at_rest(parameter: Tensor) -> dict[str, Tensor]:
    return {"step": torch.tensor(0.0), **{part: torch.zeros_like(parameter) for part in ("exp_avg", "exp_avg_sq")}}


def restore_moments(optimisers: Mapping[str, Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Give fresh optimisers of the same parameters the states that `moments` returned.

    Errors: ModelRefused when one is missing, left over or of another shape; such an optimiser would begin afresh.
    """
    own = moments(optimisers)
    wrong = sorted(set(own) ^ set(tensors)) or [name for name in own if own[name].shape != tensors[name].shape]
    if wrong:
        raise ModelRefused(
            f"The stored state of the optimisers does not fit what learns (first difference: {wrong[0]}).",
            "Set [project] model and [ppo] as they were, or remove the round's folder policy/checkpoints.",
        )
    states: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in optimisers}
    for key, tensor in tensors.items():
        name, number, part = key.split(".")
        states[name].setdefault(int(number), {})[part] = tensor
    for name, one in optimisers.items():
        one.load_state_dict({**one.state_dict(), "state": states[name]})


@dataclass(frozen=True)
class _Manifest:
    files: Mapping[str, str]
    identity: Identity
    machine: Mapping[str, str]


def _read_manifest(folder: Path) -> _Manifest:
    """Return the manifest of a folder; OSError or ValueError when it is missing or not as it was written."""
    text = (folder / MANIFEST).read_bytes().decode()
    content = parse_object(text)
    content.pop("check", None)
    if _manifest_text(content) != text:
        raise ValueError("not as it was written")
    return TypeAdapter(_Manifest).validate_python(content)


def _manifest_text(content: dict[str, Json]) -> str:
    return json.dumps({**content, "check": content_id(content)}, sort_keys=True, indent=1)


def _numbered(identity: Identity, number: int) -> Identity:
    return {**identity, "update": str(number)}


def _tell_machine(place: Path, say: Callable[[str], None]) -> None:
    stored, now = _read_manifest(place).machine, machine()
    changed = [f"{name} {stored.get(name)} -> {value}" for name, value in now.items() if stored.get(name) != value]
    if changed:
        say(f"The tuning goes on from {place.name}, but not bit for bit: {', '.join(changed)}.")
