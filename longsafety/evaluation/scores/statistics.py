"""Intervals and tests for shares of binary outcomes: thin functions over statsmodels, scipy and numpy.

Items made from one document are not independent, so differences between arms are resampled by document. Wilson
intervals treat every item as independent, so over the twins of one item they are somewhat too narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm
from statsmodels.stats.multitest import multipletests
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
    ``scipy.stats.binomtest(gained, gained + lost).pvalue``, but vectorised; 1 where nothing changed.
    """
    up, down = np.broadcast_arrays(np.asarray(gained, dtype=np.int64), np.asarray(lost, dtype=np.int64))
    return np.asarray(np.minimum(1.0, 2 * binom.cdf(np.minimum(up, down), up + down, 0.5)))[()]


def cluster_bootstrap(
    sums: ArrayLike, sizes: ArrayLike, *, samples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over items in clusters, which are resampled whole.

    ``sums (C,)`` are the clusters' sums and ``sizes (C,)`` their numbers of items; the mean is ``Σ sums / Σ sizes``.
    nan where C is 0, and one point where all clusters are equal. C draws from C clusters are one multinomial draw of
    how often each distinct cluster occurs, so the cost does not grow with C and the order does not matter.
    """
    both = np.column_stack([np.round(np.asarray(sums, dtype=float), 9), np.asarray(sizes, dtype=float)])
    if not len(both):
        return np.nan, np.nan
    kinds, counts = np.unique(both, axis=0, return_counts=True)
    if len(kinds) == 1:
        return (float(kinds[0, 0] / kinds[0, 1]),) * 2
    draws = np.random.default_rng(seed).multinomial(len(both), counts / len(both), size=samples)
    low, high = np.quantile(draws @ kinds[:, 0] / (draws @ kinds[:, 1]), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def cluster_error(sums: ArrayLike, sizes: ArrayLike) -> float:
    """Standard error of the mean of paired differences in [-1, 1] in clusters (as :func:`cluster_bootstrap`).

    Cluster-robust (Liang and Zeger 1986; for evaluations, Miller 2024, arXiv 2411.00640), and at least the error with
    one more item changed each way (Agresti and Min 2005): no change among few items proves little. nan with fewer than
    two clusters.
    """
    total, size = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    if len(size) < 2:
        return float("nan")
    n = size.sum()
    residuals = total - total.sum() / n * size
    error = np.sqrt(len(size) / (len(size) - 1) * (residuals**2).sum()) / n
    return float(max(error, 1 / (n + 2)))


def detectable(error: ArrayLike, *, confidence: float, power: float = 0.8) -> Floats:
    """The smallest true difference that a two-sided test at ``1 - confidence`` finds with this power."""
    return np.asarray((norm.ppf((1 + confidence) / 2) + norm.ppf(power)) * np.asarray(error, dtype=float))


def equivalence(difference: ArrayLike, error: ArrayLike, margin: float) -> Floats:
    """p-value of two one-sided tests (TOST, Schuirmann 1987): small where the true difference lies within ±margin."""
    away = (margin - np.abs(np.asarray(difference, dtype=float))) / np.asarray(error, dtype=float)
    return np.asarray(norm.sf(away))


def false_discovery(p_values: ArrayLike) -> Floats:
    """Benjamini and Hochberg's (1995) adjusted p-values of one family of tests; nan stays nan and is not counted."""
    found = np.asarray(p_values, dtype=float).copy()
    known = ~np.isnan(found)
    if known.any():
        found[known] = multipletests(found[known], method="fdr_bh")[1]
    return found
