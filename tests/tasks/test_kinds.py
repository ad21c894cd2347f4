"""A task says what the model sees and what raters judge; a file that is none is refused with the nearest name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from expound.errors import TaskError
from expound.records import Conversation
from expound.tasks.kinds import Task, built_in, load, parse
from expound.tasks.material import prompt_of

ANSWER = resources.files("expound.tasks").joinpath("answer.toml").read_text(encoding="utf-8")


@pytest.fixture
def answer(tmp_path: Path) -> Task:
    return load("answer", tmp_path)


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


def test_the_built_in_task_speaks_both_languages_on_anchored_scales(answer: Task) -> None:
    rubric = answer
    assert built_in() == ("answer",)
    assert [criterion.name for criterion in rubric.criteria] == ["reason", "shown", "clarity", "trust", "overall"]
    for words in (rubric.comparison, rubric.guidelines, *(criterion.question for criterion in rubric.criteria)):
        assert set(words) == {"en", "zh"}
    for criterion in rubric.criteria:
        assert [point.value for point in criterion.points] == [1, 2, 3, 4, 5]
        for point in criterion.points:
            assert set(point.label) == set(point.meaning) == {"en", "zh"}
            assert max(map(len, point.label.values())) <= 16
            assert point.meaning["en"].endswith(".")
            assert point.meaning["zh"].endswith("。")
        assert len({point.label["en"] for point in criterion.points}) == 5
        assert len({point.label["zh"] for point in criterion.points}) == 5
    assert "rely on this answer" in rubric.criteria[3].question["en"]
    assert 0 < rubric.length.shortest_words < rubric.length.longest_words


def test_the_guidelines_are_half_a_page(answer: Task) -> None:
    assert 150 <= len(answer.guidelines["en"].split()) <= 320
    assert 250 <= len(answer.guidelines["zh"]) <= 600


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
    with pytest.raises(TaskError, match=r"There are answer\. Your own task goes into task\.toml\."):
        load("zzz", tmp_path)


def test_a_task_file_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(TaskError, match="is not UTF-8 at byte 8"):
        load("mine", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("name =", "name ", "is not valid TOML"),
        ("{source}", "{sauce}", r"the template has \{sauce\}\. Did you mean 'source'"),
        ("{text}", "the text", "no paragraph with {text}"),
        ("Text: {source}\n\n", "Text: {source}\n", "without {source}"),
        ("system =", "sytem =", "'system' is missing"),
        ("[length]", 'sytem = "x"\n[length]', r"no key 'sytem'\. Did you mean 'system'"),
        ("shortest_words = 12", "shortest_words = 12\nlongest_word = 3", "Did you mean 'longest_words'"),
        ("shortest_words = 12", 'shortest_words = "12"', r"'length\.shortest_words': .*given: '12'"),
        ("value = 5, label", "value = 6, label", "scale points"),
        ('label = { en = "Wrong"', 'label = { en = "A label that is too long"', "label 'A label"),
        ("{ value = 1, label", "{ valeu = 2, value = 1, label", "Did you mean 'value'"),
        ('name = "reason"', 'name = "reason"\nqestion = {}', "Did you mean 'question'"),
    ],
)
def test_a_file_that_is_no_task_is_refused(old: str, new: str, sentence: str) -> None:
    assert old in ANSWER
    with pytest.raises(TaskError, match=sentence):
        parse(ANSWER.replace(old, new, 1), "task.toml")
