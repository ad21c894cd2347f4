"""An open project folder: its lock, its rounds with their frozen settings, and what may change meanwhile."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest

from expound.errors import (
    ExpoundError,
    FolderBusy,
    InputError,
    ModelRefused,
    ProjectNotFound,
    PromptError,
    SettingsError,
    TaskError,
)
from expound.files import locked
from expound.panel.people import People
from expound.panel.simulated import SimulatedPanel
from expound.project import Project, open_project, read_settings
from expound.records import Decision, PolicyRecord
from expound.reporting.progress import PlainProgress
from tests.support.projects import Shape, make_project
from tests.support.tiny import save_tiny

HOLD = """
import sys
from pathlib import Path
from expound.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def opened(folder: Path, said: io.StringIO | None = None) -> Iterator[Project]:
    with open_project(folder, PlainProgress(said or io.StringIO())) as project:
        yield project


@pytest.fixture
def folder(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", tiny_llama_folder)


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "project.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def decide(project: Project, number: int) -> None:
    project.book.add(Decision(number, "too_little", "Too little.", "Add prompts."))


# --- the lock -----------------------------------------------------------------------------------------------------


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process that holds the folder's lock."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_told_who_works(folder: Path) -> None:
    with holder(folder) as process:
        with pytest.raises(FolderBusy) as raised, opened(folder):
            pass
        assert f"process {process.pid} is working in {folder}" in raised.value.what
        with open_project(folder, PlainProgress(), lock=False) as project:
            assert project.book.rounds() == ()


def test_the_lock_dies_with_its_holder(folder: Path) -> None:
    with holder(folder) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with locked(folder):
            assert (folder / "expound.lock").read_text(encoding="utf-8") == str(os.getpid())


def test_the_lock_is_let_go_of_after_an_error(folder: Path) -> None:
    with pytest.raises(ValueError, match="mine"), opened(folder):
        raise ValueError("mine")
    with opened(folder):
        pass


# --- the folder ---------------------------------------------------------------------------------------------------


def test_no_project_is_told_from_a_broken_one(folder: Path, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere", folder / "project.toml"):
        with pytest.raises(ProjectNotFound, match=r"has no project.toml.*expound init"):
            read_settings(place)
    (folder / "project.toml").write_bytes(b"[project]\nname = '\xff'\n")
    with pytest.raises(SettingsError, match=r"is not UTF-8 at byte 18.*Save it as UTF-8"):
        read_settings(folder)


def test_a_byte_order_mark_does_no_harm(folder: Path) -> None:
    text = (folder / "project.toml").read_bytes()
    (folder / "project.toml").write_bytes(b"\xef\xbb\xbf" + text)
    assert read_settings(folder).project.name == "test"


def test_an_unknown_task_is_told_before_anything_is_touched(folder: Path) -> None:
    change(folder, '"answer"', '"anser"')
    with pytest.raises(TaskError, match="no task 'anser'"), opened(folder):
        pass
    assert not (folder / "expound.db").exists()


# --- rounds -------------------------------------------------------------------------------------------------------


def test_a_round_freezes_its_settings(folder: Path) -> None:
    said = io.StringIO()
    with opened(folder) as project:
        first = project.open_round()
        assert first.number == 1
    change(folder, "epochs = 2", "epochs = 3")
    with opened(folder, said) as project:
        current = project.open_round()
        assert current == first
        assert project.settings_of(current).ppo.epochs == 2
        assert "project.toml has changed (ppo.epochs)" in said.getvalue()
        assert "takes effect in round 2" in said.getvalue()
        decide(project, 1)
        following = project.open_round()
        assert (following.number, project.settings_of(following).ppo.epochs) == (2, 3)


def test_every_verb_that_reads_the_open_round_reports_the_change(folder: Path) -> None:
    said = io.StringIO()
    with opened(folder) as project:
        project.open_round()
    change(folder, "epochs = 2", "epochs = 3")
    with opened(folder, said) as project:
        assert project.round(None).number == 1
        assert "ppo.epochs" in said.getvalue()


def test_what_takes_effect_at_once_is_not_reported_as_frozen(folder: Path) -> None:
    said = io.StringIO()
    with opened(folder) as project:
        project.open_round()
    change(folder, "port = 0", "port = 4711")
    change(folder, 'name = "test"', 'name = "other"')
    with opened(folder, said) as project:
        project.open_round()
        assert "has changed" not in said.getvalue()


def test_an_open_round_keeps_its_panel(folder: Path) -> None:
    """Simulated raters never judge in a round that people began, whatever project.toml says meanwhile."""
    change(folder, 'kinds = ["simulated"]', 'kinds = ["people"]')
    change(folder, '["comparison", "rating"]', '["comparison"]')
    with opened(folder) as project:
        project.open_round()
        assert project.needs_site
    change(folder, 'kinds = ["people"]', 'kinds = ["simulated"]')
    with opened(folder) as project:
        assert isinstance(project.panel, People)
        assert project.needs_site
    with opened(folder) as project:
        decide(project, 1)
        assert not project.needs_site
        project.open_round()
        assert isinstance(project.panel, SimulatedPanel)


def test_the_next_round_of_the_same_command_has_the_panel_of_its_own_settings(folder: Path) -> None:
    with opened(folder) as project:
        project.open_round()
    change(folder, 'kinds = ["simulated"]', 'kinds = ["people"]')
    change(folder, '["comparison", "rating"]', '["comparison"]')
    with opened(folder) as project:
        learner, task = project.learner, project.task
        assert isinstance(project.panel, SimulatedPanel)
        assert project.needs_site, "people will be needed before the command ends"
        decide(project, 1)
        project.open_round()
        assert isinstance(project.panel, People)
        assert project.learner is not learner
        assert project.task is not task


def test_the_last_round_is_the_last(folder: Path) -> None:
    with (folder / "project.toml").open("a", encoding="utf-8") as file:
        file.write("[stopping]\nmax_rounds = 1\n")
    with opened(folder) as project:
        project.open_round()
        decide(project, 1)
        with pytest.raises(SettingsError, match=r"round 2 would be beyond .*max_rounds = 1.*Raise it"):
            project.open_round()


def test_rounds_are_found_by_number_or_refused(folder: Path) -> None:
    with opened(folder) as project:
        with pytest.raises(ProjectNotFound, match=r"no round has begun yet.*expound run"):
            project.round(None)
        first = project.open_round()
        assert project.round(None) == project.round(1) == first
        with pytest.raises(ProjectNotFound, match=r"there is no round 3 .*rounds 1 to 1"):
            project.round(3)
        with pytest.raises(ProjectNotFound, match=r"there is no round 0 .*rounds 1 to 1"):
            project.round(0)


def test_resolved_settings_and_versions_are_there_before_any_work(folder: Path) -> None:
    with opened(folder) as project:
        current = project.open_round()
        text = (folder / "rounds" / "001" / "settings.json").read_text(encoding="utf-8")
        assert text == current.settings
        assert '"torch"' in current.versions
        assert project.book.responses() == ()


def test_what_comes_first_is_named(folder: Path) -> None:
    with opened(folder) as project:
        current = project.open_round()
        for requires, verb in (
            (project.require_ballots, "ask"),
            (project.require_settlement, "settle"),
            (project.require_reward, "fit"),
            (project.require_tuned, "tune"),
        ):
            with pytest.raises(InputError, match=f"Run 'expound {verb}' first"):
                requires(current)


# --- nothing that cannot run is frozen ----------------------------------------------------------------------------


def test_a_model_that_is_not_there_begins_no_round(folder: Path) -> None:
    good = read_settings(folder).project.model
    change(folder, good, "/nowhere/at/all")
    with opened(folder) as project, pytest.raises(InputError):
        project.open_round()
    change(folder, "/nowhere/at/all", good)
    with opened(folder) as project:
        assert project.open_round().number == 1


def test_a_prompt_that_does_not_fit_the_model_begins_no_round(folder: Path) -> None:
    extra = folder / "prompts" / "long.txt"
    extra.write_text("Why? " * 500, encoding="utf-8")
    with opened(folder) as project, pytest.raises(PromptError, match=r"Prompt long has .*but the model holds 256"):
        project.open_round()
    extra.write_text("Why?", encoding="utf-8")
    with opened(folder) as project:
        project.open_round()
        assert "long" in {prompt.name for prompt in project.book.prompts()}
        assert max(len(prompt.text) for prompt in project.book.prompts()) < 100


@pytest.mark.parametrize(
    ("added", "kind", "message"),
    [
        ("[ppo]\nlive_layers = 40\n", SettingsError, r"live_layers = 40, but the model has \d layers"),
        ('[asking]\ncriteria = ["claritty"]\n', SettingsError, r"'answer' has no 'claritty'. Did you mean 'clarity'"),
        ("[sampling]\ntemperature = 0\n", SettingsError, r"temperature: Input should be greater than 0"),
    ],
)
def test_settings_that_cannot_run_begin_no_round(
    folder: Path, added: str, kind: type[ExpoundError], message: str
) -> None:
    table, key, *_ = added.splitlines()
    change(folder, table, f"{table}\n{key}")
    with pytest.raises(kind, match=message), opened(folder) as project:
        project.open_round()
    change(folder, f"{table}\n{key}", table)
    with opened(folder) as project:
        assert project.open_round().number == 1


def test_prompts_without_a_split_to_measure_on_begin_no_round(folder: Path) -> None:
    lines = [f'{{"text": "{word}?", "split": "train"}}\n' for word in ("Why", "How")]
    (folder / "prompts" / "prompts.jsonl").write_text("".join(lines), encoding="utf-8")
    with opened(folder) as project, pytest.raises(PromptError, match=r"none of the 2 prompts is of split 'held_out'"):
        project.open_round()


def test_live_layers_stay_once_a_policy_is_tuned(folder: Path) -> None:
    """The next policy goes on from the last one, whose layers they are."""
    with opened(folder) as project:
        project.open_round()
        project.book.add(PolicyRecord("tuned", 1, "rounds/001/policy"))
        decide(project, 1)
    change(folder, "[ppo]", "[ppo]\nlive_layers = 2")
    with opened(folder) as project, pytest.raises(SettingsError, match=r"live_layers cannot change .* back to 'third'"):
        project.open_round()


def test_leftovers_of_another_database_are_not_taken_for_the_rounds_own(folder: Path) -> None:
    with opened(folder) as project, project.step(project.open_round(), "sample train"):
        pass
    for path in folder.glob("expound.db*"):
        path.unlink()
    with opened(folder) as project, pytest.raises(InputError, match=r"001 is there already, .* knows no such round"):
        project.open_round()


def test_an_own_task_stays_while_a_round_is_open(folder: Path) -> None:
    text = resources.files("expound.tasks").joinpath("answer.toml").read_text(encoding="utf-8")
    own = folder / "task.toml"
    own.write_text(text.replace('name = "answer"', 'name = "mine"'), encoding="utf-8")
    change(folder, 'task = "answer"', 'task = "mine"')
    with opened(folder) as project:
        project.open_round()
    kept = own.read_text(encoding="utf-8")
    own.write_text(kept.replace("Answer in two sentences", "Answer"), encoding="utf-8")
    with opened(folder) as project, pytest.raises(TaskError, match=r"task.toml has changed since round 1 began"):
        _ = project.task
    with opened(folder) as project:
        decide(project, 1)
        assert "Answer:" in project.task.template
        project.open_round()


# --- what a round is about ----------------------------------------------------------------------------------------


def test_a_round_is_about_the_prompts_that_are_in_the_files(folder: Path) -> None:
    extra = folder / "prompts" / "extra.jsonl"
    extra.write_text('{"text": "Why now?", "split": "train"}\n', encoding="utf-8")
    with opened(folder) as project:
        first = project.open_round()
        assert "Why now?" in {prompt.text for prompt in project.prompts("train", first)}
        decide(project, 1)
        extra.unlink()
        second = project.open_round()
        assert "Why now?" not in {prompt.text for prompt in project.prompts("train", second)}
        assert len(project.prompts("train", first)) == len(project.prompts("train", second)) + 1


def test_held_out_responses_are_used_again_until_sampling_changes(folder: Path) -> None:
    """Else new explanations of 64 tokens would be compared with old ones that were cut at 32."""
    sampled = []
    for new_tokens in (None, None, 9, None):
        if new_tokens:
            change(folder, "max_new_tokens = 12", f"max_new_tokens = {new_tokens}")
        with opened(folder) as project:
            current = project.open_round()
            project.sample_into_book("held_out", project.reference, 1, current)
            sampled.append(len(project.book.responses("held_out", round_=current.number)))
            decide(project, current.number)
    held_out = sampled[0]
    assert sampled == [held_out, 0, held_out, 0]


def test_a_line_that_a_crash_cut_short_is_passed_over(folder: Path) -> None:
    with opened(folder) as project:
        current = project.open_round()
        with project.step(current, "settle"):
            pass
        with (folder / "rounds" / "001" / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write('{"verb": "fit", "sec')
        assert list(project.seconds(current)) == ["settle"]


def test_a_model_may_move_but_not_change(folder: Path, tiny_llama_folder: Path, tmp_path: Path) -> None:
    with opened(folder) as project:
        current = project.open_round()
        project.book.add(PolicyRecord(project.loaded.identity, 0, ""))
    (tmp_path / "moved").symlink_to(tiny_llama_folder)
    change(folder, str(tiny_llama_folder), str(tmp_path / "moved"))
    with opened(folder) as project:
        assert project.loaded.identity == project.book.policies()[0].id
    change(folder, str(tmp_path / "moved"), str(save_tiny(tmp_path / "another", seed=1)))
    with opened(folder) as project:
        assert current.number == 1
        with pytest.raises(ModelRefused, match=rf"is not the model with which round 1 began.*{tiny_llama_folder}"):
            _ = project.loaded


def test_the_shape_of_a_project_of_people(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "people", tiny_llama_folder, Shape(panel="people"))
    with open_project(folder, PlainProgress(), wait=False) as project:
        assert not project.needs_site
    with open_project(folder, PlainProgress()) as project:
        assert project.needs_site
