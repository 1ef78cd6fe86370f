"""The target length of each item."""

from __future__ import annotations

import random

import numpy as np

from longsafety.settings import Length

_SHORTEST = 1 / 16
"""The shortest length of a spread, as a share of its mean."""


def target_lengths(length: Length, split: str, count: int, *, seed: str) -> list[int]:
    """``count`` lengths in tokens for a split (``train`` or ``bench``): one, a list in round-robin, or a spread.

    A spread takes ``count`` quantiles of a log-normal distribution, cut off at the longest length, whose mean is
    ``mean_tokens``; ``seed`` shuffles them.
    """
    target = length.training_lengths if split == "train" else length.bench_lengths
    if target.in_turn:
        return [target.in_turn[index % len(target.in_turn)] for index in range(count)]
    if target.mean is None:
        return [target.longest] * count
    lengths = [int(value) for value in _spread(target.mean, target.longest, length.spread, count)]
    random.Random(seed).shuffle(lengths)
    return lengths


def _spread(mean: int, longest: int, spread: float, count: int) -> np.ndarray:
    from scipy.optimize import brentq
    from scipy.stats import norm

    shape = np.exp(spread * norm.ppf((np.arange(count) + 0.5) / count))

    def lengths(scale: float) -> np.ndarray:
        return np.clip(np.round(shape * scale), mean * _SHORTEST, longest)

    # The mean of the cut-off values rises with the scale, from the shortest length to the longest.
    scale = brentq(lambda value: lengths(value).mean() - mean, mean * _SHORTEST / shape.max(), longest / shape.min())
    return lengths(scale)
