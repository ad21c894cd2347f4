"""The two sides as processes that do one update at a time when they are told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.beside_trl.task import Work, save_work
from benchmarks.beside_trl.work import say

ROOT = Path(__file__).resolve().parents[2]
TRL = ("torch==2.13.0", "trl==1.12.0", "transformers==5.23.0")
ENVIRONMENT = ROOT / ".bench" / "trl"

Line = Mapping[str, Any]


def trl_python() -> Path:
    """Return the Python of an environment with TRL 1.12, made where there is none; TRL_PYTHON names another."""
    if "TRL_PYTHON" in os.environ:
        return Path(os.environ["TRL_PYTHON"])
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "done").exists():
        say(f"Making {ENVIRONMENT} with {', '.join(TRL)}; this takes some minutes.")
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *TRL], check=True)
        (ENVIRONMENT / "done").touch()
    return python


class Side:
    """A process that has its model loaded and waits. Use it in a `with` block."""

    def __init__(self, name: str, work: Work, *, options: Mapping[str, str] | None = None) -> None:
        """Start "ours" or "trl" on the work; `options` are variables of its environment."""
        self.name, self.updates = name, work.updates
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "work.json"
        save_work(work, path)
        ours = [sys.executable, "-m", "benchmarks.beside_trl.our_side"]
        command = ours if name == "ours" else [str(trl_python()), str(ROOT / "benchmarks/beside_trl/trl_side.py")]
        self._process = subprocess.Popen(
            [*command, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "src", **(options or {})},
        )
        self.read()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def update(self) -> Line:
        """Let it do an update and return its line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> Line:
        """Return its next line of JSON; whatever else it prints is skipped."""
        assert self._process.stdout is not None
        for text in self._process.stdout:
            if text.startswith('{"'):
                found: Line = json.loads(text)
                return found
        raise SystemExit(f"The side '{self.name}' ended with status {self._process.wait()}.")
