"""project.toml: settings that survive the book, and damage that is told; mistakes stand in tests/bad_input."""

from __future__ import annotations

from importlib import resources
from typing import get_args

import pytest
from pydantic.fields import FieldInfo

from expound.errors import SettingsError, TaskError
from expound.settings import Section, Settings, changed_keys, dump, parse, undump
from expound.tasks import kinds
from tests.support.fuzz import damaged

HEAD = '[project]\nname = "a"\ntask = "answer"\nmodel = "m"\n'
JUDGE = '[judge]\nmodel = "m"\nendpoint = "http://127.0.0.1:8080/v1"\n'


def test_people_and_a_judge_make_a_panel() -> None:
    settings = parse(f'{HEAD}[panel]\nkinds = ["people", "judge"]\n{JUDGE}')
    assert settings.judge is not None
    assert settings.judge.model == "m"
    assert undump(dump(settings)) == settings
    assert changed_keys(parse(HEAD), settings) == (
        "judge.at_once",
        "judge.endpoint",
        "judge.model",
        "judge.per_minute",
        "judge.seconds",
        "panel.kinds",
    )


def test_what_a_first_project_needs_is_enough() -> None:
    settings = parse(HEAD)
    assert settings.panel.kinds == ("people",)
    assert settings.asking.ballots == ("comparison",)


def test_settings_survive_the_book() -> None:
    settings = parse(f"{HEAD}seed = 7\n[panel]\nkinds = ['simulated']\n[asking]\nballots = ['rating']\ncount = 9\n")
    assert undump(dump(settings)) == settings
    assert dump(undump(dump(settings))) == dump(settings)


def test_every_default_is_written_out() -> None:
    text = dump(parse(f"{HEAD}{JUDGE}"))
    assert all(f'"{key}"' in text for key, _ in fields())


def test_changed_keys_are_named_by_table() -> None:
    before = parse(HEAD)
    after = parse(f"{HEAD}seed = 3\n[ppo]\nepochs = 5\n[site]\nport = 1\n")
    assert changed_keys(before, after) == ("ppo.epochs", "project.seed", "site.port")
    assert changed_keys(before, before) == ()


def fields() -> list[tuple[str, FieldInfo]]:
    found: list[tuple[str, FieldInfo]] = []
    for table in Settings.model_fields.values():
        kinds = [kind for kind in (table.annotation, *get_args(table.annotation)) if isinstance(kind, type)]
        (section,) = (kind for kind in kinds if issubclass(kind, Section))
        found.extend(section.model_fields.items())
    return found


def test_there_are_at_most_sixty_keys_and_each_has_a_sentence() -> None:
    assert len(fields()) <= 60
    for name, field in fields():
        assert field.description, name
        assert field.description.endswith("."), name
        assert field.description[0].isupper() or field.description.startswith("people"), name


PROJECT = resources.files("expound.examples").joinpath("answer", "project.toml").read_bytes()
TASK = resources.files("expound.tasks").joinpath("answer.toml").read_bytes()


@pytest.mark.parametrize("name", ["project.toml", "task.toml"])
def test_a_damaged_file_is_read_or_refused(name: str) -> None:
    """Of 500 damaged files none ends in anything but what it says or a sentence."""
    content = PROJECT if name == "project.toml" else TASK
    ends = [_end(name, damage) for damage in damaged(content, 500)]
    assert ends.count("read") + ends.count("refused") == 500
    assert min(ends.count("read"), ends.count("refused")) > 50


def _end(name: str, content: bytes) -> str:
    text = content.decode(errors="replace")  # another encoding is refused before
    try:
        if name == "project.toml":
            parse(text, name)
        else:
            kinds.parse(text, name)
    except (SettingsError, TaskError) as error:
        return "refused" if name in error.what and error.remedy and len(str(error)) < 1500 else "unclear"
    return "read"
