"""The catalogue: the same keys and placeholders in every language, all of them used, and none missing."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import expound.web
from expound.web.forms import REASONS
from expound.web.messages import choose, load_languages
from expound.web.questions import CHOICES

FOLDER = Path(expound.web.__file__).parent
LANGUAGES = load_languages()
SOURCES = {path: path.read_text(encoding="utf-8") for kind in ("*.py", "*.html") for path in FOLDER.rglob(kind)}
TITLES = {"rating_title", "ranking_title"}  # a comparison's heading is the project's own question
BUILT = {f"choice_{name}" for name in CHOICES} | {f"reason_{name}" for name in REASONS} | TITLES


def forms_of(message: object) -> list[str]:
    return list(message.values()) if isinstance(message, dict) else [str(message)]


def placeholders(message: object) -> set[str]:
    return {name for text in forms_of(message) for _, name, _, _ in Formatter().parse(text) if name is not None}


def kinds() -> set[str]:
    """Return what the code calls its refusals; each has a title and a text."""
    code = "\n".join(SOURCES.values())
    named = re.findall(r'Refusal\([^,]+, "([a-z_]+)"\)', code) + re.findall(r'HTTPStatus\.[A-Z_]+: "([a-z_]+)"', code)
    return {*named, *re.findall(r'page\(request, [^"]+"([a-z_]+)"\)', code)}


def used() -> set[str]:
    asked = {key for text in SOURCES.values() for key in re.findall(r"\bt\(\s*['\"]([a-z_]+)['\"]\s*[,)]", text)}
    own = {key for text in SOURCES.values() for key in re.findall(r'\bself\("([a-z_]+)"\)', text)}
    faults = {key for text in SOURCES.values() for key in re.findall(r'Fault\([^)]*"(fault_[a-z_]+)"', text)}
    problems = {f"{kind}_{part}" for kind in kinds() for part in ("title", "text")}
    return asked | own | faults | problems | BUILT


def test_every_language_has_the_same_keys_and_placeholders() -> None:
    english = LANGUAGES["en"].messages
    for language in LANGUAGES.values():
        assert language.messages.keys() == english.keys()
        for key, message in english.items():
            assert placeholders(language.messages[key]) == placeholders(message), key


def test_every_message_is_used_and_every_used_message_is_there() -> None:
    assert set(LANGUAGES["en"].messages) == used()


def test_plurals_end_in_other_and_are_told_a_count() -> None:
    for language in LANGUAGES.values():
        for key, message in language.messages.items():
            if not isinstance(message, str):
                assert set(message) <= {"one", "other"}, key
                assert "other" in message, key
                assert "count" in placeholders(message), key


def test_templates_hold_no_texts_of_their_own() -> None:
    for path, text in SOURCES.items():
        if path.suffix == ".html":
            bare = re.sub(r"\{% block kind %\}\w+|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", " ", text, flags=re.DOTALL)
            assert set(re.findall(r"[^\W\d_]{2,}", bare)) <= {"Enter"}, path.name


def test_messages_take_plurals_and_values() -> None:
    english, chinese = LANGUAGES["en"], LANGUAGES["zh"]
    assert english("thanks_for", {"count": 1}).startswith("You have judged once")
    assert english("thanks_for", {"count": 2}).startswith("You have judged 2 times")
    assert "1" in chinese("thanks_for", {"count": 1})
    with pytest.raises(KeyError):
        english("no such message")


@pytest.mark.parametrize(
    ("asked", "header", "code"),
    [
        ((), "", "en"),
        ((), "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ((), "en;q=0.3, zh-Hans;q=0.4", "zh"),
        ((), "fr, de;q=0.9, zh;q=0", "en"),
        (("", "zh"), "en", "zh"),
        (("tlh", ""), "zh", "zh"),
        ((), ";;q=,,zh;q=x,*", "en"),
        ((), "en;q=², zh;q=0.1", "zh"),
    ],
)
def test_the_language_is_what_was_asked_for_then_what_the_browser_wants(
    asked: tuple[str, ...], header: str, code: str
) -> None:
    assert choose(LANGUAGES, asked, header).code == code
