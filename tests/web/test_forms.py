"""Forms: an answer shown again and sent again is the same answer; nonsense is told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expound.ports import Opened
from expound.records import Answer, Check
from expound.web import forms
from expound.web.forms import REASONS, Entered
from expound.web.questions import CHOICES, Question, question_of
from tests.support.site import CRITERIA, FERRY, KILN, RUBRIC, ballots_of, pair_of, prompt_of, ranking_of, rating_of

PROMPT = prompt_of(FERRY)
PAIR = pair_of(PROMPT, FERRY)
COMPARED = Opened(ballots_of(PAIR)[0], PROMPT, PAIR, revision=2, key="k", previous=None)
RATED = Opened(rating_of(PAIR[0]), PROMPT, PAIR[:1], revision=0, key="k", previous=None)
ORDER, SHOWN = ranking_of(prompt_of(KILN), KILN)
RANKED = Opened(ORDER, prompt_of(KILN), tuple(SHOWN), revision=0, key="k", previous=None)

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=50)
CHOSEN = st.fixed_dictionaries({"choice": st.sampled_from(sorted(CHOICES))})
POINTS = st.fixed_dictionaries({f"rate-{one}": st.sampled_from("12345") for one in range(len(CRITERIA))})


@st.composite
def places(draw: st.DrawFn) -> dict[str, str]:
    """Draw tiers without a gap, so that they come back as they went; two responses or more have a place."""
    order = draw(st.permutations(range(len(SHOWN))))
    cuts = draw(st.lists(st.booleans(), min_size=len(order) - 1, max_size=len(order) - 1))
    placed, given = draw(st.integers(2, len(order))), {f"place-{one}": "none" for one in order}
    tier = 1
    for number, one in enumerate(order[:placed]):
        tier += number > 0 and cuts[number - 1]
        given[f"place-{one}"] = str(tier)
    return given


def asked(opened: Opened) -> Question:
    return question_of(opened.ballot, RUBRIC)


@pytest.mark.parametrize(("opened", "drawn"), [(COMPARED, CHOSEN), (RATED, POINTS), (RANKED, places())])
@given(data=st.data())
def test_a_judgment_shown_again_is_the_form_that_made_it(
    opened: Opened, drawn: st.SearchStrategy[dict[str, str]], data: st.DataObject
) -> None:
    entered = Entered(fields=data.draw(drawn), comment=data.draw(TEXTS))
    question = asked(opened)
    assert forms.faults(entered, question, "judge") == ()
    answer = forms.answer(entered, opened, question, "ana", do="judge", locale="en")
    assert forms.again(answer, question) == entered
    assert answer.key == "k"
    assert {judgment.revision for judgment in answer.judgments} == {answer.revision} == {opened.revision}
    assert {judgment.ballot for judgment in answer.judgments} == {opened.ballot.id}


@given(reason=st.sampled_from(REASONS), words=TEXTS)
@pytest.mark.parametrize("opened", [COMPARED, RATED, RANKED])
def test_a_skip_shown_again_is_the_form_that_made_it(opened: Opened, reason: str, words: str) -> None:
    entered, question = Entered(reason=reason, words=words), asked(opened)
    assert forms.faults(entered, question, "skip") == ()
    answer = forms.answer(entered, opened, question, "ana", do="skip", locale="en")
    assert forms.again(answer, question) == entered


@pytest.mark.parametrize("opened", [COMPARED, RATED, RANKED])
def test_nothing_and_other_kinds_of_judgment_fill_nothing_in(opened: Opened) -> None:
    check = Answer("k", "b", "ana", (Check(rater="ana", response="x", value="yes"),))
    assert forms.again(None, asked(opened)) == forms.again(check, asked(opened)) == Entered()


def test_a_comment_on_a_rating_is_stored_once() -> None:
    entered = Entered(fields={f"rate-{place}": "3" for place in range(len(CRITERIA))}, comment="so-so", seconds=8.0)
    answer = forms.answer(entered, RATED, asked(RATED), "ana", do="judge", locale="en")
    assert [judgment.comment for judgment in answer.judgments] == ["so-so", *[None] * (len(CRITERIA) - 1)]
    assert {judgment.seconds for judgment in answer.judgments} == {8.0}


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


def test_fields_of_questions_are_kept_and_others_are_not() -> None:
    form = {"choice": "a", "rate-0": "1", "place-4": "none", "token": "t", "key": "k", "rating": "5", "": "x"}
    assert dict(forms.read(form).fields) == {"choice": "a", "rate-0": "1", "place-4": "none"}
