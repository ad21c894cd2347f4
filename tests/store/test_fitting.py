"""An answer that no page could have posted is refused, with what is wrong in its sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from expound.errors import JudgmentError
from expound.records import Answer, Comparison, Judgment, Rating
from expound.store.fitting import check_answer
from tests.support.log import compare, make_ballot, make_prompt, skip, wrap

BALLOT = make_ballot(make_prompt())
ANSWER = compare(BALLOT, "r1")
(JUDGMENT,) = ANSWER.judgments
assert isinstance(JUDGMENT, Comparison)
RATING = Rating(rater="r1", ballot=BALLOT.id, response=BALLOT.responses[1], value=5)


def changed(judgment: Judgment) -> Answer:
    return replace(ANSWER, judgments=(judgment,))


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        skip(BALLOT, "r1"),
        wrap(RATING, replace(RATING, response=BALLOT.responses[0], value=1), key="k"),
        changed(replace(JUDGMENT, choice=0, prompt=None)),
    ],
)
def test_what_fits_passes(answer: Answer) -> None:
    check_answer(answer, BALLOT)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (replace(ANSWER, key="has:colon"), "cannot be the key"),
        (replace(ANSWER, key=""), "cannot be the key"),
        (replace(ANSWER, judgments=()), "is empty"),
        (replace(ANSWER, judgments=(*skip(BALLOT, "r1").judgments, JUDGMENT)), "skips and judges at once"),
        (changed(replace(JUDGMENT, rater="r2")), "names the rater 'r2'"),
        (changed(replace(JUDGMENT, ballot=None)), "the ballot 'None'"),
        (changed(replace(JUDGMENT, revision=1)), "the revision 1"),
        (changed(replace(JUDGMENT, split="held_out")), "is of split 'held_out'"),
        (changed(replace(JUDGMENT, round=2)), "and round 2"),
        (changed(replace(JUDGMENT, prompt="p")), "names the prompt 'p'"),
        (changed(replace(JUDGMENT, left=JUDGMENT.right, right=JUDGMENT.left)), "did not show so"),
        (changed(replace(JUDGMENT, choice=2)), "has the choice 2"),
        (changed(replace(JUDGMENT, choice=0, ties=False)), "has the choice 0"),
        (wrap(replace(RATING, response="x"), key="k"), "rates 'x'"),
        (wrap(replace(RATING, value=6), key="k"), "has the value 6"),
    ],
)
def test_what_does_not_fit_is_refused(answer: Answer, sentence: str) -> None:
    with pytest.raises(JudgmentError, match=sentence):
        check_answer(answer, BALLOT)


def test_a_ballot_that_is_not_there() -> None:
    with pytest.raises(JudgmentError, match="there is no ballot"):
        check_answer(ANSWER, None)
