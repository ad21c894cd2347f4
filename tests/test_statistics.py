"""Intervals and tests, each beside scipy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from expound.statistics import bootstrap_interval, cluster_interval, ratio_interval, wilson


def skewed(n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(5).exponential(size=n)


def test_the_bootstrap_is_the_percentile_interval() -> None:
    values = skewed(40)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert bootstrap_interval(list(values)) == pytest.approx(tuple(theirs), abs=0.02)


def test_the_bootstrap_depends_on_its_seed_alone_and_stays_inside_the_values() -> None:
    values = list(skewed(25))
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)
    assert bootstrap_interval([0.7, 0.7]) == pytest.approx((0.7, 0.7))
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_a_large_bootstrap_is_drawn_in_parts() -> None:
    low, high = bootstrap_interval(list(skewed(1_500)), draws=1_000)
    assert low < float(skewed(1_500).mean()) < high


def test_few_clusters_get_students_interval_and_fewer_none() -> None:
    values = list(skewed(30))
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval()
    assert cluster_interval(values) == pytest.approx((theirs.low, theirs.high))
    assert cluster_interval(values[:20]) is not None
    assert cluster_interval(values[:19]) is None


def test_many_clusters_get_the_normal_interval() -> None:
    values = skewed(60)
    theirs = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    assert cluster_interval(list(values)) == pytest.approx(theirs)


@pytest.mark.parametrize(("successes", "n"), [(0, 12), (5, 12), (12, 12), (311, 900)])
def test_wilson_is_wilson(successes: int, n: int) -> None:
    theirs = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((theirs.low, theirs.high))


def test_nothing_counted_means_nothing_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_of_a_ratio_is_that_of_drawing_clusters() -> None:
    """Beside scipy's bootstrap of the ratio, and equal to the interval of a mean where all clusters count alike."""
    generator = np.random.default_rng(7)
    counts = generator.integers(1, 12, size=200)
    sums = generator.binomial(counts, generator.beta(4, 2, size=200))
    found = ratio_interval(list(zip(sums.tolist(), counts.tolist(), strict=True)))
    drawn = stats.bootstrap(
        (sums, counts), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, method="percentile", rng=1
    ).confidence_interval
    assert found == pytest.approx((drawn.low, drawn.high), abs=0.006)
    values = list(skewed(40))
    assert ratio_interval([(3 * value, 3) for value in values]) == pytest.approx(cluster_interval(values))
    assert ratio_interval([(1.0, 2)] * 19) is None
