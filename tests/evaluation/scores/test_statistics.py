"""The statistics against known values, scipy and simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test, t

from longsafety.evaluation.scores.statistics import (
    cluster_error,
    cluster_interval,
    clustered_wilson,
    detectable,
    equivalence,
    false_discovery,
    mcnemar_exact,
    sign_flip,
    too_few,
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


def test_wilson_reaches_none_and_all() -> None:
    for n in (*range(1, 60), 1.7, 33.3):
        assert wilson(0, n, 0.95)[0] == 0 and wilson(n, n, 0.95)[1] == 1


def test_wilson_narrows_with_less_confidence() -> None:
    assert np.diff(wilson(5, 10, 0.5))[0] < np.diff(wilson(5, 10, 0.95))[0]


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (6, 0), (5, 2), (2, 5), (7, 7), (40, 61)])
def test_mcnemar_is_the_binomial_test_of_the_changed_items(gained: int, lost: int) -> None:
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_exact(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    # 6 changes, all the same way: 2 / 2**6. 5 against 2: 2 (1 + 7 + 21) / 2**7.
    assert mcnemar_exact([6, 5], [0, 2]).tolist() == pytest.approx([0.03125, 58 / 128])


def brute_force(sums: list[float]) -> float:
    """Every assignment of signs, one by one."""
    observed = abs(sum(sums))
    flipped = [
        abs(sum(s * x for s, x in zip(signs, sums, strict=True))) for signs in product((1, -1), repeat=len(sums))
    ]
    return float(np.mean([total >= observed - 1e-9 for total in flipped]))


@pytest.mark.parametrize(
    "sums",
    [[1.0], [1.0] * 6, [1, 1, 1, -1, 1, 1], [2, -1, 0.5, 3, 1], [0.25, 0.75, -0.5, 1, 1, 2.5], [-3, 1, -2, -2]],
)
def test_sign_flip_tries_every_assignment_of_signs(sums: list[float]) -> None:
    assert sign_flip(sums) == pytest.approx(brute_force(sums))
    assert sign_flip([0.0, *sums, 0.0]) == sign_flip(sums), "clusters that do not differ say nothing"
    assert sign_flip([-value for value in sums]) == sign_flip(sums)


@pytest.mark.parametrize("count", [8, 13, 14, 30, 120])
def test_sign_flip_is_scipys_permutation_test_of_samples(count: int) -> None:
    sums = np.random.default_rng(count).normal(0.25, 1, count)
    # One sample with permutation_type 'samples' is the sign-flip test of paired data.
    found = permutation_test(
        (sums, np.zeros(count)), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=2**13 if count <= 13 else 20_000, rng=np.random.default_rng(1),
    ).pvalue  # fmt: skip
    assert sign_flip(sums) == pytest.approx(found, abs=1e-12 if count <= 13 else 0.02)


def test_sign_flip_of_single_items_is_mcnemar_and_of_nothing_is_one() -> None:
    assert sign_flip([]) == sign_flip([0.0, 0.0]) == 1.0
    for gained, lost in ((6, 0), (5, 2), (9, 3)):
        assert sign_flip([1.0] * gained + [-1.0] * lost) == pytest.approx(mcnemar_exact(gained, lost))
    assert sign_flip([1.0] * 70 + [-1.0] * 45) == pytest.approx(mcnemar_exact(70, 45), abs=0.01)


def test_sign_flip_never_says_zero_and_is_deterministic() -> None:
    assert sign_flip(np.ones(400)) == 1 / 10_001
    sums = np.random.default_rng(0).normal(0.1, 1, 300)
    assert sign_flip(sums) == sign_flip(sums)


def test_too_few_clusters_could_never_be_significant() -> None:
    for count in range(1, 12):
        best = sign_flip(np.ones(count))
        assert too_few(count, 0.95) == (best > 0.05)
    assert [too_few(count, 0.99) for count in (7, 8)] == [True, False]


def clustered(rng: np.random.Generator, *, seeds: int = 40, contexts: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Differences of -1, 0 and 1 with mean .1 and an intraclass correlation of about .7: sums and sizes of clusters."""

    def drawn(*size: int) -> np.ndarray:
        return rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.6, 0.25], size=size)

    items = np.where(rng.random((seeds, contexts)) < np.sqrt(0.7), drawn(seeds, 1), drawn(seeds, contexts))
    return items.sum(axis=1), np.full(seeds, contexts)


