"""Intervals and tests for shares of outcomes: thin functions over statsmodels, scipy and numpy.

The unit is the cluster: the seed item that items were made of, for items made of one seed item are not independent.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, t
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

Floats = NDArray[np.float64]
SAME = 1e-9
"""Outcomes may be means over orders of the options or over trainings; they are the same up to rounding."""


def wilson(successes: ArrayLike, n: ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Wilson score interval of ``successes / n`` (numbers or arrays; the result has their common shape).

    ``successes`` may hold halves (ties). Where ``n`` is 0 both ends are nan.
    """
    count, trials = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(n, dtype=float))
    known = trials > 0
    low, high = proportion_confint(
        np.where(known, count, 0.0), np.where(known, trials, 1.0), alpha=1 - confidence, method="wilson"
    )
    # At 0 and at n successes the closed form misses 0 and 1 by a rounding error.
    low = np.where(count == 0, 0.0, np.clip(low, 0.0, 1.0))
    high = np.where(count == trials, 1.0, np.clip(high, 0.0, 1.0))
    return np.where(known, low, np.nan)[()], np.where(known, high, np.nan)[()]


def mcnemar_exact(gained: ArrayLike, lost: ArrayLike) -> Floats:
    """Two-sided p-value of the exact McNemar test (numbers or arrays; the result has their common shape).

    ``gained`` and ``lost`` count the items whose binary outcome went 0 → 1 and 1 → 0. Equal to
    ``scipy.stats.binomtest(gained, gained + lost).pvalue``, but vectorised; 1 where nothing changed.
    """
    up, down = np.broadcast_arrays(np.asarray(gained, dtype=np.int64), np.asarray(lost, dtype=np.int64))
    return np.asarray(np.minimum(1.0, 2 * binom.cdf(np.minimum(up, down), up + down, 0.5)))[()]


def clustered_wilson(sums: ArrayLike, sizes: ArrayLike, confidence: float) -> tuple[float, float]:
    """Wilson interval of the share ``Σ sums / Σ sizes`` of outcomes in clusters, for the items that they are worth.

    ``sums (C,)`` and ``sizes (C,)`` as in :func:`cluster_interval`. The items count as ``n / deff``, where the design
    effect ``deff`` is the cluster-robust variance over the binomial one, at least 1 (Miller 2024, arXiv 2411.00640);
    where all outcomes are equal, as many as there are clusters. nan without a cluster.
    """
    total, size = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    n = size.sum()
    if not n:
        return np.nan, np.nan
    share = total.sum() / n
    spread, worth = share * (1 - share), float(len(size))
    if spread > 0 and len(size) > 1:
        worth = n / max(_variance(total, size) / (spread / (n - 1)), 1.0)
    low, high = wilson(min(share, 1.0) * worth, worth, confidence)  # rounding must not leave [0, 1]
    return float(low), float(high)


def _variance(total: Floats, size: Floats) -> float:
    """Cluster-robust variance of ``Σ total / Σ size`` (Liang and Zeger 1986), with two clusters or more."""
    n = size.sum()
    residuals = total - total.sum() / n * size
    return float(len(size) / (len(size) - 1) * (residuals**2).sum() / n**2)


def cluster_error(sums: ArrayLike, sizes: ArrayLike) -> float:
    """Standard error of the mean ``Σ sums / Σ sizes`` of differences in [-1, 1] over items in clusters.

    ``sums (C,)`` are the clusters' sums and ``sizes (C,)`` their numbers of items. Cluster-robust (Liang and Zeger
    1986; for evaluations, Miller 2024, arXiv 2411.00640), and at least the error that half a cluster changed each way
    would have (Agresti and Min 2005): no change among few clusters proves little. nan with fewer than two clusters.
    """
    total, size = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    if len(size) < 2:
        return float("nan")
    return float(max(np.sqrt(_variance(total, size)), 1 / (len(size) + 2)))


