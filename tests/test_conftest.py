"""In CI the browser and the real model are never skipped, and every run counts its skips by reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SKIPS = """
import pytest

@pytest.mark.browser
def test_page():
    pytest.skip("no Chromium here")

@pytest.mark.smollm2
@pytest.mark.skipif(True, reason="no model here")
def test_model():
    pass

@pytest.mark.skip(reason="only a set is missing")
def test_set():
    pass

@pytest.mark.browser
@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""

WHOLE = "import pytest\npytest.skip('nothing here', allow_module_level=True)\n"


def run_tests(folder: Path, text: str, *, ci: bool) -> str:
    """Run a test file of `text` under our conftest in a process of its own; return what pytest printed."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder / "conftest.py")
    (folder / "test_made.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    environment = {**os.environ, "CI": "true" if ci else "", "PYTHONPATH": str(ROOT)}
    options = ["-p", "no:cacheprovider", str(folder)]
    return subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False).stdout


def test_in_ci_a_skip_of_browser_or_model_fails(tmp_path: Path) -> None:
    output = run_tests(tmp_path, SKIPS, ci=True)
    assert "1 failed, 1 skipped, 1 xfailed, 1 error" in output
    assert "must run in CI, and was skipped: no Chromium here" in output
    assert "must run in CI, and was skipped: no model here" in output
    assert "   1  only a set is missing" in output


def test_elsewhere_it_skips_and_is_counted(tmp_path: Path) -> None:
    output = run_tests(tmp_path, SKIPS, ci=False)
    assert "3 skipped, 1 xfailed" in output
    for reason in ("no Chromium here", "no model here", "only a set is missing"):
        assert f"   1  {reason}" in output


def test_in_ci_no_file_skips_itself_whole(tmp_path: Path) -> None:
    assert "is skipped whole: nothing here" in run_tests(tmp_path, WHOLE, ci=True)
    assert "1 skipped" in run_tests(tmp_path, WHOLE, ci=False)
