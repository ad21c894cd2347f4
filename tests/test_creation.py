"""A project folder appears whole or not at all, from an example, from files or from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expound.cli import KINDS
from expound.creation import Given, create, examples, preview
from expound.errors import ExpoundError, InputError, ProjectNotFound, PromptError, TaskError
from expound.project import read_settings
from expound.tasks.kinds import built_in, skeleton
from expound.tasks.material import read_prompts

MODEL = "some/model"


def make(folder: Path, *prompts: Given, task: str = "answer", model: str = MODEL, example: str | None = None) -> Path:
    create(folder, task=task, model=model, prompts=prompts, example=example)
    return folder


def texts_of(folder: Path) -> list[str]:
    return [prompt.text for prompt in read_prompts(folder, read_settings(folder).project.prompts)]


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_texts_objects_and_files_become_prompts(tmp_path: Path) -> None:
    given = write(tmp_path / "mine.jsonl", '{"text": "Why three?", "source": "Three."}')
    folder = make(tmp_path / "project", "Why one?", {"text": "Why two?", "source": "Two."}, given)
    assert sorted(texts_of(folder)) == ["Why one?", "Why three?", "Why two?"]


def test_a_new_project_asks_people_for_comparisons(tmp_path: Path) -> None:
    settings = read_settings(make(tmp_path / "my project", "Why one?", "Why two?"))
    assert (settings.project.name, settings.project.task, settings.project.model) == ("my project", "answer", MODEL)
    assert settings.panel.kinds == ("people",)
    assert settings.asking.ballots == ("comparison",)


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "解释", "a'b]#c"])
def test_any_name_of_a_folder_is_written_as_toml(name: str, tmp_path: Path) -> None:
    assert read_settings(make(tmp_path / name, "Why?", "How?")).project.name == name


def test_a_model_on_disk_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_settings(make(tmp_path / "project", "Why?", "How?", model="model")).project.model == str(
        tmp_path / "model"
    )


def test_an_empty_folder_is_filled_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that stands in the folder stands in the project afterwards."""
    here = tmp_path / "here"
    here.mkdir()
    before = here.stat().st_ino
    monkeypatch.chdir(here)
    make(Path(), "Why?", "How?")
    assert here.stat().st_ino == before
    assert sorted(path.name for path in here.iterdir()) == ["project.toml", "prompts"]
    assert read_settings(here).project.name == "here"


def test_every_example_is_a_project(tmp_path: Path) -> None:
    assert examples() == ("answer", "diagnosis", "recommendation", "summary") == built_in()
    assert set(examples()) == set(KINDS.replace(" or ", ", ").split(", ")), "what the command line offers"
    for example in examples():
        folder = make(tmp_path / example, example=example)
        settings = read_settings(folder)
        assert (settings.project.task, settings.panel.kinds) == (example, ("simulated",))
        prompts = read_prompts(folder, settings.project.prompts)
        assert len(prompts) >= 60
        assert sum(prompt.split == "held_out" for prompt in prompts) >= 24
        shown = preview(folder)
        assert shown.count("[user]") == 3
        assert shown.endswith(f"Next: expound run {folder}")


def test_the_examples_differ_in_name_task_prompts_and_criteria_alone(tmp_path: Path) -> None:
    """What is found with one can be set beside what is found with another."""
    found = [read_settings(make(tmp_path / example, example=example)) for example in examples()]
    asked = [one.asking.model_copy(update={"criteria": ()}) for one in found]
    assert all(one == asked[0] for one in asked)
    same = {"project": found[0].project, "asking": found[0].asking}
    assert all(one.model_copy(update=same) == found[0] for one in found)
    assert len({one.project.name for one in found}) == len(found)
    assert {one.project.model for one in found} == {found[0].project.model}


def test_a_new_task_is_there_to_edit_and_runs_as_it_is(tmp_path: Path) -> None:
    folder = make(tmp_path / "project", "Why one?", "Why two?", task="incident report")
    assert read_settings(folder).project.task == "incident report"
    assert (folder / "task.toml").read_text(encoding="utf-8") == skeleton("incident report")
    assert not (folder / "prompts" / "samples.jsonl").exists()
    shown = preview(folder)
    assert "[user] Question: Why one?" in shown
    assert shown.splitlines()[-1] == (
        f"Next: write your task into {folder}/task.toml (a working example; its comments say what each part is for), "
        f"then expound run {folder}"
    )