def cluster_interval(sums: ArrayLike, sizes: ArrayLike, confidence: float, *, most: float = 1.0) -> tuple[float, float]:
    """Interval of a mean of differences in [-``most``, ``most``] over items in clusters: Student's t with ``C - 1``
    degrees of freedom on the cluster-robust error. nan with fewer than two clusters."""
    total, size = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    if len(size) < 2:
        return np.nan, np.nan
    mean, reach = total.sum() / size.sum(), _quantile(confidence, len(size) - 1) * cluster_error(total, size)
    return float(max(mean - reach, -most)), float(min(mean + reach, most))


@cache
def _quantile(confidence: float, freedom: int) -> float:
    """Student's t that an interval of so much confidence reaches to."""
    return float(t.ppf((1 + confidence) / 2, freedom))


_EXACT, _DRAWS, _WIDTH = 13, 10_000, 256
"""Clusters up to which every assignment of signs is tried; draws beyond, kept for so many clusters at once."""


def sign_flip(sums: ArrayLike) -> float:
    """Two-sided p-value of the sign-flip test over clusters: under the null each cluster's sum is as likely ``-x`` as
    ``x`` (Fisher 1935; for clusters Canay, Romano and Shaikh 2017).

    ``sums (C,)`` are the clusters' sums of differences. Clusters that do not differ carry no information. Exact up to
    ``_EXACT`` differing clusters, then from ``_DRAWS`` seeded draws, the observed one counted among them. 1 where
    nothing differs.
    """
    moved = np.asarray(sums, dtype=float)
    moved = moved[np.abs(moved) > SAME]
    if not len(moved):
        return 1.0
    totals = np.abs(moved @ _signs(len(moved)))
    reached = totals >= abs(moved.sum()) - SAME * len(moved)
    if len(moved) <= _EXACT:
        return float(reached.mean())
    return float((1 + reached.sum()) / (1 + len(totals)))


def seed_test(sums: ArrayLike, confidence: float) -> float:
    """:func:`sign_flip`; nan where the clusters are so few that no outcome could be significant."""
    return np.nan if too_few(np.size(sums), confidence) else sign_flip(sums)


def _signs(count: int) -> Floats:
    """Assignments of signs to ``count`` clusters, ``[count, draws]``: all, or drawn ones."""
    return _every_sign(count) if count <= _EXACT else _drawn_signs(-(-count // _WIDTH) * _WIDTH)[:count]


@cache
def _every_sign(count: int) -> Floats:
    numbers = np.arange(2**count)[None, :] >> np.arange(count)[:, None]
    return np.where(numbers & 1, 1.0, -1.0)


@cache
def _drawn_signs(width: int) -> Floats:
    return np.random.default_rng(width).choice([-1.0, 1.0], size=(width, _DRAWS))


def too_few(clusters: int, confidence: float) -> bool:
    """Whether no outcome of so many clusters could be significant: the least p-value is ``2^(1 - clusters)``."""
    return 2.0 ** (1 - clusters) > 1 - confidence


def detectable(error: ArrayLike, clusters: ArrayLike, *, confidence: float, power: float = 0.8) -> Floats:
    """The smallest true difference that a two-sided test at ``1 - confidence`` finds with this power: Student's t with
    ``clusters - 1`` degrees of freedom. nan with fewer than two clusters."""
    free = np.maximum(np.asarray(clusters, dtype=float) - 1, 0)
    return np.asarray((t.ppf((1 + confidence) / 2, free) + t.ppf(power, free)) * np.asarray(error, dtype=float))


def equivalence(difference: ArrayLike, error: ArrayLike, margin: float, *, clusters: ArrayLike = np.inf) -> Floats:
    """p-value of two one-sided tests (TOST, Schuirmann 1987): small where the true difference lies within ±margin.
    Student's t with ``clusters - 1`` degrees of freedom (normal for a known error); nan with fewer than two."""
    away = (margin - np.abs(np.asarray(difference, dtype=float))) / np.asarray(error, dtype=float)
    return np.asarray(t.sf(away, np.maximum(np.asarray(clusters, dtype=float) - 1, 0)))


def false_discovery(p_values: ArrayLike) -> Floats:
    """Benjamini and Hochberg's (1995) adjusted p-values of one family of tests; nan stays nan and is not counted."""
    found = np.asarray(p_values, dtype=float).copy()
    known = ~np.isnan(found)
    if known.any():
        found[known] = multipletests(found[known], method="fdr_bh")[1]
    return found
