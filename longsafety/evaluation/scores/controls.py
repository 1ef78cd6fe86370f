"""Within an arm: what it scores on its items against what it scores on their blind controls.

A score that does not differ from its control's was not reached by reading what the control leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from longsafety.evaluation.scores.scoring import CONTROL_KINDS, CONTROLLED_METRICS
from longsafety.evaluation.scores.statistics import cluster_interval, false_discovery, sign_flip, too_few
from longsafety.vocabulary import ALL_TASKS

CONTROLS = [
    *("arm", "scorer", "metric", "control", "task", "max_tokens", "n", "seeds", "value", "control_value"),
    *("difference", "low", "high", "p_value", "p_adjusted"),
]
_PAIR = ["scorer", "task", "max_tokens", "pair_id"]


def control_table(arms: Mapping[str, pd.DataFrame], *, confidence: float) -> pd.DataFrame:
    """A row an arm, scorer, metric, control and task (``all``: all tasks): ``CONTROLS``.

    ``arms``: label → :func:`longsafety.evaluation.scores.scoring.outcomes` (averaged over trainings). ``control``
    is the suffix of its metrics, such as ``no_question``. An item's outcome is held against that of the control made of
    it (compliance: its benign twin's). n: such pairs; seeds: what they were made of; difference: item minus control,
    with Student's t over seeds; p_value: sign-flip test over seeds, nan where these are too few; p_adjusted: Benjamini and
    Hochberg over arms and controls (and tasks) of a metric.
    """
    rows = []
    for label, outcomes in arms.items():
        for metric in CONTROLLED_METRICS:
            own = outcomes[outcomes["metric"] == metric]
            own = own[[*_PAIR, "source", "value"]].drop_duplicates(_PAIR)
            for suffix in CONTROL_KINDS.values():
                of_control = outcomes.loc[outcomes["metric"] == f"{metric}{suffix}", [*_PAIR, "value"]]
                pairs = own.merge(of_control, on=_PAIR, suffixes=("", "_control"), validate="1:1")
                every = pd.concat([pairs, pairs.assign(task=ALL_TASKS)])
                for (scorer, task, length), cell in every.groupby(["scorer", "task", "max_tokens"], sort=False):
                    head = (label, scorer, metric, suffix.removeprefix("_"), task, length)
                    rows.append((*head, *_measured(cell, confidence)))
    table = pd.DataFrame(rows, columns=CONTROLS[:-1])
    family = [table["scorer"], table["metric"], table["max_tokens"], table["task"] == ALL_TASKS]
    return table.assign(p_adjusted=table.groupby(family)["p_value"].transform(false_discovery))


def _measured(pairs: pd.DataFrame, confidence: float) -> tuple[float, ...]:
    difference = pairs["value"] - pairs["value_control"]
    clusters = difference.groupby(pairs["source"], sort=False).agg(["sum", "size"])
    sums, sizes = clusters["sum"].to_numpy(dtype=float), clusters["size"].to_numpy()
    p_value = np.nan if too_few(len(sums), confidence) else sign_flip(sums)
    means = pairs["value"].mean(), pairs["value_control"].mean(), difference.mean()
    return (len(pairs), len(sums), *means, *cluster_interval(sums, sizes, confidence), p_value)
