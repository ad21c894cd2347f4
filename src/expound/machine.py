"""What this machine and this installation are: the cores that may be used, the versions that numbers depend on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

VERSIONS_OF = ("expound", "torch", "transformers", "numpy", "scipy")


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of what the numbers depend on."""
    return {name: _version(name) for name in VERSIONS_OF}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def free_cores() -> int:
    """Return the cores that this process may use, or fewer where OMP_NUM_THREADS says that others keep them busy.

    Threads on busy cores spin: sampling with two threads on crowded cores fell to a third of its speed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return min(cores, int(wanted))
    return cores
