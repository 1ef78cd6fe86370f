"""The statistics against known values, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from longsafety.evaluation.scores.statistics import (
    cluster_bootstrap,
    cluster_error,
    detectable,
    equivalence,
    false_discovery,
    mcnemar_exact,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),
        (5, 10, 0.236593, 0.763407),
        (10, 10, 0.722467, 1.0),
        (81, 263, 0.255266, 0.366176),  # Newcombe 1998, table I: .2553 to .3662
    ],
)
def test_wilson_gives_known_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n, 0.95) == pytest.approx((low, high), abs=1e-4)


def test_wilson_takes_arrays_and_is_nan_without_items() -> None:
    low, high = wilson([0, 5, 2.5], [0, 10, 5], 0.95)
    assert np.isnan([low[0], high[0]]).all()
    assert (low[1], high[1]) == wilson(5, 10, 0.95)
    assert low[2] < 0.5 < high[2]
    assert np.isnan(wilson(0, 0, 0.95)).all()


def test_wilson_narrows_with_less_confidence() -> None:
    assert np.diff(wilson(5, 10, 0.5))[0] < np.diff(wilson(5, 10, 0.95))[0]


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (6, 0), (5, 2), (2, 5), (7, 7), (40, 61)])
def test_mcnemar_is_the_binomial_test_of_the_changed_items(gained: int, lost: int) -> None:
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_exact(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    # 6 changes, all the same way: 2 / 2**6. 5 against 2: 2 (1 + 7 + 21) / 2**7.
    assert mcnemar_exact([6, 5], [0, 2]).tolist() == pytest.approx([0.03125, 58 / 128])


def bootstrap(differences: ArrayLike, seed: int = 0, samples: int = 500) -> tuple[float, float]:
    return cluster_bootstrap(differences, np.ones_like(differences), samples=samples, confidence=0.95, seed=seed)


def test_bootstrap_is_deterministic_and_follows_its_seed() -> None:
    differences = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=97)
    first = bootstrap(differences, seed=3)
    assert first == bootstrap(differences[::-1], seed=3)
    assert first != bootstrap(differences, seed=4)


@pytest.mark.parametrize(("differences", "end"), [([0.0] * 9, 0.0), ([1.0], 1.0), ([-1.0, -1.0], -1.0)])
def test_bootstrap_of_identical_differences_is_one_point(differences: list[float], end: float) -> None:
    assert bootstrap(differences) == (end, end)


def test_bootstrap_without_items_is_nan() -> None:
    assert np.isnan(bootstrap([])).all()


def test_bootstrap_agrees_with_resampling_the_clusters_themselves() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 6, size=90)
    sums = np.array([rng.choice([-1.0, 0.0, 0.5, 1.0], size=size).sum() for size in sizes])
    drawn = rng.integers(0, 90, size=(20_000, 90))
    expected = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    found = cluster_bootstrap(sums, sizes, samples=20_000, confidence=0.95, seed=0)
    assert found == pytest.approx(expected, abs=0.01)


def clustered(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """40 documents with 6 items each, whose differences go by their document: true mean 0.2."""
    share = rng.choice([0.05, 0.35], size=40)
    return rng.binomial(6, share).astype(float), np.full(40, 6.0)


def test_intervals_over_documents_have_their_nominal_coverage() -> None:
    rng = np.random.default_rng(2)
    hits = np.zeros(3)
    for _ in range(300):
        sums, sizes = clustered(rng)
        low, high = cluster_bootstrap(sums, sizes, samples=300, confidence=0.9, seed=0)
        half = 1.645 * cluster_error(sums, sizes)
        items = np.repeat([1.0, 0.0], [int(sums.sum()), int(240 - sums.sum())])
        narrow = cluster_bootstrap(items, np.ones(240), samples=300, confidence=0.9, seed=0)
        mean = sums.sum() / 240
        hits += [low <= 0.2 <= high, mean - half <= 0.2 <= mean + half, narrow[0] <= 0.2 <= narrow[1]]
    assert (hits[:2] / 300 == pytest.approx([0.9, 0.9], abs=0.06)) and hits[2] / 300 < 0.84


def test_error_of_single_items_is_the_usual_one_and_never_none() -> None:
    differences = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], size=50)
    assert cluster_error(differences, np.ones(50)) == pytest.approx(differences.std(ddof=1) / np.sqrt(50))
    assert cluster_error(np.zeros(30), np.ones(30)) == pytest.approx(1 / 32)
    assert np.isnan(cluster_error([1.0], [5.0]))


def test_a_true_difference_of_the_detectable_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(4)
    error = np.sqrt(0.3 / 400)
    shift = float(detectable(error, confidence=0.95))
    found = 0
    for _ in range(400):
        changed = rng.random(400) < 0.3 + shift**2
        ups = rng.random(400) < 0.5 + shift / (2 * (0.3 + shift**2))
        differences = np.where(changed, np.where(ups, 1.0, -1.0), 0.0)
        found += abs(differences.mean()) > 1.96 * cluster_error(differences, np.ones(400))
    assert found / 400 == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(
    ("difference", "error", "p_value"), [(0.0, 0.03, 0.0478), (0.05, 0.01, 0.5), (-0.2, 0.05, 0.9987)]
)
def test_equivalence_by_hand(difference: float, error: float, p_value: float) -> None:
    assert equivalence(difference, error, 0.05) == pytest.approx(p_value, abs=1e-4)


def test_false_discovery_by_hand() -> None:
    found = false_discovery([0.01, np.nan, 0.04, 0.03, 0.5])
    assert found == pytest.approx([0.04, np.nan, 0.16 / 3, 0.16 / 3, 0.5], nan_ok=True)
    assert np.isnan(false_discovery([np.nan])).all()
