"""The statistics against known values, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from longsafety.evaluation.statistics import bootstrap_counts, mcnemar_exact, paired_bootstrap, wilson


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


def test_wilson_takes_arrays_and_leaves_nothing_known_of_nothing() -> None:
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


def test_bootstrap_is_deterministic_and_follows_its_seed() -> None:
    differences = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=97)
    first = paired_bootstrap(differences, samples=500, confidence=0.95, seed=3)
    assert first == paired_bootstrap(differences[::-1], samples=500, confidence=0.95, seed=3)
    assert first != paired_bootstrap(differences, samples=500, confidence=0.95, seed=4)


@pytest.mark.parametrize(("differences", "end"), [([0.0] * 9, 0.0), ([1.0], 1.0), ([-1.0, -1.0], -1.0)])
def test_bootstrap_of_identical_differences_is_one_point(differences: list[float], end: float) -> None:
    assert paired_bootstrap(differences, samples=100, confidence=0.95, seed=0) == (end, end)


def test_bootstrap_of_nothing_is_unknown() -> None:
    assert np.isnan(paired_bootstrap([], samples=100, confidence=0.95, seed=0)).all()


def test_bootstrap_agrees_with_resampling_the_items_themselves() -> None:
    rng = np.random.default_rng(1)
    differences = rng.choice([-1.0, 0.0, 0.5, 1.0], p=[0.1, 0.5, 0.1, 0.3], size=120)
    means = differences[rng.integers(0, 120, size=(20_000, 120))].mean(axis=1)
    expected = np.quantile(means, [0.025, 0.975])
    assert paired_bootstrap(differences, samples=20_000, confidence=0.95, seed=0) == pytest.approx(expected, abs=0.01)


def test_bootstrap_covers_the_true_difference_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    counts = rng.multinomial(150, [0.15, 0.55, 0.3], size=400)
    low, high = bootstrap_counts([-1, 0, 1], counts, samples=400, confidence=0.9, seed=0)
    assert 0.84 < np.mean((low <= 0.15) & (high >= 0.15)) < 0.96


def test_a_table_gives_the_same_interval_alone_and_among_others() -> None:
    tables = [[0, 7, 3], [2, 5, 3], [0, 0, 0], [2, 5, 3]]
    low, high = bootstrap_counts([-1, 0, 1], tables, samples=300, confidence=0.95, seed=5)
    alone = paired_bootstrap([-1] * 2 + [0] * 5 + [1] * 3, samples=300, confidence=0.95, seed=5)
    assert (low[1], high[1]) == (low[3], high[3]) == alone
    assert np.isnan([low[2], high[2]]).all()
