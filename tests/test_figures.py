"""The house keeps its size, and the counting is right on a package whose figures are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def figures(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/figures.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def make_package(folder: Path, files: dict[str, str]) -> Path:
    package = folder / "made"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def function(name: str, lines: int) -> str:
    return f"def {name}():\n" + "    x = 1\n" * (lines - 1)


def test_the_house_is_within_its_limits() -> None:
    result = figures()
    assert result.returncode == 0, result.stdout + result.stderr


def test_lines_and_functions_are_counted(tmp_path: Path) -> None:
    package = make_package(
        tmp_path, {"a.py": function("one", 2) + function("two", 4), "deep/b.py": function("three", 12)}
    )
    result = figures(str(package))
    assert result.returncode == 0
    assert "     18  lines in all" in result.stdout
    assert "     12  deep" in result.stdout
    assert "3  functions: median 4 lines, 90 % at most 12, longest 12" in result.stdout


def test_each_limit_is_held(tmp_path: Path) -> None:
    short = "".join(function(f"f{number}", 2) for number in range(20))
    cases = {
        "longer than 80: ": short + function("long", 81),
        "the median function has 11 lines": function("middling", 11),
        "one function in ten is longer than 41 lines": "".join(function(f"f{n}", 2) for n in range(4))
        + function("g", 41),
        "longer than 500: ": "x = 1\n" * 501,
    }
    for number, (complaint, text) in enumerate(cases.items()):
        result = figures(str(make_package(tmp_path / str(number), {"a.py": text})))
        assert result.returncode == 1
        assert complaint in result.stdout


def test_a_circle_of_imports_is_found_even_inside_a_function(tmp_path: Path) -> None:
    files = {
        "__init__.py": "",
        "a.py": "from made import b\n",
        "b.py": "def late():\n    from made.deep.c import x\n",
        "deep/__init__.py": "",
        "deep/c.py": "import made.a\nx = 1\n",
    }
    result = figures(str(make_package(tmp_path, files)))
    assert result.returncode == 1
    assert "imports in a circle: " in result.stdout
    for name in ("made.a", "made.b", "made.deep.c"):
        assert name in result.stdout
