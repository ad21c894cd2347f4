"""The READMEs name only commands that exist, and what they say runs in under a minute runs.

A fenced block is read as commands when its language is `console` (lines that begin with `$ `) or `bash` or `sh`
(every line). A block whose fence says `run` after the language, as in "```bash run", is run from top to
bottom in an empty folder. Each README has at least one such block.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
READMES = ("README.md", "README.zh-CN.md")
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MAIN = "import sys; from expound.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Block:
    """The commands of one fenced block, and whether they promise to run in under a minute."""

    commands: tuple[str, ...]
    runs: bool


def blocks_of(name: str) -> tuple[Block, ...]:
    path = ROOT / name
    assert path.exists(), f"{name} is missing: a reader starts there"
    found = [
        Block(commands_of(language, body), "run" in info.split())
        for language, info, body in FENCE.findall(path.read_text(encoding="utf-8"))
        if language in ("console", "bash", "sh")
    ]
    return tuple(found)


def commands_of(language: str, body: str) -> tuple[str, ...]:
    """Give the command lines of a block, continued lines joined."""
    lines = body.replace("\\\n", " ").splitlines()
    if language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def words_after(name: str, pattern: str) -> set[str]:
    """Collect what stands after a command in the blocks of a README, such as the verb after `expound`."""
    lines = [line for block in blocks_of(name) for line in block.commands]
    return {word for line in lines for word in re.findall(pattern, line)}


def shell_environment(folder: Path) -> dict[str, str]:
    """Put an `expound` of this source tree and this interpreter first on the path."""
    script = folder / "expound"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{MAIN}" "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    path = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return shell_environment(tmp_path_factory.mktemp("bin"))


@pytest.mark.parametrize("name", READMES)
def test_every_verb_exists(name: str, environment: dict[str, str]) -> None:
    verbs = words_after(name, r"(?:^|[\s/;&|])expound ([a-z][a-z-]*)")
    assert verbs, f"{name} shows no command of expound"
    for verb in sorted(verbs):
        command = ["expound", verb, "--help"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{name} names 'expound {verb}':\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("name", READMES)
def test_every_make_target_exists(name: str) -> None:
    named = words_after(name, r"(?:^|[\s;&|])make ([a-z][a-z-]*)")
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named, f"{name} shows no make target"
    assert named <= targets


@pytest.mark.parametrize("name", READMES)
def test_the_blocks_marked_run_do(name: str, environment: dict[str, str], tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(name) if block.runs]
    assert blocks, f"{name} has no block whose fence says 'run'"
    for number, block in enumerate(blocks):
        folder = tmp_path / str(number)
        folder.mkdir()
        result = run_lines(block.commands, folder, environment)
        assert result.returncode == 0, f"{name}, block {block.commands}:\n{result.stdout}{result.stderr}"


@pytest.mark.slow
@pytest.mark.smollm2
@pytest.mark.timeout(1800)
def test_the_demonstration_ends_with_its_report(environment: dict[str, str], tmp_path: Path) -> None:
    result = run_lines(("expound demo",), tmp_path, environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(tmp_path.rglob("report.html"))


def run_lines(lines: tuple[str, ...], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run commands one after another, as a reader would paste them, until one fails."""
    command = ["bash", "-e", "-u", "-c", "\n".join(lines)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_block_is_read_as_a_reader_would() -> None:
    assert commands_of("console", "$ expound demo\nwrote report.html\n$ make \\\n  test\n") == (
        "expound demo",
        "make    test",
    )
    assert commands_of("bash", "# first\nexpound init cats\n\nmake test\n") == ("expound init cats", "make test")
