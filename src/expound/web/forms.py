"""What a rater enters on a ballot: read from the form, checked, turned into a judgment, and shown again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from expound.ports import Opened
from expound.records import Answer, Comparison, Judgment, Skip

MAX_COMMENT = 10_000
MAX_SECONDS = 24 * 3600.0
CHOICES = {"a": -1, "same": 0, "b": 1}
REASONS = ("language", "subject", "broken", "other")
DEVICES = ("wide", "narrow")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Entered:
    """A form as it was sent, in plain texts; what was not entered is empty."""

    choice: str = ""
    comment: str = ""
    reason: str = ""
    words: str = ""
    seconds: float | None = None
    device: str = ""
    key: str = ""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a form: the id of the element to mend, and the message that says how."""

    field: str
    message: str


def read(form: Mapping[str, str]) -> Entered:
    """Return what a form holds. Browsers end lines with CRLF; texts are stored with LF and nothing else is changed."""
    device = form.get("device", "")
    return Entered(
        choice=form.get("choice", ""),
        comment=_lines(form.get("comment", "")),
        reason=form.get("reason", ""),
        words=_lines(form.get("words", "")),
        seconds=_seconds(form.get("seconds", "")),
        device=device if device in DEVICES else "",
        key=form.get("key", ""),
    )


def again(answer: Answer | None) -> Entered:
    """Return an answer as the form that led to it, to be changed."""
    for judgment in answer.judgments if answer is not None else ():
        match judgment:
            case Comparison():
                names = {value: name for name, value in CHOICES.items()}
                return Entered(choice=names[judgment.choice], comment=judgment.comment or "")
            case Skip():
                return Entered(reason=judgment.reason, words=judgment.comment or "")
            case _:
                continue
    return Entered()


def faults(entered: Entered, do: Literal["judge", "skip"]) -> tuple[Fault, ...]:
    """Return what keeps the form from being stored, in the order of the page."""
    if do == "skip":
        missing = () if entered.reason in REASONS else (Fault("q-skip", "fault_reason"),)
        return (*missing, *_text_faults(entered.words, "words"))
    missing = () if entered.choice in CHOICES else (Fault("q-choice", "fault_choice"),)
    return (*missing, *_text_faults(entered.comment, "comment"))


def answer(entered: Entered, opened: Opened, rater: str, *, do: Literal["judge", "skip"], locale: str) -> Answer:
    """Return the answer that a faultless form means."""
    judgment = _skip(entered, opened, rater) if do == "skip" else _comparison(entered, opened, rater)
    return Answer(
        key=opened.key,
        ballot=opened.ballot.id,
        rater=rater,
        judgments=(judgment,),
        revision=opened.revision,
        device=entered.device,
        locale=locale,
        surplus=opened.surplus,
    )


def _comparison(entered: Entered, opened: Opened, rater: str) -> Judgment:
    ballot = opened.ballot
    left, right = ballot.responses
    return Comparison(
        rater=rater,
        ballot=ballot.id,
        prompt=ballot.prompt,
        split=ballot.split,
        round=ballot.round,
        revision=opened.revision,
        criterion=ballot.criterion,
        seconds=entered.seconds,
        shown_at=opened.shown_at,
        comment=entered.comment or None,
        left=left,
        right=right,
        choice=CHOICES[entered.choice],
        strength=ballot.strength,
        ties=ballot.ties,
    )


def _skip(entered: Entered, opened: Opened, rater: str) -> Judgment:
    ballot = opened.ballot
    return Skip(
        rater=rater,
        ballot=ballot.id,
        prompt=ballot.prompt,
        split=ballot.split,
        round=ballot.round,
        revision=opened.revision,
        criterion=ballot.criterion,
        shown_at=opened.shown_at,
        comment=entered.words or None,
        reason=entered.reason,
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
