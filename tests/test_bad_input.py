"""Every row of the table of bad input: made for real, and answered with its two sentences and its exit code.

Most rows run the command line in this process. What concerns a process runs in one, and what waits for long is
started before the first row, so that the waits pass together.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from expound import cli
from expound.errors import ExpoundError
from tests.bad_input.row import Row
from tests.bad_input.table import ROWS
from tests.support.projects import Shape, make_project

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "expound.cli"]
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
ALONE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
"""What gives a process mounts of its own."""


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def prepared(here: Path, model: Path) -> Path:
    """Make the folder in which a row goes wrong, with two projects."""
    make_project(here / "project", model)
    make_project(here / "people", model, Shape(panel="people"))
    return here


def put(row: Row, here: Path) -> AbstractContextManager[object]:
    return row.given(here) or nullcontext()


def started(row: Row, here: Path) -> subprocess.Popen[str]:
    command, pipe = [*COMMAND, *shlex.split(row.command)], subprocess.PIPE
    with Path(row.stdout or os.devnull).open("w") as file:
        out = file if row.stdout else pipe
        return subprocess.Popen(command, cwd=here, env={**os.environ, **QUIET}, stdout=out, stderr=pipe, text=True)


def ended(row: Row, process: subprocess.Popen[str]) -> Ended:
    """Wait for the process, which is interrupted first at the line that the row names."""
    said = ""
    if row.interrupted_at:
        assert process.stderr is not None
        said = next(line for line in process.stderr if row.interrupted_at in line)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    return Ended(process.returncode, out or "", said + err)


def called(row: Row, here: Path) -> Ended:
    """Make a call in Python; what it raises reads as the command line would say it."""
    assert row.call is not None
    with pytest.raises(ExpoundError) as raised:
        row.call(here)
    error = raised.value
    return Ended(error.exit_code, "", f"{type(error).__name__}: {error.what}\n{error.remedy}\n")


@pytest.fixture(scope="module")
def waiting(
    tiny_llama_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Row, subprocess.Popen[str]]]:
    """Start what waits for long, all of it at once."""
    with ExitStack() as stack:
        processes = {}
        for row in (row for row in ROWS if row.patient):
            here = prepared(tmp_path_factory.mktemp("waiting"), tiny_llama_folder)
            stack.enter_context(put(row, here))
            processes[row] = started(row, here)
        yield processes
        for process in processes.values():
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def alone(tiny_llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Row, Ended]:
    """Make the rows that need disks of their own."""
    if subprocess.run([*ALONE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    folder = str(tmp_path_factory.mktemp("disks"))
    command = [*ALONE, sys.executable, "-m", "tests.bad_input.alone", folder, str(tiny_llama_folder)]
    told = subprocess.run(command, cwd=ROOT, env={**os.environ, **QUIET}, capture_output=True, text=True, check=True)
    rows = [row for row in ROWS if row.disk]
    return {row: Ended(*one) for row, one in zip(rows, json.loads(told.stdout), strict=True)}


@pytest.fixture
def here(tmp_path: Path, tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of a row, and stand in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return prepared(tmp_path, tiny_llama_folder)


def assert_holds(row: Row, said: Ended) -> None:
    """Hold what was said to the row."""
    assert said.code == row.code, said
    assert row.matches(said.err), said.err
    assert "Traceback" not in said.err
    assert row.code == 0 or said.out == ""


QUICK = [row for row in ROWS if not (row.patient or row.disk)]


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.does)
def test_a_mistake_is_told_in_two_sentences(
    row: Row, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with put(row, here):
        before = sorted(path.name for path in here.iterdir())
        if row.call:
            said = called(row, here)
        elif row.interrupted_at or row.stdout:
            said = ended(row, started(row, here))
        else:
            monkeypatch.setattr(sys, "argv", ["expound", *shlex.split(row.command)])
            said = _commanded(capfd)
    assert_holds(row, said)
    assert sorted(path.name for path in here.iterdir()) == before


def _commanded(capfd: pytest.CaptureFixture[str]) -> Ended:
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capfd.readouterr()
    assert isinstance(ended.value.code, int)
    return Ended(ended.value.code, said.out, said.err)


@pytest.mark.parametrize("row", [row for row in ROWS if row.disk], ids=lambda row: row.does)
def test_a_disk_that_fails_is_told(row: Row, alone: Mapping[Row, Ended]) -> None:
    assert_holds(row, alone[row])


@pytest.mark.parametrize("row", [row for row in ROWS if row.patient], ids=lambda row: row.does)
def test_what_is_waited_for_in_vain_is_told(row: Row, waiting: Mapping[Row, subprocess.Popen[str]]) -> None:
    assert_holds(row, ended(row, waiting[row]))
