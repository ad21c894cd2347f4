"""The verbs as functions: what they refuse, what they wait for, and the handle that carries them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import expound
from expound import api
from expound.errors import (
    ExpoundError,
    InputError,
    ModelRefused,
    ProjectNotFound,
    PromptError,
    SettingsError,
    WaitingForPeople,
)
from expound.project import open_project
from expound.reporting.progress import PlainProgress
from tests.support.judging import judge
from tests.support.projects import Shape, make_project

QUIET = PlainProgress(io.StringIO())
PEOPLE = Shape(panel="people", updates=1)


@pytest.fixture
def people(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return make_project(tmp_path / "people", tiny_llama_folder, PEOPLE)


# --- people -------------------------------------------------------------------------------------------------------


def test_single_verbs_never_wait_and_the_road_goes_on_when_people_have_answered(people: Path) -> None:
    count = api.ask(people, progress=QUIET)
    with pytest.raises(WaitingForPeople, match=rf"{count} of {count} judgments of round 1 .*answered: none"):
        api.settle(people, progress=QUIET)
    judge(people, "train", limit=3)
    with pytest.raises(WaitingForPeople, match=rf"{count - 3} of {count} .*answered: Ann 3.*expound serve"):
        api.settle(people, progress=QUIET)
    judge(people, "train")
    assert [skill.n for skill in api.settle(people, progress=QUIET).skills] == [count]
    api.fit(people, progress=QUIET)
    api.tune(people, progress=QUIET)
    with pytest.raises(WaitingForPeople, match=r"6 of 6 judgments of round 1"):
        api.measure(people, progress=QUIET)
    assert not (people / "report.html").exists()
    judge(people, "held_out")
    decision = api.measure(people, progress=QUIET)
    assert decision.round == 1
    assert "simulated" not in decision.sentence
    assert (people / "report.html").is_file()


def test_run_returns_waiting_when_asked_not_to_wait(people: Path) -> None:
    done = api.run(people, wait=False, progress=QUIET)
    assert isinstance(done, api.Waiting)
    assert "12 of 12 judgments of round 1 are missing" in done.what
    assert "expound serve" in done.remedy
    judge(people, "train")
    again = api.run(people, wait=False, progress=QUIET)
    assert isinstance(again, api.Waiting)
    assert "6 of 6" in again.what


# --- the order of the verbs ---------------------------------------------------------------------------------------


def test_a_verb_that_comes_too_early_names_the_one_that_is_first(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", tiny_llama_folder, Shape(updates=1))
    handle = expound.open(folder, QUIET)
    for verb in (handle.settle, handle.fit, handle.tune, handle.measure, handle.report):
        with pytest.raises(ProjectNotFound, match=f"no round has begun yet. Run 'expound run {folder}' first"):
            verb()
    with pytest.raises(ModelRefused, match=f"no tuned policy yet. Run 'expound run {folder}' first"):
        handle.export(tmp_path / "out")
    assert handle.sample() == 5 * 3
    with pytest.raises(InputError, match=f"no ballots yet. Run 'expound ask {folder}' first"):
        handle.settle()
    assert handle.ask() > 0
    with pytest.raises(InputError, match=f"not settled yet. Run 'expound settle {folder}' first"):
        handle.fit()
    handle.settle()
    with pytest.raises(InputError, match=f"no reward yet. Run 'expound fit {folder}' first"):
        handle.tune()
    card = handle.fit()
    with pytest.raises(InputError, match=f"no tuned policy yet. Run 'expound tune {folder}' first"):
        handle.measure()
    tuned = handle.tune()
    assert (card.round, tuned.round, handle.measure().round) == (1, 1, 1)
    assert handle.tune() == tuned
    assert handle.report() == folder / "rounds" / "001" / "report.html"
    assert "is decided" in handle.status()
    assert {rater.source for rater in api.raters(folder)} == {"simulated"}
    assert (handle.export(tmp_path / "out") / "model.safetensors").is_file()


# --- init and open ------------------------------------------------------------------------------------------------


def test_init_takes_texts_objects_and_files_and_returns_a_handle(tiny_llama_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"text": "Why three?"}\n', encoding="utf-8")
    prompts = ["Why one?", {"text": "Why two?", "source": "Two."}, tmp_path / "more.jsonl"]
    handle = expound.init(tmp_path / "project", model=tiny_llama_folder, prompts=prompts)
    assert isinstance(handle, expound.Handle)
    assert "3 prompts" in handle.preview()
    assert "No round has begun" in handle.status()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"example": "answer", "prompts": ["Why?"]}, InputError, "brings its own task, model and prompts"),
        ({"example": "answer", "model": "mine"}, InputError, "brings its own task, model and prompts"),
        ({}, PromptError, "none were given"),
        ({"prompts": "Why?"}, PromptError, "one prompt was given"),
    ],
)
def test_init_refuses(options: dict[str, str], kind: type[ExpoundError], message: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=message):
        expound.init(tmp_path / "project", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_open_refuses_what_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFound):
        expound.open(tmp_path)


def test_verbs_are_loaded_when_they_are_used_and_nothing_else_is_there() -> None:
    assert all(callable(vars(expound).get(name) or getattr(expound, name)) for name in expound.__all__)
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        expound.frobnicate  # type: ignore[attr-defined]  # noqa: B018


def test_no_rounds_cannot_be_walked(people: Path) -> None:
    with pytest.raises(InputError, match="0 rounds cannot be walked"):
        api.run(people, rounds=0)


# --- using the policy ---------------------------------------------------------------------------------------------


def test_explain_knows_prompts_by_name_and_says_when_nothing_is_tuned(people: Path) -> None:
    said = io.StringIO()
    before_any_round = api.explain(people, "pump-run-dry", temperature=1.0, progress=QUIET)
    with open_project(people, QUIET, lock=False) as project:
        assert project.book.policies() == (), "looking at a model does not choose it"
    api.ask(people, progress=QUIET)
    by_name = api.explain(people, "pump-run-dry", temperature=1.0, progress=PlainProgress(said))
    assert by_name == before_any_round
    with open_project(people, QUIET, lock=False) as project:
        prompt = next(found for found in project.book.prompts() if found.name == "pump-run-dry")
    by_text = api.explain(people, prompt.text, source=prompt.source, temperature=1.0, progress=QUIET)
    assert by_name == by_text
    assert "Nothing is tuned yet: the reference explains." in said.getvalue()
    assert api.explain(people, prompt.text, source=prompt.source, temperature=1.0, reference=True) == by_text


def test_explain_refuses_nothing_and_too_much(people: Path) -> None:
    with pytest.raises(InputError, match="nothing is asked"):
        api.explain(people, " ", progress=QUIET)
    with pytest.raises(PromptError, match="but the model holds 256"):
        api.explain(people, "Why? " * 500, progress=QUIET)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"best_of": 0}, "the best of 0 cannot be chosen"),
        ({"best_of": 65}, "the best of 65 cannot be chosen"),
        ({"best_of": 4, "temperature": 0.0}, "4 explanations at temperature 0 are the same 4 times"),
        ({"temperature": 3.0}, "a temperature of 3.0 cannot be sampled at"),
        ({"best_of": 4}, "no reward has been fitted yet, which could choose the best"),
    ],
)
def test_explain_refuses_what_cannot_be_drawn_or_chosen(people: Path, asked: dict[str, float], what: str) -> None:
    with pytest.raises(InputError, match=what):
        api.explain(people, "Why?", progress=QUIET, **asked)


def test_export_refuses_a_folder_that_is_there(people: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="is there already"):
        api.export(people, tmp_path)


def test_an_invitation_needs_to_know_where_the_site_is(people: Path) -> None:
    with pytest.raises(SettingsError, match=r"port is 0.*--port"):
        api.invite(people, "Ann")
    assert api.raters(people) == ()
    assert api.invite(people, "Ann", port=4711).startswith("http://127.0.0.1:4711/join/")
    assert [rater.name for rater in api.raters(people)] == ["Ann"]


# --- the demonstration --------------------------------------------------------------------------------------------


def test_the_demonstration_walks_no_project_of_somebodys_own(people: Path, tiny_llama_folder: Path) -> None:
    with pytest.raises(ProjectNotFound, match="holds a project with people"):
        api.demo(people, progress=QUIET)
    other = make_project(people.parent / "simulated", tiny_llama_folder)
    with pytest.raises(InputError, match=r"begun with seed 0, not 3.*--seed 0"):
        api.demo(other, seed=3, progress=QUIET)
