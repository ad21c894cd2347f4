"""What the pages promise: every block marked to run runs, and every command, option, setting, name and link is there.

A fence that says `run`, as in "```bash run" or "```python run", is run from top to bottom in an empty folder; one that
says `run project` in a folder that holds `incidents`, a project of which one round is decided.
"""

from __future__ import annotations

import shlex
import shutil
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import typer

import expound
from expound import cli, errors
from expound.settings import Section, Settings
from expound.settings import parse as parse_settings
from expound.tasks.formats import FORMATS
from expound.tasks.judgments import NAMES, read_judgments
from expound.tasks.kinds import Task
from tests.docs.reading import (
    PAGES,
    ROOT,
    Fence,
    anchors_of,
    commands_named,
    fences_of,
    links_of,
    names_in,
    run_python,
    run_shell,
    spans_of,
    text_of,
    with_model,
)

COMMANDS = {name: command for name, command in typer.main.get_command(cli.app).commands.items() if not command.hidden}
OPTIONS = {name: {opt for one in command.params for opt in one.opts} | {"--help"} for name, command in COMMANDS.items()}
TESTED_APART = ("docs/functions.md",)  # its scripts have to do more than run
RUNNING = [
    (page, number)
    for page in PAGES
    for number, fence in enumerate(fences_of(page))
    if fence.runs and page not in TESTED_APART
]
NEEDED = '[project]\nname = "shown"\ntask = "answer"\nmodel = "shown"\n'
OTHERS_OPTIONS = {"--no-deps", "--check", "--index-url"}


def ran(fence: Fence, folder: Path, environment: dict[str, str], model: Path) -> tuple[int, str]:
    if fence.is_shell:
        done = run_shell(fence.body, folder, environment)
    else:
        assert fence.language == "python", f"nobody knows how to run a block of '{fence.language}'"
        done = run_python(with_model(fence.body, model), folder, environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("page", "number"), RUNNING)
def test_the_blocks_marked_run_do(
    page: str,
    number: int,
    environment: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tiny_llama_folder: Path,
) -> None:
    fence = fences_of(page)[number]
    if "project" in fence.words:
        shutil.copytree(request.getfixturevalue("walked"), tmp_path, dirs_exist_ok=True)
    code, said = ran(fence, tmp_path, environment, tiny_llama_folder)
    assert code == 0, f"{page}:\n{fence.body}\n{said}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/reference/mistakes.md"])
def test_every_command_and_option_exists(page: str) -> None:
    for line in commands_named(page):
        words = shlex.split(line.replace("…", ""), comments=True)
        for place in (place for place, word in enumerate(words) if word == "expound"):
            verb, *rest = words[place + 1 :] or ["--help"]
            if verb.startswith("--"):
                assert verb in ("--help", "--version"), f"{page}: {line}"
            elif verb.islower():
                assert verb in COMMANDS, f"{page} names 'expound {verb}'"
                named = {word.partition("=")[0] for word in rest if word.startswith("--")}
                assert named <= OPTIONS[verb], f"{page}: {line}"
    alone = {span.split()[0] for span in spans_of(page) if span.startswith("--")}
    assert alone <= set().union(*OPTIONS.values()) | OTHERS_OPTIONS, page


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_verb_has_a_page_with_its_own_options(verb: str) -> None:
    page = f"docs/verbs/{verb}.md"
    text = text_of(page)
    assert text.startswith(f"# {verb}\n")
    shown = {line.split("`")[1].split()[0] for line in text.splitlines() if line.startswith("- `--")}
    assert shown <= OPTIONS[verb], page


def test_every_page_of_a_verb_is_of_a_verb() -> None:
    assert {path.stem for path in (ROOT / "docs" / "verbs").glob("*.md")} == set(COMMANDS)


def keys_of(table: str) -> set[str]:
    annotation = Settings.model_fields[table].annotation
    sections = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
    return {key for one in sections if issubclass(one, Section) for key in one.model_fields}


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_exists(page: str) -> None:
    for span in spans_of(page):
        if not span.startswith("[") or "]" not in span:
            continue
        table, _, key = span[1:].partition("]")
        words = key.split()
        if table in Settings.model_fields and words:
            assert words[0] in keys_of(table), f"{page}: {span}"
        elif table.isidentifier():
            assert table in {*Settings.model_fields, *Task.model_fields}, f"{page}: {span}"


@pytest.mark.parametrize("page", PAGES)
def test_the_settings_and_tasks_shown_are_accepted(page: str) -> None:
    for fence in (fence for fence in fences_of(page) if fence.language == "toml"):
        tables = tomllib.loads(fence.body)
        if set(tables) <= set(Settings.model_fields):
            parse_settings(fence.body if "project" in tables else f"{NEEDED}\n{fence.body}", page)
        else:
            assert set(tables) <= set(Task.model_fields), f"{page}: {sorted(tables)}"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    for link in links_of(page):
        target = (here / link.file).resolve() if link.file else ROOT / page
        assert target.exists(), f"{page}: [{link.text}]({link.file})"
        if link.anchor:
            assert link.anchor in anchors_of(target.relative_to(ROOT).as_posix()), f"{page}: {link.file}#{link.anchor}"
        if target.suffix == ".py" and link.text.startswith("`"):
            assert link.text.strip("`") in names_in(target), f"{page}: {link.text} is not in {link.file}"


def test_every_error_is_explained() -> None:
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ExpoundError)]
    assert {one.__name__.lower() for one in classes} <= anchors_of("docs/troubleshooting.md")


def test_anchors_are_those_of_the_host() -> None:
    assert "see-it-work" in anchors_of("README.md")
    assert "文件格式" not in anchors_of("README.md")
    assert "闭环全程" in anchors_of("docs/zh/road.md")
    assert "ppo" in anchors_of("docs/reference/settings.md")


def test_the_judgments_shown_are_read_and_every_format_is_named(tmp_path: Path) -> None:
    page = "docs/formats.md"
    shown = tmp_path / "shown.jsonl"
    shown.write_text(next(fence.body for fence in fences_of(page) if fence.language == "jsonl"), encoding="utf-8")
    assert {NAMES[type(one)] for one in read_judgments(shown)} == {*NAMES.values()}
    for name in FORMATS:
        assert f"| `{name}` |" in text_of(page)


def test_every_name_of_the_package_is_on_its_page() -> None:
    assert set(expound.__all__) <= set(spans_of("docs/python.md"))
