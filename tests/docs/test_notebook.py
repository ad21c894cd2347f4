"""The notebook runs from top to bottom on a tiny model, its code cells as one script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docs.reading import ROOT, run_python, with_model

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def code_of(notebook: Path) -> str:
    """Give the code cells one after another."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_it_holds_no_output() -> None:
    held = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (held["nbformat"], held["nbformat_minor"]) == (4, 5)
    for cell in held["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.timeout(300)
def test_it_runs(environment: dict[str, str], tmp_path: Path, tiny_llama_folder: Path) -> None:
    done = run_python(with_model(code_of(NOTEBOOK), tiny_llama_folder), tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are missing" in done.stdout
    assert "Round 1" in done.stdout