def test_a_new_task_without_prompts_has_samples_of_both_splits(tmp_path: Path) -> None:
    folder = make(tmp_path / "project", task="incident")
    shown = preview(folder)
    assert shown.count("[user] Text: ") == 2
    assert "2 prompts: 1 train, 1 held-out." in shown
    assert f"then put your prompts into {folder}/prompts and remove samples.jsonl, then expound run" in shown


def test_the_next_step_of_an_edited_task_is_to_run_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "project", "Why one?", "Why two?", task="incident")
    own = folder / "task.toml"
    own.write_text(own.read_text(encoding="utf-8").replace("Question:", "Incident:"), encoding="utf-8")
    shown = preview(folder)
    assert "[user] Incident: Why one?" in shown
    assert shown.splitlines()[-1] == f"Next: expound run {folder}"


def test_a_long_prompt_is_previewed_in_part(tmp_path: Path) -> None:
    long = {"text": "Why?", "source": "The valve was closed. " * 2000}
    shown = preview(make(tmp_path / "project", long, "How?"))
    assert len(shown) < 3000
    assert "characters in all)" in shown


def test_a_file_holds_no_folder(tmp_path: Path) -> None:
    held = write(tmp_path / "thesis.txt", "years of work")
    with pytest.raises(ProjectNotFound, match=r"thesis.txt is a file, so that no folder can be made in it"):
        make(held / "deep" / "project", "Why?", "How?")


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    held = write(tmp_path / "held" / "thesis.txt", "years of work")
    for folder in (held.parent, held):
        with pytest.raises(ProjectNotFound, match="is there already and not empty"):
            make(folder, "Why?")
    assert held.read_text(encoding="utf-8") == "years of work\n"


@pytest.mark.parametrize(
    ("prompts", "options", "kind", "message"),
    [
        ((), {}, PromptError, "none were given.*--example answer"),
        (("Why?",), {"task": "anser"}, TaskError, "no task 'anser'.*Did you mean 'answer'"),
        (("Why?",), {"task": "my/task.toml"}, TaskError, "cannot be called 'my/task.toml'"),
        (("Why?",), {"task": "incident"}, PromptError, "needs at least two prompts, and there is 1"),
        ((), {"example": "nope"}, InputError, "no example 'nope'.*There are: answer"),
        (("Why?", "Why?"), {}, PromptError, "asks the same as"),
        (({"txt": "Why?"},), {}, PromptError, "no column 'txt'.*Did you mean 'text'"),
        (("Why?",), {}, PromptError, "needs at least two prompts, and there is 1"),
        ((5,), {}, PromptError, "5 is no prompt"),
        (("  ",), {}, PromptError, "'text' is missing or empty"),
        ((Path("nowhere.jsonl"),), {}, PromptError, "no prompt file nowhere.jsonl"),
    ],
)
def test_a_refusal_leaves_nothing(
    prompts: tuple[Given, ...], options: dict[str, str], kind: type[ExpoundError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message) as raised:
        make(tmp_path / "project", *prompts, **options)
    assert ".staging" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_line_is_named_in_the_users_own_file(tmp_path: Path) -> None:
    given = write(tmp_path / "mine.jsonl", json.dumps({"text": "Why?"}), '{"text": ')
    with pytest.raises(PromptError) as raised:
        make(tmp_path / "project", given)
    assert raised.value.what.startswith(f"{given}: line 2: not JSON")


def test_two_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "same.txt", "Why one?")
    second = write(tmp_path / "b" / "same.txt", "Why two?")
    with pytest.raises(PromptError, match=r"two of the prompt files are called same.txt"):
        make(tmp_path / "project", first, second)
    own = write(tmp_path / "prompts.jsonl", '{"text": "Why three?"}')
    with pytest.raises(PromptError, match=r"two of the prompt files are called prompts.jsonl"):
        make(tmp_path / "project", "Why one?", own)


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    given = write(tmp_path / "[a]*.txt", "Why?")
    assert sorted(texts_of(make(tmp_path / "project", "How?", given))) == ["How?", "Why?"]