def test_intervals_of_differences_have_their_nominal_coverage_and_those_of_items_do_not() -> None:
    rng = np.random.default_rng(2)
    hits = np.zeros(2)
    for _ in range(1500):
        sums, sizes = clustered(rng)
        low, high = cluster_interval(sums, sizes, 0.95)
        mean, spread = sums.sum() / sizes.sum(), np.sqrt(0.4 - 0.01) / np.sqrt(sizes.sum())
        hits += [low <= 0.1 <= high, abs(mean - 0.1) <= 1.96 * spread]
    assert hits[0] / 1500 == pytest.approx(0.95, abs=0.02) and hits[1] / 1500 < 0.87


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_clustered_wilson_has_its_nominal_coverage_and_wilson_does_not(share: float) -> None:
    rng = np.random.default_rng(3)
    hits = np.zeros(2)
    for _ in range(1500):
        common, own = rng.random((60, 1)) < share, rng.random((60, 4)) < share
        items = np.where(rng.random((60, 4)) < np.sqrt(0.7), common, own)
        intervals = [clustered_wilson(items.sum(1), np.full(60, 4), 0.95), wilson(items.sum(), items.size, 0.95)]
        for at, (low, high) in enumerate(np.array(intervals)):
            hits[at] += low <= share <= high
    assert 0.925 < hits[0] / 1500 < 0.985 and hits[1] / 1500 < 0.8


def test_clustered_wilson_of_single_items_is_wilson_and_of_equal_clusters_counts_clusters() -> None:
    for hits in (0, 3, 10):
        alone = clustered_wilson([1.0] * hits + [0.0] * (10 - hits), [1] * 10, 0.95)
        assert alone == pytest.approx(wilson(hits, 10, 0.95))
    assert clustered_wilson([4, 4, 4], [4, 4, 4], 0.95) == pytest.approx(wilson(3, 3, 0.95))
    assert np.isnan(clustered_wilson([], [], 0.95)).all()


def test_an_interval_needs_two_clusters_and_stays_within_its_range() -> None:
    assert np.isnan(cluster_interval([3.0], [3], 0.95)).all()
    assert cluster_interval([1.0, 1.0, 0.0], [1, 1, 1], 0.95)[1] == 1.0
    low, high = cluster_interval([0.0] * 30, [2] * 30, 0.95)
    assert high == -low == pytest.approx(t.ppf(0.975, 29) / 32), "no change among 30 clusters leaves room for one"


def test_error_of_single_items_is_the_usual_one_and_never_none() -> None:
    differences = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], size=50)
    assert cluster_error(differences, np.ones(50)) == pytest.approx(differences.std(ddof=1) / np.sqrt(50))
    assert cluster_error(np.zeros(30), np.full(30, 4)) == pytest.approx(1 / 32)
    assert np.isnan(cluster_error([1.0], [5.0]))


def test_a_true_difference_of_the_detectable_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(4)
    error = np.sqrt(0.3 / 400)
    shift = float(detectable(error, 400, confidence=0.95))
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


def test_few_clusters_need_more_for_equality_and_find_less() -> None:
    p_values = equivalence(0.0, 0.03, 0.05, clusters=[2, 10, 1000])
    assert p_values == pytest.approx([t.sf(5 / 3, 1), t.sf(5 / 3, 9), 0.0478], abs=1e-3)
    least = detectable(0.03, [2, 10, 1000], confidence=0.95)
    assert least == pytest.approx([0.03 * (t.ppf(0.975, free) + t.ppf(0.8, free)) for free in (1, 9, 999)])
    assert least[2] == pytest.approx(2.8 * 0.03, rel=1e-2)
    assert np.isnan([equivalence(0.0, 0.03, 0.05, clusters=1), detectable(0.03, 1, confidence=0.95)]).all()


def test_false_discovery_by_hand() -> None:
    found = false_discovery([0.01, np.nan, 0.04, 0.03, 0.5])
    assert found == pytest.approx([0.04, np.nan, 0.16 / 3, 0.16 / 3, 0.5], nan_ok=True)
    assert np.isnan(false_discovery([np.nan])).all()
