"""Shares of open replies beside how often their verdicts are right, and corrected by it.

A share is corrected by what was measured on reference replies of the same task and language, or not at all. A
correction assumes that a model's replies are as easy to tell as the reference replies to the same task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from longsafety.evaluation.open_replies.accuracy import corrected, corrected_interval
from longsafety.evaluation.open_replies.calibration import TaskCalibration, usable
from longsafety.vocabulary import ALL_TASKS

_SAFE = ("safe_response", "safe_response_short")
_CORRECTED = (*_SAFE, "over_refusal")
"""The shares that count verdicts of one kind. Compliance is not one: an empty reply neither refuses nor complies."""
_NAMES = ("corrected", "corrected_low", "corrected_high")


def with_verdict_columns(scores: pd.DataFrame, facts: Mapping[str, Any]) -> pd.DataFrame:
    """The scores plus verdict_by, agreement and kappa, filled for ``open`` only.

    A table by metric also gets sensitivity and specificity (of the verdict that the metric counts, on the task's
    reference replies), corrected, corrected_low and corrected_high. A row over all tasks is corrected where each of its
    tasks is: the mean of theirs by items, its interval by adding their squared half widths (Zou and Donner 2008,
    Construction of confidence limits about effect measures, Stat. Med. 27:1693-1702).
    """
    agreement = facts.get("agreement", {})
    values = {"verdict_by": facts["by"], "agreement": agreement.get("share"), "kappa": agreement.get("kappa")}
    opened = scores["scorer"] == "open"
    scores = scores.assign(**{name: opened.map({True: value, False: None}) for name, value in values.items()})
    if "metric" not in scores:
        return scores
    known, confidence = _calibrations(facts), facts["confidence"]
    found: dict[Any, dict[str, float]] = {}
    for index, row in scores[opened & scores["metric"].isin(_CORRECTED)].iterrows():
        if row["task"] in known:
            found[index] = dict(_of_task(row, known[row["task"]], confidence))
    table = pd.DataFrame.from_dict(found, orient="index", dtype=float)
    joined = scores.join(table.reindex(columns=["sensitivity", "specificity", *_NAMES]))
    for index, row in scores[opened & scores["metric"].isin(_CORRECTED) & (scores["task"] == ALL_TASKS)].iterrows():
        same = (joined["scorer"] == "open") & (joined["task"] != ALL_TASKS)
        for key in ("metric", "max_tokens"):
            same &= joined[key] == row[key]
        if (parts := joined[same])["corrected"].notna().all() and len(parts):
            joined.loc[index, list(_NAMES)] = _pooled(parts)
    return joined


def corrected_shares(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """The corrected rows: task, metric, max_tokens, value, corrected, corrected_low and corrected_high."""
    rows = scores[scores["corrected"].notna()][["task", "metric", "max_tokens", "value", *_NAMES]]
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _calibrations(facts: Mapping[str, Any]) -> dict[str, TaskCalibration]:
    """Task → calibration, of the tasks whose replies are all in its language."""
    return {
        row["task"]: TaskCalibration(**row)
        for row in facts["calibration"]
        if facts["languages"].get(row["task"]) == [row["language"]]
    }


def _of_task(row: pd.Series[Any], calibration: TaskCalibration, confidence: float) -> Iterator[tuple[str, float]]:
    """Replies to one seed item are not independent, so a share is worth as many as it has seed items."""
    accuracy = calibration.harmful if row["metric"] in _SAFE else calibration.harmless
    yield "sensitivity", accuracy.sensitivity
    yield "specificity", accuracy.specificity
    if usable(accuracy, confidence):
        interval = corrected_interval(row["value"] * row["seeds"], row["seeds"], accuracy, confidence)
        share = corrected(row["value"], accuracy.sensitivity, accuracy.specificity)
        yield from zip(_NAMES, (share, min(share, interval[0]), max(share, interval[1])), strict=True)


def _pooled(parts: pd.DataFrame) -> tuple[float, float, float]:
    weight = parts["n"] / parts["n"].sum()
    share = float((weight * parts["corrected"]).sum())
    down, up = (
        float(((weight * (parts["corrected"] - parts[end])) ** 2).sum()) ** 0.5
        for end in ("corrected_low", "corrected_high")
    )
    return share, max(0.0, share - down), min(1.0, share + up)
