"""The READMEs show commands that exist, make targets that exist, and a block that runs; the demonstration ends.

That the blocks whose fence says `run` do run is tested with all other pages.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.reading import READMES, ROOT, Fence, commands_named, fences_of, run_shell


def words_after(page: str, pattern: str) -> set[str]:
    """Collect what stands after a command in the blocks of a page, such as the target after `make`."""
    return {word for line in commands_named(page) for word in re.findall(pattern, line)}


@pytest.mark.parametrize("page", READMES)
def test_it_shows_commands_and_a_block_that_runs(page: str) -> None:
    assert any(line.startswith("expound ") for line in commands_named(page)), f"{page} shows no command of expound"
    assert any(fence.runs for fence in fences_of(page)), f"{page} has no block whose fence says 'run'"


@pytest.mark.parametrize("page", READMES)
def test_every_make_target_exists(page: str) -> None:
    named = words_after(page, r"(?:^|[\s;&|])make ([a-z][a-z-]*)")
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named, f"{page} shows no make target"
    assert named <= targets


@pytest.mark.slow
@pytest.mark.smollm2
@pytest.mark.timeout(1800)
def test_the_demonstration_ends_with_its_report(environment: dict[str, str], tmp_path: Path) -> None:
    result = run_shell("expound demo", tmp_path, environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(tmp_path.rglob("report.html"))


def test_a_block_is_read_as_a_reader_would() -> None:
    console = Fence("console", (), "$ expound demo\nwrote report.html\n$ make \\\n  test\n")
    assert console.commands == ("expound demo", "make    test")
    assert Fence("bash", (), "# first\nexpound init cats\n\nmake test\n").commands == ("expound init cats", "make test")
