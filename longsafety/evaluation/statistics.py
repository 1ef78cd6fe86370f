"""Intervals and tests for shares of binary outcomes: thin functions over statsmodels, scipy and numpy.

All take every item as one independent draw. Twins made from the same harmful item are not quite that, so an interval
over pooled twin kinds is somewhat too narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

Floats = NDArray[np.float64]


def wilson(successes: ArrayLike, n: ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Wilson score interval of ``successes / n`` (numbers or arrays; the result has their common shape).

    ``successes`` may hold halves (ties). Where ``n`` is 0 both ends are nan.
    """
    count, trials = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(n, dtype=float))
    known = trials > 0
    low, high = proportion_confint(
        np.where(known, count, 0.0), np.where(known, trials, 1.0), alpha=1 - confidence, method="wilson"
    )
    # At 0 and at n successes the closed form leaves [0, 1] by a rounding error.
    low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    return np.where(known, low, np.nan)[()], np.where(known, high, np.nan)[()]


def mcnemar_exact(gained: ArrayLike, lost: ArrayLike) -> Floats:
    """Two-sided p-value of the exact McNemar test (numbers or arrays; the result has their common shape).

    ``gained`` and ``lost`` count the items whose binary outcome went 0 → 1 and 1 → 0. Equal to
    ``scipy.stats.binomtest(gained, gained + lost).pvalue``, but for whole tables at once; 1 where nothing changed.
    """
    up, down = np.broadcast_arrays(np.asarray(gained, dtype=np.int64), np.asarray(lost, dtype=np.int64))
    return np.asarray(np.minimum(1.0, 2 * binom.cdf(np.minimum(up, down), up + down, 0.5)))[()]


def paired_bootstrap(differences: ArrayLike, *, samples: int, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of paired ``differences`` (shape ``(n,)``); nan where n is 0."""
    values, counts = np.unique(np.asarray(differences, dtype=float), return_counts=True)
    low, high = bootstrap_counts(values, counts[None], samples=samples, confidence=confidence, seed=seed)
    return float(low[0]), float(high[0])


def bootstrap_counts(
    values: ArrayLike, counts: ArrayLike, *, samples: int, confidence: float, seed: int
) -> tuple[Floats, Floats]:
    """:func:`paired_bootstrap` of many sets of differences, each given by how often it holds each value.

    ``values`` has shape ``(k,)`` and ``counts`` shape ``(sets, k)``; both results have shape ``(sets,)``. Resampling n
    items with replacement is one multinomial draw of the counts, so the cost does not grow with n. Every set is drawn
    from the same ``seed``: its interval does not depend on the sets beside it.
    """
    levels, table = np.asarray(values, dtype=float), np.asarray(counts, dtype=np.int64)
    distinct, place = np.unique(table, axis=0, return_inverse=True)
    ends = np.full((len(distinct), 2), np.nan)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    for row, occurrences in enumerate(distinct):
        held = occurrences > 0
        n = occurrences.sum()
        if held.sum() <= 1:
            ends[row] = levels[held] if n else np.nan
        else:
            draws = np.random.default_rng(seed).multinomial(n, occurrences[held] / n, size=samples)
            ends[row] = np.quantile(draws @ levels[held] / n, tails)
    low, high = ends[place.reshape(-1)].T
    return low, high
