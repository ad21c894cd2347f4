"""The walk of the examples on a tiny model: it ends in figures, pairs and a table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.projects import make_project

ROOT = Path(__file__).resolve().parent.parent


def walk(folder: Path, *examples: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/walk_examples.py", "--folder", str(folder), "--examples", *examples]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_an_example_is_walked_to_figures_and_pairs(tiny_llama_folder: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path / "summary", tiny_llama_folder)
    shown = walk(tmp_path, "summary")
    *_, row, last = shown.stdout.splitlines()
    told = json.loads(last)
    assert re.match(
        r"\| summary( \| [+-]0\.\d{3} \[[+-]0\.\d{3}, [+-]0\.\d{3}\]){3} \| 0\.\d\d \| 0\.\d\d \| \d+ \|$", row
    )
    (figures,) = told["figures"]
    assert (shown.returncode == 0) == told["holds"]
    assert set(figures["differences"]) == {"sampled", "tails cut", "greedy"}
    assert all(low <= mean <= high for mean, low, high in figures["differences"].values())
    assert {"copied", "repeated"} < set(figures["form"])
    assert figures["seconds"] > 0
    assert Path(figures["report"]) == project / "report.html"
    assert shown.stdout.count("Before, utility ") == shown.stdout.count("After, utility ") == 3
    changed = (project / "project.toml").read_text(encoding="utf-8")
    assert "updates = 5\n" in changed, "a key that was there"
    assert '[asking]\ncriteria = ["overall"]\n' in changed, "a key that was not"


def test_an_unknown_example_is_refused(tmp_path: Path) -> None:
    found = walk(tmp_path, "poem")
    assert found.returncode == 2
    assert "invalid choice: 'poem'" in found.stderr
