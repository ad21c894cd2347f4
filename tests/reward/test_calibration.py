"""Accuracy on prompts left out, by hand and where the truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from expound.errors import NothingToLearn
from expound.reward.calibration import (
    folds,
    learning_curve,
    left_out_accuracy,
    length_accuracy,
    normaliser,
    pair_accuracy,
)
from expound.reward.fit import Material, fit_heads, predict
from tests.reward.test_fit import made


def test_pairs_are_counted_within_prompts_by_hand() -> None:
    """Prompt a: 3 pairs, one of equal verdicts; b: 1 pair. Right: 1, half: 1 (equal rewards), wrong: 1."""
    values, predicted = np.array([1.0, 2.0, 2.0, 5.0, 4.0]), np.array([0.0, 1.0, 0.0, 0.0, 3.0])
    material = Material(np.zeros((5, 1)), values, ("a", "a", "a", "b", "b"))
    found = pair_accuracy(predicted, material)
    assert found.pairs == 3
    assert found.share == pytest.approx(0.5)
    # Wilson 1927 for 1.5 of 3.
    assert (found.low, found.high) == pytest.approx((0.1253, 0.8747), abs=1e-4)


def test_a_prompt_is_in_one_fold_and_every_row_in_one() -> None:
    prompts = [f"p{row % 13}" for row in range(40)]
    parts = folds(prompts, seed=3)
    assert len(parts) == 5
    assert sorted(row for part in parts for row in part) == list(range(40))
    for one, part in enumerate(parts):
        rest = {prompts[row] for other, rows in enumerate(parts) if other != one for row in rows}
        assert not rest & {prompts[row] for row in part}
    assert len(folds(["a", "b", "a"], 0)) == 2
    assert folds(["a", "a"], 0) == []


def test_a_linear_truth_is_found_on_other_prompts_and_noise_is_not() -> None:
    material = made(30)
    assert left_out_accuracy(material, 0).share > 0.85
    noise = replace(material, values=np.random.default_rng(1).normal(size=150))
    accuracy = left_out_accuracy(noise, 0)
    assert accuracy.low < 0.5 < accuracy.high
    assert accuracy.pairs == 300


def test_left_out_prompts_do_not_help_their_own_reward() -> None:
    """With a feature that names the prompt's best response only there, fitting on it would give nearly 1."""
    generator = np.random.default_rng(2)
    prompts = tuple(f"p{row // 3}" for row in range(60))
    material = Material(np.eye(60), generator.normal(size=60), prompts)
    assert predict(fit_heads(material, 1, 0), material.features)[0] is not None
    assert pair_accuracy(predict(fit_heads(material, 1, 0), material.features)[0], material).share == 1.0
    assert left_out_accuracy(material, 0).share == 0.5


@pytest.mark.parametrize("sign", [1, -1])
def test_length_alone_may_mean_longer_or_shorter(sign: int) -> None:
    material = made(30)
    tokens = np.random.default_rng(3).permutation(np.arange(1, 151)).tolist()
    material = replace(material, values=sign * np.array(tokens, dtype=float))
    assert length_accuracy(material, tokens, 0).share == 1.0


def test_one_prompt_tells_nothing() -> None:
    accuracy = left_out_accuracy(made(1), 0)
    assert (accuracy.share, accuracy.low, accuracy.high, accuracy.pairs) == (0.5, 0.0, 1.0, 0)


def test_pairs_that_say_the_same_again_make_no_interval_narrower() -> None:
    """Each prompt's verdict told by 1 pair and by 25: what was drawn is prompts, and there are as many."""
    signs = np.random.default_rng(5).choice((-1.0, 1.0), size=60, p=(0.3, 0.7))

    def width(copies: int) -> float:
        values = np.tile(np.repeat([0.0, 1.0], copies), 60)
        prompts = tuple(f"p{row // (2 * copies)}" for row in range(len(values)))
        predicted = np.repeat(signs, 2 * copies) * values
        found = pair_accuracy(predicted, Material(np.zeros((len(values), 1)), values, prompts))
        assert found.share == pytest.approx((signs > 0).mean())
        assert found.pairs == 60 * copies**2
        return found.high - found.low

    assert width(5) == pytest.approx(width(1), rel=0.05)


def wide(prompts: int, seed: int = 0) -> Material:
    """Thirty features that all count a little, in noise: to find their weights takes many prompts."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(4 * prompts, 30))
    values = features @ generator.normal(size=30) / 5 + 0.7 * generator.normal(size=4 * prompts)
    return Material(features, values, tuple(f"p{row // 4}" for row in range(4 * prompts)))


def test_the_curve_rises_where_more_prompts_teach_more() -> None:
    material = wide(60)
    curve = learning_curve(material, 0)
    assert [(point.share, point.prompts) for point in curve.points] == [(0.25, 15), (0.5, 30), (0.75, 45), (1.0, 60)]
    shares = [point.accuracy for point in curve.points]
    assert shares == sorted(shares)
    assert curve.interval is not None
    assert 0 < curve.interval[0] < curve.gain < curve.interval[1]
    assert curve.gain == pytest.approx(shares[3] - shares[1])
    points = curve.points[-1].high - curve.points[-1].low
    assert curve.interval[1] - curve.interval[0] < points, "one pair is its own measure"


def test_the_curve_ends_in_the_accuracy_of_the_card() -> None:
    material = wide(25)
    last, whole = learning_curve(material, 3).points[-1], left_out_accuracy(material, 3)
    assert (last.accuracy, last.low, last.high) == (whole.share, whole.low, whole.high)


def test_the_curve_is_flat_where_few_prompts_teach_all() -> None:
    generator = np.random.default_rng(4)
    features = generator.normal(size=(800, 1))
    material = Material(features, features[:, 0] + 0.1, tuple(f"p{row // 4}" for row in range(800)))
    curve = learning_curve(material, 0)
    assert [point.accuracy for point in curve.points] == [1.0] * 4
    assert (curve.gain, curve.interval) == (0.0, (0.0, 0.0))


def test_the_curve_claims_nothing_of_noise_and_of_few_prompts() -> None:
    noise = replace(wide(60), values=np.random.default_rng(1).normal(size=240))
    curve = learning_curve(noise, 0)
    assert curve.interval is not None
    assert curve.interval[0] < 0 < curve.interval[1]
    assert learning_curve(wide(12), 0).interval is None
    assert [point.accuracy for point in learning_curve(wide(1), 0).points] == [0.5] * 4


def test_no_fact_depends_on_the_order_of_the_examples() -> None:
    """To the last bit, with responses of equal features among them, whose rewards must stay equal."""
    material = wide(24)
    material.features[1], material.features[6] = material.features[0], material.features[5]
    again = material.part(np.random.default_rng(8).permutation(len(material.values)))
    assert learning_curve(again, 2) == learning_curve(material, 2)
    assert left_out_accuracy(again, 2) == left_out_accuracy(material, 2)


def test_the_normaliser_reads_the_reference_if_it_has_enough() -> None:
    material = made(20)
    heads = fit_heads(material, 3, 0)
    rewards, spreads = predict(heads, material.features)
    enough = [row < 64 for row in range(100)]
    some = (rewards[:64].mean(), rewards[:64].std(), spreads[:64].mean())
    assert normaliser(heads, material.features, enough) == pytest.approx(some)
    few = [row < 63 for row in range(100)]
    assert normaliser(heads, material.features, few) == pytest.approx((rewards.mean(), rewards.std(), spreads.mean()))
    with pytest.raises(NothingToLearn, match="the same for all"):
        normaliser(heads, np.repeat(material.features[:1], 5, axis=0), [False] * 5)
