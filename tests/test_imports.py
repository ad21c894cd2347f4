"""What starts quickly stays quick: the command line and the pages load no tensor library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
TENSORS = ("torch", "transformers", "peft", "safetensors.torch")
LIGHT = ("web", "store", "reporting", "tasks", "panel", "feedback", "settings", "ports")

LOAD = """
import importlib, json, sys
names, heavy = json.loads(sys.argv[1])
found = {}
for name in names:
    importlib.import_module(name)
    loaded = [module for module in heavy if module in sys.modules]
    if loaded:
        found[name] = loaded
        break
print(json.dumps(found))
"""


def loaded_by(names: list[str], heavy: tuple[str, ...]) -> dict[str, list[str]]:
    """Import the modules one after another in a fresh interpreter; name the first that brings in a heavy one."""
    command = [sys.executable, "-W", "error", "-c", LOAD, json.dumps([names, heavy])]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(SOURCE)})
    assert result.returncode == 0, result.stderr
    found: dict[str, list[str]] = json.loads(result.stdout)
    return found


def modules_of(name: str) -> list[str]:
    """Name a module or every module of a folder. Migrations run inside Alembic only and are no modules."""
    folder = SOURCE / "expound" / name
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    paths = [path for path in paths if "migrations" not in path.parts]
    return [".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def test_the_command_line_starts_without_anything_heavy() -> None:
    heavy = (*TENSORS, "numpy", "scipy", "sqlalchemy", "fastapi")
    assert loaded_by(["expound", "expound.cli"], heavy) == {}


def test_the_functions_of_the_verbs_load_no_tensor_library_before_they_need_one() -> None:
    assert loaded_by(["expound.api"], TENSORS) == {}


@pytest.mark.parametrize("name", LIGHT)
def test_no_module_of_a_light_folder_loads_a_tensor_library(name: str) -> None:
    assert loaded_by(modules_of(name), TENSORS) == {}


def test_the_check_sees_a_heavy_import() -> None:
    assert loaded_by(["json", "numpy"], ("numpy", "torch")) == {"numpy": ["numpy"]}
