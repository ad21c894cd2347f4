"""What follows from an evaluation, in words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from expound.quality.stopping import decide
from expound.records import Evaluation

BASE = Evaluation(
    round=1,
    prompts=60,
    comparisons=120,
    wins=70,
    losses=40,
    ties=10,
    win_rate=0.625,
    interval=(0.55, 0.70),
    length_ratio=1.1,
    sources=("people",),
)


def found(share: float, interval: tuple[float, float] | None, prompts: int = 60) -> Evaluation:
    return replace(BASE, win_rate=share, interval=interval, prompts=prompts)


@pytest.mark.parametrize(
    ("share", "interval", "outcome"),
    [
        (0.625, (0.55, 0.70), "better"),
        (0.52, (0.501, 0.54), "better"),
        (0.40, (0.31, 0.49), "not_better"),
        (0.50, (0.46, 0.54), "not_better"),
        (0.50, (0.45, 0.55), "not_better"),
        (0.55, (0.48, 0.62), "too_little"),
        (0.55, (0.50, 0.60), "too_little"),
        (0.90, None, "too_little"),
    ],
)
def test_the_interval_decides(share: float, interval: tuple[float, float] | None, outcome: str) -> None:
    decision = decide(found(share, interval), max_rounds=5)
    assert decision.outcome == outcome
    assert decision.round == 1


def test_the_sentence_carries_the_figures() -> None:
    sentence = decide(BASE, max_rounds=5).sentence
    for figure in ("62 %", "120 comparisons", "60 prompts", "70 won", "40 lost", "10 tied", "55 to 70 %", "people"):
        assert figure in sentence
    assert sentence.startswith("Better:")
    assert "word for word" not in sentence
    assert (
        "; 3 more pairs, word for word the same, count as tied" in decide(replace(BASE, equal=3), max_rounds=5).sentence
    )


def test_worse_and_no_better_are_told_apart() -> None:
    assert decide(found(0.40, (0.31, 0.49)), max_rounds=5).sentence.startswith("Worse than the start:")
    assert decide(found(0.50, (0.46, 0.54)), max_rounds=5).sentence.startswith("No better than the start:")


def test_simulated_raters_are_called_simulated() -> None:
    for interval in ((0.55, 0.70), (0.31, 0.49), (0.4, 0.6), None):
        decision = decide(replace(found(0.5, interval), sources=("simulated",)), max_rounds=5)
        assert "simulated" in decision.sentence
        assert "people" not in decision.sentence


def test_another_round_is_proposed_while_there_is_one() -> None:
    for interval in ((0.55, 0.70), (0.31, 0.49), (0.4, 0.6)):
        open_, last = (decide(found(0.5, interval), max_rounds=rounds).next_step for rounds in (2, 1))
        assert "expound run" in open_
        assert "All rounds are used" in last
        assert "max_rounds" in last


def test_too_little_says_about_how_many_more_would_decide() -> None:
    """Half a width of .08 has to come to .06: (8/6)² times the prompts, two comparisons each."""
    step = decide(found(0.56, (0.48, 0.64)), max_rounds=5).next_step
    more, prompts = (int(figure) for figure in re.findall(r"\d+", step)[:2])
    assert prompts == pytest.approx(60 * (16 / 9 - 1), abs=1)
    assert more == 2 * prompts


def test_too_little_for_an_interval_says_what_is_missing() -> None:
    decision = decide(found(0.8, None, prompts=12), max_rounds=5)
    assert "8 more held-out prompts" in decision.next_step
    assert "below 20 prompts" in decision.sentence


def test_a_difference_that_no_number_would_show_is_said_to_be_so() -> None:
    assert "hardly settle it" in decide(found(0.525, (0.40, 0.65)), max_rounds=5).next_step


def test_unchanged_explanations_are_called_unchanged() -> None:
    same = replace(found(0.5, (0.44, 0.56)), wins=0, losses=0, ties=0, comparisons=0, equal=24, sources=())
    decision = decide(same, max_rounds=5)
    assert "word for word" in decision.sentence
    assert "hardly differ" in decision.next_step


@pytest.mark.parametrize(("ratio", "is_said"), [(1.0, False), (1.4, False), (1.8, True), (0.5, True)])
def test_a_large_difference_in_length_is_said(ratio: float, is_said: bool) -> None:
    assert ("times as long" in decide(replace(BASE, length_ratio=ratio), max_rounds=5).sentence) is is_said
