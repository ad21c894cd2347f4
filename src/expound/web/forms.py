"""What a rater enters on a ballot: read from the form, checked, turned into an answer, and shown again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from expound.ports import Opened
from expound.records import Answer, Judgment, Skip, on_ballot
from expound.web.questions import Fault, Question, fields_of

MAX_COMMENT = 10_000
MAX_SECONDS = 24 * 3600.0
REASONS = ("language", "subject", "broken", "other")
DEVICES = ("wide", "narrow")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

Do = Literal["judge", "skip"]


@dataclass(frozen=True)
class Entered:
    """A form as it was sent, in plain texts; what was not entered is empty. `fields` are those of the questions."""

    fields: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    reason: str = ""
    words: str = ""
    seconds: float | None = None
    device: str = ""
    key: str = ""


def read(form: Mapping[str, str]) -> Entered:
    """Return what a form holds. Browsers end lines with CRLF; texts are stored with LF and nothing else is changed."""
    device = form.get("device", "")
    return Entered(
        fields=fields_of(form),
        comment=_lines(form.get("comment", "")),
        reason=form.get("reason", ""),
        words=_lines(form.get("words", "")),
        seconds=_seconds(form.get("seconds", "")),
        device=device if device in DEVICES else "",
        key=form.get("key", ""),
    )


def again(answer: Answer | None, question: Question) -> Entered:
    """Return an answer as the form that led to it, to be changed."""
    judgments = answer.judgments if answer is not None else ()
    comment = next((found.comment for found in judgments if found.comment), "")
    skips = [found for found in judgments if isinstance(found, Skip)]
    if skips:
        return Entered(reason=skips[0].reason, words=comment)
    return Entered(fields=question.fields(judgments), comment=comment)


def faults(entered: Entered, question: Question, do: Do) -> tuple[Fault, ...]:
    """Return what keeps the form from being stored, in the order of the page."""
    if do == "skip":
        missing = () if entered.reason in REASONS else (Fault("q-skip", "fault_reason"),)
        return (*missing, *_text_faults(entered.words, "words"))
    return (*question.faults(entered.fields), *_text_faults(entered.comment, "comment"))


def answer(entered: Entered, opened: Opened, question: Question, rater: str, *, do: Do, locale: str) -> Answer:
    """Return the answer that a faultless form means; a comment goes with the first of its judgments."""
    said: tuple[Judgment, ...]
    if do == "skip":
        said, comment, seconds = (Skip(rater=rater, reason=entered.reason),), entered.words, None
    else:
        said, comment, seconds = question.judgments(entered.fields, rater), entered.comment, entered.seconds
    judgments = [
        replace(
            on_ballot(judgment, opened.ballot),
            revision=opened.revision,
            seconds=seconds,
            shown_at=opened.shown_at,
            comment=(comment or None) if place == 0 else None,
        )
        for place, judgment in enumerate(said)
    ]
    return Answer(
        key=opened.key,
        ballot=opened.ballot.id,
        rater=rater,
        judgments=tuple(judgments),
        revision=opened.revision,
        device=entered.device,
        locale=locale,
        surplus=opened.surplus,
    )


def _text_faults(text: str, field: str) -> tuple[Fault, ...]:
    if len(text) > MAX_COMMENT:
        return (Fault(field, "fault_too_long"),)
    return (Fault(field, "fault_control"),) if _CONTROL.search(text) else ()


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _seconds(text: str) -> float | None:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text):
        return None
    return min(float(text), MAX_SECONDS)
