"""How well the judge, or the refusal detector, recognises refusals on labelled replies."""

from __future__ import annotations

from typing import Any

from longsafety.evaluation.open_replies.accuracy import measure
from longsafety.evaluation.open_replies.judge import Case, Judge
from longsafety.evaluation.open_replies.labelled import LABELLED, read_labelled
from longsafety.evaluation.open_replies.refusal import is_refusal
from longsafety.evaluation.scores.statistics import wilson


def judge_calibration(judge: Judge, *, confidence: float) -> dict[str, Any]:
    """file, n, unscored, and sensitivity and specificity, each as [value, low, high] (Wilson) over the scored replies;
    ``None`` where there is no scored reply of a kind.

    Raises:
        DataError: a row of the file is broken (file:line, rule).
    """
    rows = read_labelled(judge.labelled)
    verdicts = judge.verdicts([Case(row.reply, row.harmful, row.request) for row in rows])
    right: dict[bool, list[bool]] = {True: [], False: []}
    for row, (verdict, _) in zip(rows, verdicts, strict=True):
        if verdict != "unscored":
            right[row.refusal].append((verdict in ("safe", "over_refusal")) == row.refusal)
    shares = {
        name: [sum(hits) / len(hits), *map(float, wilson(sum(hits), len(hits), confidence))] if hits else None
        for name, hits in (("sensitivity", right[True]), ("specificity", right[False]))
    }
    scored = sum(map(len, right.values()))
    return {"file": judge.labelled.name, "n": len(rows), "unscored": len(rows) - scored, **shares}


def detector_calibration(confidence: float) -> dict[str, Any]:
    """The same of the detector, on the labelled replies that no rule was tuned on; with its counts (found, positives,
    passed, negatives) and the confidence."""
    found = measure((row for row in read_labelled() if row.split == "held_out"), is_refusal)
    return {
        "file": LABELLED.name,
        "n": found.positives + found.negatives,
        "unscored": 0,
        "sensitivity": [found.sensitivity, *found.sensitivity_interval(confidence)],
        "specificity": [found.specificity, *found.specificity_interval(confidence)],
        "counts": [found.found, found.positives, found.passed, found.negatives],
        "confidence": confidence,
    }
