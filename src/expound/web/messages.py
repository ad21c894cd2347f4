"""The texts of the pages: one TOML file a language, one line a message, placeholders in braces, plurals as tables."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "messages"
DEFAULT = "en"

Message = str | Mapping[str, str]
Values = Mapping[str, str | int]


@dataclass(frozen=True)
class Language:
    """One language of the pages; calling it gives a message. `code` is the file's name, `tag` what HTML calls it."""

    code: str
    messages: Mapping[str, Message]

    def __call__(self, key: str, values: Values | None = None) -> str:
        """Return a message with its placeholders filled in; a plural goes by the value `count`."""
        message, given = self.messages[key], values or {}
        if not isinstance(message, str):
            message = message["one" if given["count"] == 1 and "one" in message else "other"]
        return message.format_map(given)

    @property
    def tag(self) -> str:
        """Return the BCP 47 tag."""
        return self("language_tag")

    @property
    def name(self) -> str:
        """Return what the language calls itself."""
        return self("language_name")


@dataclass(frozen=True)
class ProjectText:
    """A text of the project, in the language that it is really in."""

    text: str
    tag: str


def told(texts: Mapping[str, str], language: Language) -> ProjectText:
    """Return a text of the project in that language, else in English, else in any that it has."""
    code = next(code for code in (language.code, "en", *texts) if texts.get(code))
    return ProjectText(texts[code], {"zh": "zh-Hans"}.get(code, code))


def load_languages() -> Mapping[str, Language]:
    """Return the languages by code, the default first."""
    files = sorted(FOLDER.glob("*.toml"), key=lambda path: (path.stem != DEFAULT, path.stem))
    return {path.stem: Language(path.stem, tomllib.loads(path.read_text(encoding="utf-8"))) for path in files}


def choose(languages: Mapping[str, Language], asked: Sequence[str], accepted: str) -> Language:
    """Return the first language asked for that there is, else the best of an Accept-Language header."""
    for code in (*asked, *_ranked(accepted)):
        if code in languages:
            return languages[code]
    return languages[DEFAULT]


def _ranked(header: str) -> list[str]:
    """Return the primary language codes of an Accept-Language header, the most wanted first."""
    weighed: list[tuple[float, int, str]] = []
    for part in header.split(","):
        tag, _, parameter = part.strip().partition(";")
        weight = parameter.strip().removeprefix("q=") if parameter else "1"
        if weight.replace(".", "", 1).isdecimal() and float(weight) > 0:
            weighed.append((-float(weight), len(weighed), tag.split("-")[0].lower()))
    return [code for _, _, code in sorted(weighed)]
