"""How much an arm's scores vary between its seeds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from longsafety.evaluation.scores.scoring import HEADLINES
from longsafety.vocabulary import ALL_TASKS

COLUMNS = ["family", "scorer", "metric", "max_tokens", "seeds", "mean", "sd", "item_error", "seed_sd"]


def seed_spread(scores: pd.DataFrame, families: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The spread of an arm's scores over its seeds, and how much of it the choice of items explains.

    ``scores`` as in a comparison; ``families``: arm → (its name without the seed, the address of its benchmark).
    Returns ``COLUMNS``: sd (between the seeds), item_error (standard error of one seed's share due to its items),
    seed_sd (``sd`` where all seeds have the same items, otherwise the part that the items do not explain,
    ``sqrt(max(0, sd² − item_error²))``). Empty where no arm has two seeds.
    """
    table = scores[(scores["task"] == ALL_TASKS) & scores["metric"].isin(HEADLINES)]
    table = table.assign(
        family=table["arm"].map(lambda arm: families[arm][0]),
        items=table["arm"].map(lambda arm: families[arm][1]),
        item_variance=table["value"] * (1 - table["value"]) / table["n"],
    )
    grouped = table.groupby(["family", "scorer", "metric", "max_tokens"], sort=False)
    found = grouped.agg(
        seeds=("arm", "nunique"), mean=("value", "mean"), sd=("value", "std"), items=("items", "nunique"),
        item_error=("item_variance", lambda variances: float(np.sqrt(variances.mean()))),
    ).reset_index()  # fmt: skip
    rest = np.sqrt(np.maximum(0.0, found["sd"] ** 2 - found["item_error"] ** 2))
    found["seed_sd"] = found["sd"].where(found["items"] == 1, rest)
    return found.loc[found["seeds"] > 1, COLUMNS].reset_index(drop=True)
