"""The ridge against numpy's least squares on stacked rows, and what its members may and may not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from expound.errors import NothingToLearn
from expound.reward.fit import PENALTY, Floats, Material, fit_heads, predict


def made(prompts: int = 12, responses: int = 5, *, noise: float = 0.1, seed: int = 0) -> Material:
    """Features of very different scale; the verdict is linear in two of them; the last four are scalars."""
    generator = np.random.default_rng(seed)
    rows = prompts * responses
    features = generator.normal(size=(rows, 13)) * np.geomspace(0.01, 100, 13) + generator.normal(size=13)
    features[:, 9] = generator.random(rows) < 0.7
    features[:, 10] = np.log(generator.integers(5, 49, size=rows))
    truth = (features[:, 0] / 0.01 - features[:, 7] / np.geomspace(0.01, 100, 13)[7]) / 2
    values = truth + noise * generator.normal(size=rows)
    names = tuple(f"p{row // responses}" for row in range(rows))
    return Material(features, values, names)


def by_least_squares(material: Material, penalty: float) -> Floats:
    """Fit the plain member by least squares with a row of root penalty for each weight; return its predictions."""
    x = material.features
    z = (x - x.mean(axis=0)) / x.std(axis=0) / np.sqrt(x.shape[1])
    n, f = z.shape
    stacked = np.block([[z, np.ones((n, 1))], [np.sqrt(penalty) * np.eye(f), np.zeros((f, 1))]])
    solution = np.linalg.lstsq(stacked, np.concatenate([material.values, np.zeros(f)]), rcond=None)[0]
    return z @ solution[:f] + solution[f]


@pytest.mark.parametrize("prompts", [2, 12])
def test_the_plain_member_is_ridge_on_standardised_features(prompts: int) -> None:
    """Both ways of solving it, with fewer rows than features and with more."""
    material = made(prompts)
    found, spread = predict(fit_heads(material, 1, seed=0), material.features)
    assert PENALTY == 10.0
    assert found == pytest.approx(by_least_squares(material, 10.0), abs=1e-8)
    assert not spread.any()


def test_the_fit_follows_the_truth_and_the_members_disagree_most_where_there_is_no_data() -> None:
    material = made(40)
    heads = fit_heads(material, 4, seed=0)
    mean, spread = predict(heads, material.features)
    assert np.corrcoef(mean, material.values)[0, 1] > 0.9
    far = material.features.mean(axis=0) + 20 * (material.features - material.features.mean(axis=0))
    assert predict(heads, far)[1].mean() > 5 * spread.mean()
    assert heads.weights.shape == (4, 13)
    plain = fit_heads(material, 1, seed=5)
    assert np.array_equal(heads.weights[0], plain.weights[0])
    assert not np.array_equal(heads.weights[1], heads.weights[2])


def test_units_of_features_do_not_matter() -> None:
    material = made()
    scaled = replace(material, features=material.features * np.geomspace(1e-3, 1e3, 13) + 7)
    one, _ = predict(fit_heads(material, 3, seed=1), material.features)
    other, _ = predict(fit_heads(scaled, 3, seed=1), scaled.features)
    assert one == pytest.approx(other, abs=1e-7)


def test_members_depend_on_the_seed_alone() -> None:
    material = made()
    assert np.array_equal(fit_heads(material, 3, 1).weights, fit_heads(material, 3, 1).weights)
    assert not np.array_equal(fit_heads(material, 3, 1).weights, fit_heads(material, 3, 2).weights)


def test_a_feature_that_never_varies_tells_nothing() -> None:
    material = made()
    material.features[:, 3] = 0.1
    heads = fit_heads(material, 2, 0)
    moved = material.features.copy()
    moved[:, 3] = 55.0
    assert np.array_equal(predict(heads, moved)[0], predict(heads, material.features)[0])


@pytest.mark.parametrize("kind", ["one", "equal", "broken"])
def test_what_tells_nothing_apart_is_refused(kind: str) -> None:
    material = made(4)
    if kind == "one":
        material = material.part([0])
    elif kind == "equal":
        material.values[:] = 0.25
    else:
        material.features[3, 3] = np.nan
    with pytest.raises(NothingToLearn):
        fit_heads(material, 2, 0)
