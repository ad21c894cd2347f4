"""An answer that no page could have posted is refused, with what is wrong in its sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from expound.errors import JudgmentError
from expound.records import Answer, Check, Comparison, Judgment, Ranking, Rating, Score, Skip
from expound.store.fitting import check_answer
from tests.support.log import compare, make_ballot, make_prompt, skip

BALLOT = make_ballot(make_prompt())
ANSWER = compare(BALLOT, "r1")
(JUDGMENT,) = ANSWER.judgments
assert isinstance(JUDGMENT, Comparison)
RATED = replace(BALLOT, kind="rating", responses=BALLOT.responses[:1], criteria=("clarity", "trust"))
RATING = Rating(rater="r1", ballot=BALLOT.id, response=BALLOT.responses[0], criterion="clarity", value=5)
CHECK = Check(rater="r1", ballot=BALLOT.id, response=BALLOT.responses[0], criterion="clarity", value="yes")
TRUST = replace(RATING, criterion="trust", value=1)
RANKED = replace(BALLOT, kind="ranking", responses=(*BALLOT.responses, "c", "d", "e"))
LEFT, RIGHT = BALLOT.responses


def changed(judgment: Judgment) -> Answer:
    return replace(ANSWER, judgments=(judgment,))


def score(response: str, value: float = 0.5) -> Score:
    return Score(rater="r1", ballot=BALLOT.id, source="function", response=response, value=value)


def said(*judgments: Judgment) -> Answer:
    return replace(ANSWER, judgments=judgments)


def ranked(*tiers: tuple[str, ...]) -> Answer:
    return changed(Ranking(rater="r1", ballot=BALLOT.id, tiers=tiers))


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        skip(BALLOT, "r1"),
        changed(replace(JUDGMENT, choice=0, prompt=None)),
        said(JUDGMENT, score(LEFT), score(RIGHT)),
    ],
)
def test_what_fits_passes(answer: Answer) -> None:
    check_answer(answer, BALLOT)


@pytest.mark.parametrize("answer", [said(RATING, TRUST), said(RATING), said(CHECK), skip(BALLOT, "r1")])
def test_ratings_that_fit_pass(answer: Answer) -> None:
    check_answer(answer, RATED)


def test_a_rating_without_criteria_is_about_the_criterion_of_its_ballot() -> None:
    check_answer(said(replace(RATING, criterion="overall")), replace(RATED, criteria=()))
    check_answer(said(score(LEFT)), replace(RATED, criteria=()))
    with pytest.raises(JudgmentError, match="is about 'clarity'"):
        check_answer(said(RATING), replace(RATED, criteria=()))


@pytest.mark.parametrize(
    "answer",
    [
        ranked((RIGHT,), (LEFT,)),
        ranked((RIGHT, LEFT)),
        ranked(("c", "d"), (LEFT, "e"), (RIGHT,)),
        skip(BALLOT, "r1"),
    ],
)
def test_rankings_that_fit_pass(answer: Answer) -> None:
    check_answer(answer, RANKED)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (said(RATING, replace(RATING, value=2)), "says something twice"),
        (said(replace(RATING, response=RIGHT)), f"is about '{RIGHT}', which it did not show"),
        (said(replace(RATING, criterion="beauty")), "is about 'beauty', which was not asked about"),
        (said(replace(RATING, value=6)), "has the value 6, outside"),
        (said(replace(RATING, value=0)), "has the value 0, outside"),
        (said(JUDGMENT), "is a comparison, where a rating was asked for"),
        (said(RATING, Skip(rater="r1", ballot=BALLOT.id, reason="other")), "skips and judges at once"),
    ],
)
def test_ratings_that_do_not_fit_are_refused(answer: Answer, sentence: str) -> None:
    with pytest.raises(JudgmentError, match=sentence):
        check_answer(answer, RATED)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (ranked((LEFT,)), "ranks"),
        (ranked(), "ranks"),
        (ranked((LEFT,), (), (RIGHT,)), "ranks"),
        (ranked((LEFT,), (LEFT,)), "ranks"),
        (ranked((LEFT, LEFT)), "ranks"),
        (ranked((LEFT,), ("x",)), "of which it showed"),
        (said(*ranked((LEFT, RIGHT)).judgments, *ranked((RIGHT,), (LEFT,)).judgments), "says something twice"),
        (said(replace(ranked((LEFT, RIGHT)).judgments[0], criterion="trust")), "is about 'trust'"),
        (said(JUDGMENT), "is a comparison, where a ranking was asked for"),
    ],
)
def test_rankings_that_do_not_fit_are_refused(answer: Answer, sentence: str) -> None:
    with pytest.raises(JudgmentError, match=sentence):
        check_answer(answer, RANKED)


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
        (changed(replace(RATING, criterion="overall")), "is a rating, where a comparison was asked for"),
        (changed(replace(JUDGMENT, criterion="trust")), "is about 'trust'"),
        (said(JUDGMENT, JUDGMENT), "says something twice"),
        (said(JUDGMENT, score(LEFT), score(LEFT, 0.7)), "says something twice"),
        (said(JUDGMENT, score("x")), "is about 'x', which it did not show"),
    ],
)
def test_what_does_not_fit_is_refused(answer: Answer, sentence: str) -> None:
    with pytest.raises(JudgmentError, match=sentence):
        check_answer(answer, BALLOT)


def test_a_ballot_that_is_not_there() -> None:
    with pytest.raises(JudgmentError, match="there is no ballot"):
        check_answer(ANSWER, None)
