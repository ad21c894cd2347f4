"""The last line of every benchmark: what was measured, where, and whether it holds."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from expound.machine import free_cores


@dataclass(frozen=True)
class Verdict:
    """Figures, the targets that they are held to, and whether they hold."""

    figures: Mapping[str, float]
    targets: Mapping[str, float]
    holds: bool


def tell(benchmark: str, found: Verdict) -> int:
    """Print the line of JSON and return the exit status; `load` is the mean number of processes of the last minute."""
    machine = f"{platform.machine()}, {free_cores()} of {os.cpu_count()} cores, {platform.python_version()}"
    told = {"benchmark": benchmark, "machine": machine, "load": round(os.getloadavg()[0], 2), **vars(found)}
    sys.stdout.write(f"{json.dumps(told)}\n")
    return 0 if found.holds else 1
