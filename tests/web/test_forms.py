"""Forms: an answer shown again and sent again is the same answer; nonsense is told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expound.ports import Opened
from expound.records import Answer, Rating
from expound.web import forms
from expound.web.forms import CHOICES, REASONS, Entered
from tests.support.site import FERRY, ballots_of, pair_of, prompt_of

PROMPT = prompt_of(FERRY)
PAIR = pair_of(PROMPT, FERRY)
OPENED = Opened(ballots_of(PAIR)[0], PROMPT, PAIR, revision=2, key="k", previous=None)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=50)


@given(choice=st.sampled_from(sorted(CHOICES)), comment=TEXTS)
def test_a_judgment_shown_again_is_the_form_that_made_it(choice: str, comment: str) -> None:
    entered = Entered(choice=choice, comment=comment)
    assert forms.faults(entered, "judge") == ()
    answer = forms.answer(entered, OPENED, "ana", do="judge", locale="en")
    assert forms.again(answer) == entered
    assert (answer.revision, answer.judgments[0].revision, answer.key) == (2, 2, "k")


@given(reason=st.sampled_from(REASONS), words=TEXTS)
def test_a_skip_shown_again_is_the_form_that_made_it(reason: str, words: str) -> None:
    entered = Entered(reason=reason, words=words)
    assert forms.faults(entered, "skip") == ()
    assert forms.again(forms.answer(entered, OPENED, "ana", do="skip", locale="en")) == entered


def test_nothing_and_other_kinds_of_judgment_fill_nothing_in() -> None:
    rating = Answer("k", "b", "ana", (Rating(rater="ana", response="x", value=3),))
    assert forms.again(None) == forms.again(rating) == Entered()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", 12.5),
        ("0", 0.0),
        ("999999", 86400.0),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("inf", None),
        ("٣", None),
    ],
)
def test_seconds_are_plain_numbers_of_at_most_a_day(text: str, seconds: float | None) -> None:
    assert forms.read({"seconds": text}).seconds == seconds


def test_line_ends_are_unified_and_nothing_else_is_changed() -> None:
    assert forms.read({"comment": " a\r\nb\rc\n "}).comment == " a\nb\nc\n "
