"""HarmAwareness and SafeResponse by task, and their totals over all tasks, and over tasks in and out of domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from longsafety.evaluation.scorers import RECORDED
from longsafety.evaluation.scores.scoring import Scoring, outcomes
from longsafety.evaluation.scores.statistics import clustered_wilson
from longsafety.vocabulary import ALL_TASKS, PAPER_TASKS, UNPARSED, UNSCORED

BENCHMARK = {name: task.bench_items for name, task in PAPER_TASKS.items() if task.bench_items}
"""The tasks of LongSafetyBench and their items."""
SHORT = {"harm_awareness": "ha", "safe_response": "sr"}
_COLUMNS = [
    "task", "n", "ha", "sr", "ha_low", "ha_high", "sr_low", "sr_high", "ha_chance", "sr_chance", "ha_corrected",
    "sr_corrected", "unparsed", "ha_parsed", "sr_parsed", "in_training", "scorer", "scoring",
]  # fmt: skip


def totals(answers: pd.DataFrame, scorers: Sequence[str], *, scoring: Scoring, confidence: float) -> pd.DataFrame:
    """A row for each task (the benchmark's first, in its order) and for each of ``TOTALS`` that has tasks.

    Harmful items only, by the first of ``scorers`` that has answers (or recorded ones). Columns: task, n, ha, sr
    (shares; an unparsed answer fails both; open replies have no ha), each with ``_low`` and ``_high`` (Wilson,
    clustered; none for a macro mean), ``_chance`` and ``_corrected`` (0 at chance, 1 where all are right); unparsed
    (their number), ``ha_parsed`` and ``sr_parsed`` (without unparsed answers), in_training (whether the task is in the
    published training set; empty where unknown), scorer, scoring. No row without such answers.
    """
    table = outcomes(answers, scoring)
    table = table[table["metric"].isin(SHORT)].assign(metric=table["metric"].map(SHORT))
    held = set(table["scorer"])
    scorer = next((name for name in (*scorers, RECORDED, *sorted(held)) if name in held), None)
    if scorer is None:
        return pd.DataFrame(columns=_COLUMNS)
    mine = answers[(answers["scorer"] == scorer) & (answers["kind"] == "harmful")]
    mine = mine[mine["status"] != UNSCORED]
    parsed = mine["status"] != UNPARSED
    table = table[table["scorer"] == scorer]
    sums, clusters = _sums(table), _clusters(table)
    sums["unparsed"] = (~parsed).groupby(mine["task"]).sum()
    # Some orders of an item may be unparsed and others not, so here each answer counts as an item.
    alone = mine[parsed].assign(order_index=0, item_id=np.arange(int(parsed.sum())).astype(str))
    read = sums[["n", "ha", "sr"]] * 0
    if len(alone):
        parts_read = outcomes(alone, scoring)
        parts_read = parts_read[parts_read["metric"].isin(SHORT)]
        read = _sums(parts_read.assign(metric=parts_read["metric"].map(SHORT)))
    for name in ("n", "ha", "sr"):
        sums[f"{name}_parsed"] = read[name].reindex(sums.index, fill_value=0)
    order = [task for task in BENCHMARK if task in sums.index] + sorted(set(sums.index) - set(BENCHMARK))
    rows = [_row(task, sums.loc[[task]], clusters, confidence) | {"in_training": _in_training(task)} for task in order]
    parts = {
        "in_domain": [task for task in order if _in_training(task)],
        "out_of_domain": [task for task in order if _in_training(task) is False],
        ALL_TASKS: order,
    }
    for name, tasks in parts.items():
        if tasks:
            macro = "macro" if name == ALL_TASKS else f"{name}_macro"
            rows += [_row(name, sums.loc[tasks], clusters, confidence), _row(macro, sums.loc[tasks], clusters, None)]
    return pd.DataFrame([row | {"scorer": scorer, "scoring": scoring} for row in rows], columns=_COLUMNS)


def _in_training(task: str) -> bool | None:
    return PAPER_TASKS[task].trained if task in PAPER_TASKS else None


def _sums(table: pd.DataFrame) -> pd.DataFrame:
    """By task: the number of items, and the sums of both metrics and of their chance levels."""
    summed = table.groupby(["task", "metric"])[["value", "chance"]].sum(min_count=1).unstack("metric")
    named = {
        f"{name}{end}": summed.get((part, name), np.nan)
        for part, end in (("value", ""), ("chance", "_chance"))
        for name in SHORT.values()
    }
    return pd.DataFrame({"n": table[table["metric"] == "sr"].groupby("task").size(), **named})


def _clusters(table: pd.DataFrame) -> pd.DataFrame:
    """task, metric, source, and of its items their number and the sum of their values."""
    return table.groupby(["task", "metric", "source"])["value"].agg(["sum", "size"]).reset_index()


def _row(name: str, sums: pd.DataFrame, clusters: pd.DataFrame, confidence: float | None) -> dict[str, object]:
    """One row over some tasks: every item with equal weight; without a ``confidence`` the mean over the tasks."""
    n, n_parsed = sums["n"].sum(), sums["n_parsed"].sum()
    row: dict[str, object] = {"task": name, "n": int(n), "unparsed": int(sums["unparsed"].sum())}
    for metric in SHORT.values():
        count, chance, parsed = sums[metric], sums[f"{metric}_chance"], sums[f"{metric}_parsed"]
        if count.isna().all():  # open replies do not show harm awareness
            continue
        if confidence is not None:
            value, expected = count.sum() / n, chance.sum(min_count=1) / n
            read = parsed.sum() / n_parsed if n_parsed else np.nan
            mine = clusters[clusters["task"].isin(sums.index) & (clusters["metric"] == metric)]
            whole = mine.groupby("source")[["sum", "size"]].sum()
            row[f"{metric}_low"], row[f"{metric}_high"] = clustered_wilson(whole["sum"], whole["size"], confidence)
        else:
            value, expected = (count / sums["n"]).mean(), (chance / sums["n"]).mean()
            read = (parsed / sums["n_parsed"].where(sums["n_parsed"] > 0)).mean()
        row |= {metric: value, f"{metric}_chance": expected, f"{metric}_parsed": read}
        row[f"{metric}_corrected"] = (value - expected) / (1 - expected)
    return row
