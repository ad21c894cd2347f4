"""A task says what the model sees and what raters judge; a file that is none is refused with the nearest name."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from expound.errors import TaskError
from expound.records import Conversation
from expound.tasks.kinds import Task, built_in, is_untouched, load, parse, skeleton
from expound.tasks.material import prompt_of

OWN_CRITERIA = {
    "answer": {"reason", "shown"},
    "diagnosis": {"fault", "shown", "action"},
    "recommendation": {"fit", "shown", "satisfaction"},
    "summary": {"account", "faithful"},
    "incident": {"reason"},
}
NOUNS = {"incident": "explanation"}
ANSWER = resources.files("expound.tasks").joinpath("answer.toml").read_text(encoding="utf-8")


@pytest.fixture
def answer(tmp_path: Path) -> Task:
    return load("answer", tmp_path)


@pytest.fixture(params=[*built_in(), "incident"])
def task(request: pytest.FixtureRequest, tmp_path: Path) -> Task:
    """Return each task of the package, and one that a user begins."""
    name = str(request.param)
    if name not in built_in():
        (tmp_path / "task.toml").write_text(skeleton(name), encoding="utf-8")
    return load(name, tmp_path)


def test_a_prompt_with_a_source(answer: Task) -> None:
    assert answer.render(prompt_of("Why was it cold?", "The window stood open.")) == Conversation(
        "You answer questions about a text and give the reasons.",
        "Text: The window stood open.\n\nQuestion: Why was it cold?\n"
        "Answer in two sentences: say the reason and what in the text shows it.",
    )


def test_without_a_source_its_part_is_left_out(answer: Task) -> None:
    assert answer.render(prompt_of("Why is the sky blue?")).user == (
        "Question: Why is the sky blue?\nAnswer in two sentences: say the reason and what in the text shows it."
    )


def test_braces_and_places_in_a_prompt_are_text(answer: Task) -> None:
    user = answer.render(prompt_of("What does {source} do in f'{x}'?", "It says {text} and {0} \\1.\n\nAnd more.")).user
    assert "Text: It says {text} and {0} \\1.\n\nAnd more.\n\nQuestion: What does {source} do in f'{x}'?" in user


def test_the_package_has_four_tasks() -> None:
    assert built_in() == ("answer", "diagnosis", "recommendation", "summary")


@pytest.mark.parametrize(
    ("name", "system", "user"),
    [
        (
            "summary",
            "You summarise texts and say what happened and why.",
            "Text: P\n\nTask: Q\nAnswer in two sentences: say what happened and why, and what in the text shows it.",
        ),
        (
            "diagnosis",
            "You find the fault behind a problem and give the reasons.",
            "Report: P\n\nQuestion: Q\n"
            "Answer in two sentences: say which fault causes it and what in the report shows it.",
        ),
        (
            "recommendation",
            "You recommend things to people and give the reasons.",
            "Text: P\n\nQuestion: Q\n"
            "Answer in two sentences: say why it fits this person and what in the text shows it.",
        ),
    ],
)
def test_what_the_model_sees_of_each(name: str, system: str, user: str, tmp_path: Path) -> None:
    """What the reference says depends on these words: a change makes figures of before and after incomparable."""
    assert load(name, tmp_path).render(prompt_of("Q", "P")) == Conversation(system, user)


def test_every_task_speaks_both_languages_on_anchored_scales(task: Task) -> None:
    for words in (task.comparison, task.guidelines, *(criterion.question for criterion in task.criteria)):
        assert set(words) == {"en", "zh"}
        assert not re.search("[\u4e00-\u9fff]", words["en"])
        assert re.search("[\u4e00-\u9fff]", words["zh"])
        assert not re.search(r"[,;?!]", words["zh"]), "Chinese has its own marks"
    for criterion in task.criteria:
        assert [point.value for point in criterion.points] == [1, 2, 3, 4, 5]
        for point in criterion.points:
            assert set(point.label) == set(point.meaning) == {"en", "zh"}
            assert max(map(len, point.label.values())) <= 16
            assert point.meaning["en"].endswith(".")
            assert point.meaning["zh"].endswith("。")
        for language in ("en", "zh"):
            assert len({point.label[language] for point in criterion.points}) == 5
            assert len({point.meaning[language] for point in criterion.points}) == 5
    assert 0 < task.length.shortest_words < task.length.longest_words


def test_every_task_asks_for_trust_for_the_whole_and_for_what_is_its_own(task: Task) -> None:
    criteria = {criterion.name: criterion for criterion in task.criteria}
    assert OWN_CRITERIA[task.name] == set(criteria) - {"clarity", "trust", "overall"}
    assert f"rely on this {NOUNS.get(task.name, task.name)}" in criteria["trust"].question["en"]
    assert list(criteria)[-1] == "overall"


def test_the_guidelines_are_half_a_page(task: Task) -> None:
    shortest = 100 if task.name == "incident" else 150
    assert shortest <= len(task.guidelines["en"].split()) <= 320
    assert 200 <= len(task.guidelines["zh"]) <= 600


def test_a_task_of_ones_own_begins_whole_with_a_comment_on_every_part() -> None:
    text = skeleton("事故 report-2")
    assert parse(text, "task.toml").name == "事故 report-2"
    parts = list(tomllib.loads(text))
    assert parts == ["name", "system", "template", "length", "comparison", "guidelines", "criteria"]
    lines = text.splitlines()
    for part in parts:
        place = next(n for n, line in enumerate(lines) if line.lstrip("[").startswith(part))
        assert lines[place - 1].startswith("#"), part


def test_a_begun_task_is_known_from_an_edited_one() -> None:
    text = skeleton("incident")
    assert is_untouched(text)
    assert is_untouched(text.replace("incident", "outage", 1))
    assert not is_untouched(text.replace("You explain things", "You explain incidents", 1))
    assert not is_untouched(ANSWER)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "cannot be called ''"),
        ("mine.toml", "cannot be called 'mine.toml'.*Use letters"),
        ("../answer", "cannot be called"),
        ("two\nlines", "cannot be called"),
        ("summaries", r"no task 'summaries'\. Did you mean 'summary'\? .*a name less like that"),
        ("diagnose", "Did you mean 'diagnosis'"),
        ("answer", "Did you mean 'answer'"),
    ],
)
def test_a_name_that_is_none_or_a_slip_begins_no_task(name: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        skeleton(name)


@pytest.mark.parametrize("name", ["incident", "review", "risk", "recipe", "lesson plan", "法律解释"])
def test_a_name_of_its_own_begins_a_task(name: str) -> None:
    assert parse(skeleton(name), "task.toml").name == name


def test_an_own_task_is_read_from_the_project(tmp_path: Path) -> None:
    own = ANSWER.replace('name = "answer"', 'name = "incident"', 1).replace("Text: {source}", "Log: {source}")
    (tmp_path / "task.toml").write_text(own, encoding="utf-8-sig")
    task = load("incident", tmp_path)
    assert task.name == "incident"
    assert task.render(prompt_of("Why?", "12:00 stop")).user.startswith("Log: 12:00 stop")
    with pytest.raises(TaskError, match="Did you mean 'incident'"):
        load("incidents", tmp_path)


def test_an_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no task 'anwser'\. Did you mean 'answer'\?"):
        load("anwser", tmp_path)
    with pytest.raises(TaskError, match=r"There are answer, .*, summary\. Your own task goes into task\.toml\."):
        load("zzz", tmp_path)
