"""The scripts of the page on functions, in a project of a tiny model: each raises the reward that it is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docs.reading import fences_of, run_python
from tests.support.projects import make_learning_project

PAGE = "docs/functions.md"
SCRIPTS = [fence.body for fence in fences_of(PAGE) if fence.language == "python"]


def test_there_is_a_script_for_each_kind() -> None:
    assert [[name for name in ("feedback=", "ranking=") if name in script] for script in SCRIPTS] == [
        ["feedback="],
        ["feedback="],
        ["ranking="],
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=["score", "passages", "ranking"])
def test_the_reward_goes_up(script: str, environment: dict[str, str], tmp_path: Path) -> None:
    folder = make_learning_project(tmp_path / "incidents")
    done = run_python(script, tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "your own function preferred the new explanations" in done.stdout
    text = (folder / "rounds" / "001" / "metrics.jsonl").read_text(encoding="utf-8")
    rewards = [json.loads(line)["reward"] for line in text.splitlines()]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:2]) / 2
