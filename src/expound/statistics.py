"""Intervals and tests that two steps need: clusters are what was drawn independently, usually prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from expound.records import Json, content_id

LEVEL = 0.95
FEWEST_CLUSTERS = 20
T_BELOW = 60


def keyed_generator(*parts: Json) -> np.random.Generator:
    """Return a generator that depends on the parts alone, so that there is no state to save."""
    return np.random.Generator(np.random.Philox(key=int(content_id(*parts), 16)))


def bootstrap_interval(
    values: Sequence[float], *, draws: int = 10_000, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean, drawing clusters with replacement.

    `values` are the clusters' means, at least one; differences of pairs give the paired interval. Draws are sums of
    at most a million values at a time, so that memory stays small.
    """
    clusters = np.asarray(values, dtype=float)
    assert clusters.size, "an interval needs at least one cluster"
    generator = np.random.Generator(np.random.Philox(seed))
    batch = max(1, 1_000_000 // clusters.size)
    sizes = [min(batch, draws - start) for start in range(0, draws, batch)]
    means = [clusters[generator.integers(clusters.size, size=(size, clusters.size))].mean(axis=1) for size in sizes]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def cluster_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of clusters' means, or None below 20 clusters.

    Student's t below 60 clusters, where the spread itself is uncertain; the normal distribution above.
    """
    clusters = np.asarray(values, dtype=float)
    if clusters.size < FEWEST_CLUSTERS:
        return None
    return _around(float(clusters.mean()), clusters)


def _around(centre: float, clusters: NDArray[np.float64]) -> tuple[float, float]:
    half = cluster_quantile(clusters.size) * float(clusters.std(ddof=1) / np.sqrt(clusters.size))
    return centre - half, centre + half


def cluster_quantile(clusters: int) -> float:
    """Return the standard errors that a 95 % interval of so many clusters, at least two, reaches to either side."""
    tail = (1 + LEVEL) / 2
    return float(stats.t.ppf(tail, clusters - 1) if clusters < T_BELOW else stats.norm.ppf(tail))


def ratio_interval(counted: Sequence[tuple[float, int]]) -> tuple[float, float] | None:
    """Return the 95 % interval of a sum over a count, from both in each cluster, or None below 20 clusters.

    Larger clusters weigh more, as they do in the ratio; its error is linearised (Cochran 1977, chapter 6).
    """
    if len(counted) < FEWEST_CLUSTERS:
        return None
    sums, counts = np.array(counted, dtype=float).T
    ratio = float(sums.sum() / counts.sum())
    return _around(ratio, (sums - ratio * counts) / counts.mean())


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share (Wilson 1927); all that is known of none is (0, 1)."""
    if n == 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    share, shrink = successes / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / shrink
    return max(0.0, centre - half), min(1.0, centre + half)
