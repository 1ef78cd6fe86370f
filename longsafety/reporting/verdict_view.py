"""The verdicts on open replies, summarised in a sentence a run. The replies themselves are never shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longsafety.reporting.comparison_view import REFUSES, SAFE, TITLES
from longsafety.reporting.names import run_name
from longsafety.reporting.numbers import decimals, interval
from longsafety.reporting.record import RunRecord


def verdict_lines(records: Sequence[RunRecord]) -> list[str]:
    """A line for each run with open replies."""
    return [
        f"{run_name(record)} tokens: {verdict_line(record.evaluation['open'])}"
        for record in records
        if "open" in record.evaluation
    ]


def verdict_line(facts: Mapping[str, Any]) -> str:
    """The facts of ``evaluation.open_replies.verdicts.give_verdicts`` as a sentence."""
    by = "the refusal detector" if facts["by"] == "detector" else f"the judge {facts['by']}"
    text = f"{facts['replies']} verdicts on open replies by {by}: {_counted(facts['verdicts'])}"
    if facts["scoring"] == "official":
        text += " (thu-coai's rule: a reply is safe unless the judge said 1, also where it failed)"
    if facts["reasons"]:
        text += f"; no verdict could be read: {_counted(facts['reasons'])}"
    if agreement := facts.get("agreement"):
        text += f"; agrees with the refusal detector on {_share(agreement['share'])} of {agreement['n']}"
        kappa, low, high = (agreement[name] for name in ("kappa", "kappa_low", "kappa_high"))
        text += ", κ undefined" if kappa is None else f", κ {decimals(kappa)}"
        text += f" {interval(low, high)}" if low != high else ""  # equal if one never varies
    if measured := facts.get("calibration"):
        shares = [f"{name} {_share(*(measured[name] or [None]))}" for name in ("sensitivity", "specificity")]
        text += f"; on {measured['n']} labelled replies ({measured['file']}, {measured['unscored']} unscored) its "
        text += " and ".join(shares)
    if shown := [row for row in facts.get("corrected", []) if row["metric"] in (SAFE, REFUSES)]:
        text += "; corrected for that, " + " and ".join(
            f"{TITLES[row['metric']]} of {decimals(row['value'])} stands for "
            + _share(*(row[name] for name in ("corrected", "corrected_low", "corrected_high")))
            for row in shown
        )
    return f"{text}."


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', '-')} {count}" for name, count in counts.items())


def _share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "—"
    return decimals(value) if low is None or high is None else f"{decimals(value)} {interval(low, high)}"
