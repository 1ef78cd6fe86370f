"""Shares of groups of outcomes, with intervals over what the items were made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longsafety.evaluation.scores.statistics import cluster_interval, clustered_wilson

SIGNED = ("pair_difference", "pair_difference_short")
"""Metrics whose outcomes are −1, 0 or 1; those of the others are 0 to 1."""


def interval(
    metric: str, sums: NDArray[np.float64], sizes: NDArray[np.int64], confidence: float
) -> tuple[float, float]:
    """The interval of a metric's mean ``Σ sums / Σ sizes`` over clusters: Student's t for differences, else Wilson's
    for the items that the clusters are worth."""
    of = cluster_interval if metric in SIGNED else clustered_wilson
    return of(sums, sizes, confidence)


def shares(outcomes: pd.DataFrame, keys: Sequence[str], confidence: float) -> pd.DataFrame:
    """``keys`` (groups in the order in which they come), n, value, low, high. ``outcomes`` has ``keys``, source, value,
    and ``metric`` where metrics may be signed."""
    keys = list(keys)
    named = outcomes if "metric" in outcomes else outcomes.assign(metric="")
    groups = [*keys, *({"metric"} - {*keys}), "source"]
    clusters = named.groupby(groups, sort=False)["value"].agg(["sum", "size"]).reset_index()
    metrics, sums, sizes = (clusters[name].to_numpy() for name in ("metric", "sum", "size"))
    rows = []
    places: Any = clusters.groupby(keys, sort=False).indices
    for cell, part in places.items():
        ends = interval(str(metrics[part[0]]), sums[part] * 1.0, sizes[part], confidence)
        rows.append(
            (*(cell if len(keys) > 1 else (cell,)), sizes[part].sum(), sums[part].sum() / sizes[part].sum(), *ends)
        )
    return pd.DataFrame(rows, columns=[*keys, "n", "value", "low", "high"])
