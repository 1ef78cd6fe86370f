"""The needle heatmap: how often a benign needle is found, by length and depth."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from longsafety.evaluation.scores.comparison import Arm
from longsafety.evaluation.scores.scoring import outcomes
from longsafety.evaluation.scores.shares import shares
from longsafety.samples.depth import depth_bins
from longsafety.scenarios.tasks.registry import several_needles

COLUMNS = ["arm", "scorer", "max_tokens", "depth", "n", "value", "low", "high", "chance"]
_METRIC = "compliance_benign_needle"
_PARTS = 10
_KEY = ["arm", "scorer", "max_tokens", "depth"]


def needle_map(arms: Sequence[Arm], *, confidence: float, task_files: Sequence[str] = ()) -> pd.DataFrame:
    """The share of benign needles that the answer used (``compliance_benign_needle``), with clustered Wilson
    intervals.

    Returns ``COLUMNS``, one row a cell; ``depth`` is the middle of a tenth of the context. Left out: items with several
    needles (their depth is a mean) and those whose needle was cut away. Empty without answers to benign needles.
    """
    parts, several = [], several_needles(task_files)
    for arm in arms:
        answers = arm.answers[arm.answers["kind"] == "benign_needle"]
        answers = answers[answers["depth"].notna() & ~answers["task"].isin(several)]
        answers = answers[answers["needle_kept"].ne(False)]  # null: not cut, or not known
        if answers.empty:
            continue
        found = outcomes(answers, "fixed")
        found = found[found["metric"] == _METRIC]
        depths = answers.drop_duplicates("item_id").set_index("item_id")["depth"]
        tenth = depth_bins(found["item_id"].map(depths), _PARTS)
        parts.append(found.assign(arm=arm.label, depth=(tenth * 10 + 5) / (10 * _PARTS)))
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    found = pd.concat(parts)
    table = shares(found, _KEY, confidence)
    table["chance"] = found.groupby(_KEY, sort=False)["chance"].mean().to_numpy()
    labels = {arm.label: place for place, arm in enumerate(arms)}
    return table[COLUMNS].sort_values(
        _KEY, key=lambda column: column.map(labels) if column.name == "arm" else column, ignore_index=True
    )
