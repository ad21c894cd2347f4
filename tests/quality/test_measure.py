"""The raw win rate on held-out prompts, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from expound.errors import NothingToLearn
from expound.quality.measure import measure, smallest_effect
from expound.records import Comparison, Evaluation, Judgment, Rating, Response, Skip, Source
from expound.statistics import cluster_interval


def response(prompt: str, policy: str, sample: int = 0, text: str = "") -> Response:
    said = text or f"{policy} on {prompt}"
    return Response(f"{policy}-{prompt}-{sample}", prompt, said, policy, 1, sample, True)


def duel(prompt: str, outcome: str, *, rater: str = "r", sample: int = 0, source: Source = "people") -> Comparison:
    """Let tuned stand left on even prompts, right on odd ones."""
    sides = [f"tuned-{prompt}-{sample}", f"reference-{prompt}-{sample}"]
    is_left = prompt[-1] in "02468"
    choice = {"won": -2, "lost": 1, "tied": 0}[outcome] * (1 if is_left else -1)
    left, right = sides if is_left else sides[::-1]
    return Comparison(rater=rater, left=left, right=right, choice=choice, strength=3, split="held_out", source=source)


def evaluate(judgments: list[Judgment], responses: list[Response]) -> Evaluation:
    known = {one.id: one for one in responses}
    return measure(judgments, known, reference="reference", tuned="tuned", round_=2)


def both(prompts: int) -> list[Response]:
    return [response(f"p{number}", policy) for number in range(prompts) for policy in ("reference", "tuned")]


def test_sides_are_known_by_their_policy_and_ties_count_half() -> None:
    told: list[Judgment] = [duel("p0", "won"), duel("p1", "won"), duel("p2", "lost"), duel("p3", "tied")]
    found = evaluate(told, both(4))
    assert (found.wins, found.losses, found.ties, found.comparisons, found.prompts) == (2, 1, 1, 4, 4)
    assert found.win_rate == pytest.approx(2.5 / 4)
    assert found.interval is None
    assert found.round == 2


def test_a_prompt_asked_more_often_weighs_no_more() -> None:
    often: list[Judgment] = [duel("p0", "won", rater=f"r{number}") for number in range(9)]
    assert evaluate([*often, duel("p1", "lost")], both(2)).win_rate == pytest.approx(0.5)


def test_a_pair_judged_more_often_weighs_no_more_in_its_prompt() -> None:
    responses = [response("p0", policy, sample) for sample in (0, 1) for policy in ("reference", "tuned")]
    texts = {one.id: one for one in responses}
    different = [Response(name, "p0", name, one.policy, 1, one.sample, True) for name, one in texts.items()]
    told: list[Judgment] = [duel("p0", "won", rater=f"r{number}") for number in range(3)]
    found = evaluate([*told, duel("p0", "lost", sample=1)], different)
    assert found.win_rate == pytest.approx(0.5)
    assert found.comparisons == 4


def test_equal_texts_are_ties_that_nobody_was_asked() -> None:
    same = [response("p9", policy, text="word for word") for policy in ("reference", "tuned")]
    found = evaluate([duel("p0", "won")], [*both(1), *same])
    assert (found.comparisons, found.wins, found.ties, found.equal, found.prompts) == (1, 1, 0, 1, 2)
    assert found.win_rate == pytest.approx(0.75)


def test_skips_ratings_and_other_policies_are_not_counted() -> None:
    other = response("p0", "other")
    told: list[Judgment] = [
        duel("p0", "won"),
        Skip(rater="r", reason="not my field"),
        Rating(rater="r", response="tuned-p0-0", value=1),
        Comparison(rater="r", left=other.id, right="tuned-p0-0", choice=-1),
    ]
    assert evaluate(told, [*both(1), other]).comparisons == 1


def test_the_interval_is_students_over_the_prompts() -> None:
    outcomes = ["won"] * 14 + ["lost"] * 8 + ["tied"] * 3
    told: list[Judgment] = [duel(f"p{number}", outcome) for number, outcome in enumerate(outcomes)]
    found = evaluate(told, both(25))
    theirs = stats.ttest_1samp([1.0] * 14 + [0.0] * 8 + [0.5] * 3, 0).confidence_interval()
    assert found.interval == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(("outcome", "rate"), [("won", 1.0), ("lost", 0.0), ("tied", 0.5)])
def test_agreement_of_all_prompts_is_no_certainty(outcome: str, rate: float) -> None:
    """Thirty times the same leaves room for what one prompt in ten would say: 3/30, the rule of three."""
    found = evaluate([duel(f"p{number}", outcome) for number in range(30)], both(30))
    assert found.win_rate == rate
    assert found.interval == pytest.approx((rate * (1 - 0.1), rate + (1 - rate) * 0.1), abs=0.005)


def test_the_interval_stays_between_none_and_all() -> None:
    told: list[Judgment] = [duel(f"p{number}", "won" if number else "lost") for number in range(25)]
    found = evaluate(told, both(25))
    assert found.interval is not None
    assert found.interval[1] == 1.0


def test_length_is_measured_in_words() -> None:
    long = [response("p0", "reference", text="two words"), response("p0", "tuned", text="these are five words, yes")]
    assert evaluate([duel("p0", "won")], long).length_ratio == pytest.approx(2.5)
    silent = [response("p0", "reference", text="…"), response("p0", "tuned", text="three words now")]
    assert evaluate([duel("p0", "won")], silent).length_ratio == 3


def test_sources_are_named() -> None:
    told: list[Judgment] = [duel("p0", "won", source="simulated"), duel("p1", "won", source="simulated")]
    assert evaluate(told, both(2)).sources == ("simulated",)


def test_nothing_judged_is_an_error() -> None:
    with pytest.raises(NothingToLearn, match="round 2 has no judged comparison"):
        evaluate([Skip(rater="r", reason="no")], both(1))


@pytest.mark.parametrize(("prompts", "each"), [(24, 1), (24, 4), (100, 1), (400, 2)])
def test_the_smallest_effect_is_found_out_four_times_in_five(prompts: int, each: int) -> None:
    """By drawing measurements of that effect and looking at their intervals."""
    effect = smallest_effect(prompts, each)
    assert effect is not None
    draws = np.random.default_rng(prompts).binomial(each, 0.5 + effect, size=(2000, prompts)) / each
    intervals = [cluster_interval(means) for means in draws.tolist()]
    found = [interval is not None and interval[0] > 0.5 for interval in intervals]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_too_few_prompts_find_nothing_out() -> None:
    assert smallest_effect(19, 16) is None
