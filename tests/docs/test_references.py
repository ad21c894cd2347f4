"""The reference pages are what the code says, and name everything there is."""

from __future__ import annotations

import subprocess
import sys

import typer

from expound import cli
from expound.settings import Settings
from tests.docs.reading import ROOT, text_of

SCRIPT = ROOT / "scripts" / "references.py"


def test_they_are_fresh() -> None:
    command = [sys.executable, str(SCRIPT), "--check"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "src"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_setting_has_a_line() -> None:
    page = text_of("docs/reference/settings.md")
    for table in Settings.model_fields:
        assert f"## [{table}]" in page
    assert '| `kl_target` | number, at least 0 or `"auto"` |' in page
    assert "| `endpoint` | text | required |" in page


def test_every_command_and_option_has_a_line() -> None:
    page = text_of("docs/reference/commands.md")
    for name, command in typer.main.get_command(cli.app).commands.items():
        assert (f"## expound {name}\n" in page) is not command.hidden
        for parameter in [] if command.hidden else command.params:
            assert f"`{parameter.opts[0] if parameter.opts[0].startswith('-') else parameter.opts[0].upper()}`" in page
