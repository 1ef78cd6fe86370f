"""Within an arm: what it scores on its items against what it scores on their blind controls.

A score that does not differ from its control's was not reached by reading what the control leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from longsafety.evaluation.scores.scoring import CONTROL_KINDS, CONTROLLED_METRICS
from longsafety.evaluation.scores.statistics import cluster_interval, false_discovery, seed_test
from longsafety.vocabulary import ALL_TASKS

CONTROLS = [
    *("arm", "scorer", "metric", "control", "task", "max_tokens", "n", "seeds", "value", "control_value"),
    *("difference", "low", "high", "p_value", "p_adjusted"),
]
_CELL = CONTROLS[:6]
_PAIR = ["scorer", "task", "max_tokens", "pair_id"]


def control_table(arms: Mapping[str, pd.DataFrame], *, confidence: float) -> pd.DataFrame:
    """A row an arm, scorer, metric, control and task (``all``: all tasks): ``CONTROLS``.

    ``arms``: label → :func:`longsafety.evaluation.scores.scoring.outcomes` (averaged over trainings). ``control``
    is the suffix of its metrics, such as ``no_question``. An item's outcome is held against that of the control made of
    it (compliance: its benign twin's). n: such pairs; seeds: what they were made of; difference: item minus control,
    with Student's t over seeds; p_value: sign-flip test over seeds, nan where these are too few; p_adjusted: Benjamini
    and Hochberg over arms and controls (and tasks) of a metric.
    """
    parts = []
    for label, outcomes in arms.items():
        of_metric = dict(list(outcomes.groupby("metric", sort=False)))
        for metric in CONTROLLED_METRICS:
            for suffix in CONTROL_KINDS.values():
                if metric in of_metric and (name := f"{metric}{suffix}") in of_metric:
                    own = of_metric[metric].drop_duplicates(_PAIR)[[*_PAIR, "source", "value"]]
                    pairs = own.merge(of_metric[name][[*_PAIR, "value"]], on=_PAIR, suffixes=("", "_control"))
                    parts.append(pairs.assign(arm=label, metric=metric, control=suffix.removeprefix("_"), n=1))
    if not parts:
        return pd.DataFrame(columns=CONTROLS)
    every = pd.concat(parts, ignore_index=True)
    by_seed = (
        pd.concat([every, every.assign(task=ALL_TASKS)])
        .groupby([*_CELL, "source"], sort=False)[["value", "value_control", "n"]]
        .sum()
    )
    rows = []
    for cell, part in by_seed.groupby(_CELL, sort=False):
        of_items, of_control, sizes = part.to_numpy(dtype=float).T
        sums, n = of_items - of_control, sizes.sum()
        means = of_items.sum() / n, of_control.sum() / n, sums.sum() / n
        spread = (*cluster_interval(sums, sizes, confidence), seed_test(sums, confidence))
        rows.append((*cell, int(n), len(part), *means, *spread))
    table = pd.DataFrame(rows, columns=CONTROLS[:-1])
    family = [table["scorer"], table["metric"], table["max_tokens"], table["task"] == ALL_TASKS]
    return table.assign(p_adjusted=table.groupby(family)["p_value"].transform(false_discovery))
