"""Lengths: one, a list in turn, or a spread with the mean that was asked for; and grids of depths."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from longsafety.scenarios.depths import depth_grid
from longsafety.scenarios.target_lengths import target_lengths
from longsafety.settings import Length


def lengths(count: int = 100, split: str = "bench", seed: str = "0", **settings: Any) -> list[int]:
    return target_lengths(Length(**{"name": "x", "max_tokens": 1000, **settings}), split, count, seed=seed)


# One length


@pytest.mark.parametrize(
    ("settings", "train", "bench"),
    [
        ({}, 1000, 1000),
        ({"factor": 4}, 1000, 4000),
        ({"train_tokens": 300}, 300, 1000),
        ({"train_tokens": 300, "factor": 2}, 300, 2000),
    ],
)
def test_one_length(settings: dict[str, Any], train: int, bench: int) -> None:
    assert lengths(5, "train", **settings) == [train] * 5
    assert lengths(5, "bench", **settings) == [bench] * 5
    assert lengths(0, **settings) == []


# A list


def test_a_list_comes_in_turn() -> None:
    assert lengths(7, lengths=[200, 500, 1000]) == [200, 500, 1000, 200, 500, 1000, 200]
    assert lengths(7, "train", lengths=[200, 500, 1000]) == [200, 500, 1000, 200, 500, 1000, 200]
    assert lengths(2, lengths=[200, 500, 1000]) == [200, 500]


def test_a_factor_lengthens_the_benchmark_alone() -> None:
    assert lengths(2, lengths=[200, 500], factor=3) == [600, 1500]
    assert lengths(2, "train", lengths=[200, 500], factor=3) == [200, 500]


def test_a_training_length_of_its_own_overrides_a_list_and_a_spread() -> None:
    assert lengths(3, "train", lengths=[200, 500], train_tokens=300) == [300] * 3
    assert lengths(3, "train", mean_tokens=200, train_tokens=300) == [300] * 3
    assert lengths(2, "bench", lengths=[200, 500], train_tokens=300) == [200, 500]


# A spread


@pytest.mark.parametrize("count", [1, 2, 3, 10, 147, 1201, 17_468])
@pytest.mark.parametrize(
    ("longest", "mean", "spread"),
    [
        (130_816, 40_900, 0.5),  # the paper's
        (130_816, 41_900, 1.5),
        (130_816, 120_000, 0.5),
        (32_512, 2_000, 2.0),
        (1000, 1000, 0.5),
        (1000, 990, 1.0),
        (1000, 100, 0.05),
    ],
)
def test_the_mean_is_within_one_percent_and_none_is_above_the_longest(
    count: int, longest: int, mean: int, spread: float
) -> None:
    found = lengths(count, max_tokens=longest, mean_tokens=mean, spread=spread)
    assert len(found) == count
    assert abs(sum(found) / count - mean) <= 0.01 * mean
    assert max(found) <= longest
    assert min(found) >= mean // 16
    assert all(type(value) is int for value in found)


def test_a_spread_is_log_normal_with_its_deviation() -> None:
    import numpy as np

    logarithms = np.log(lengths(2000, max_tokens=10**9, mean_tokens=10**6, spread=0.5))
    assert abs(logarithms.std() - 0.5) < 0.01
    assert abs(np.mean((logarithms - logarithms.mean()) ** 3)) < 0.01
    assert np.median(np.exp(logarithms)) < 0.9 * 10**6


def test_a_wider_spread_is_wider() -> None:
    narrow, wide = (lengths(500, mean_tokens=400, spread=spread) for spread in (0.2, 0.8))
    assert max(wide) > max(narrow) and min(wide) < min(narrow)
    assert len(set(narrow)) > 50


def test_the_benchmark_may_have_a_mean_of_its_own_and_a_factor() -> None:
    settings: dict[str, Any] = {"mean_tokens": 400, "bench_mean_tokens": 500}
    train, bench = (lengths(200, split, **settings) for split in ("train", "bench"))
    assert abs(sum(train) / 200 - 400) <= 4
    assert abs(sum(bench) / 200 - 500) <= 5
    longer = lengths(200, "bench", factor=2, **settings)
    assert abs(sum(longer) / 200 - 1000) <= 10
    assert 1000 < max(longer) <= 2000
    assert lengths(3, "train", bench_mean_tokens=500) == [1000] * 3


def test_a_seed_orders_the_same_lengths_otherwise() -> None:
    first, again, other = (lengths(200, mean_tokens=400, seed=seed) for seed in ("0", "0", "1"))
    assert first == again
    assert first != other
    assert Counter(first) == Counter(other)
    assert first != sorted(first)


# Depths


def test_given_depths_are_taken() -> None:
    assert depth_grid([0.0, 0.25, 1.0], 9) == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("count", [2, 3, 5, 9, 40])
def test_a_linear_grid_is_even(count: int) -> None:
    grid = depth_grid("linear", count)
    assert (len(grid), grid[0], grid[-1]) == (count, 0.1, 0.9)
    steps = [after - before for before, after in pairwise(grid)]
    assert max(steps) - min(steps) < 3e-4


@pytest.mark.parametrize("count", [3, 5, 9, 40])
def test_a_sigmoid_grid_is_denser_towards_both_ends(count: int) -> None:
    grid = depth_grid("sigmoid", count)
    assert len(grid) == count
    assert grid == sorted(grid)
    assert all(abs(low + high - 1) < 2e-4 for low, high in zip(grid, grid[::-1], strict=True))
    assert (grid[0], grid[-1]) == (0.018, 0.982)
    steps = [after - before for before, after in pairwise(grid)]
    assert steps[: len(steps) // 2] == sorted(steps[: len(steps) // 2])
    if count > 3:
        assert steps[0] < steps[len(steps) // 2] / 2


@pytest.mark.parametrize("kind", ["linear", "sigmoid"])
def test_a_grid_of_one_depth_is_the_middle(kind: str) -> None:
    assert depth_grid(kind, 1) == [0.5]
