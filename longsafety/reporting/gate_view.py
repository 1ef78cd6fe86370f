"""The audit's gate as people read it: what failed, what words alone reach, and how often the same is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from longsafety.reporting.numbers import decimals, interval
from longsafety.reporting.terminal import NONE, plain_table
from longsafety.scenarios.audit.gate import failed
from longsafety.vocabulary import ALL_TASKS

Rows = Sequence[Mapping[str, Any]]

APART = {name: f"{name} alone: pairs told apart" for name in ("question", "needle")}
"""What a baseline sees → its check in the gate."""
_Z = 1.96
"""The gate's intervals are normal ones of 95%."""


@dataclass(frozen=True)
class Words:
    """The share of pairs whose harmful side words alone find, on seed items that they were not trained on."""

    value: float
    error: float
    """Its standard error."""
    seeds: int
    parts: dict[str, float]
    """``question``, ``needle`` → the share of the pairs that differ there."""


def words_alone(gate: Rows) -> Words | None:
    """Over all tasks; None where it was not measured."""
    found = {
        name: row for name, check in APART.items() for row in gate if row["task"] == ALL_TASKS and row["check"] == check
    }
    seeds = sum(row["seeds"] for row in found.values())
    if not seeds:
        return None
    weights = {name: row["seeds"] / seeds for name, row in found.items()}
    errors = [
        weights[name] * max(row["value"] - row["low"], row["high"] - row["value"]) / _Z for name, row in found.items()
    ]
    return Words(
        value=sum(weights[name] * row["value"] for name, row in found.items()),
        error=math.hypot(*errors),
        seeds=seeds,
        parts={name: float(row["value"]) for name, row in found.items()},
    )


def gate_rows(gate: Rows) -> list[tuple[str, str, str]]:
    """(Check, value with its interval, limit) of each failed check as text; else one row that says that none failed."""
    beyond = failed([dict(row) for row in gate])
    limited = sum(row["passed"] is not None for row in gate)
    if not limited:
        return [("gate: words alone", "not measured", "needs pairs of at least 10 seed items")]
    if not beyond:
        return [("gate: words alone", f"{limited} passed", "no check's interval lies beyond its limit")]
    return [
        (
            f"gate failed: {row['task']}, {row['check']}",
            f"{decimals(row['value'])} {interval(row['low'], row['high'])}",
            f"limit {row['limit']}; {row['seeds']} seed items",
        )
        for row in beyond
    ]


def gate_table(gate: Rows) -> Table:
    """Every failed check in red, or one line."""
    rows = gate_rows(gate)
    red = bool(failed([dict(row) for row in gate]))
    limited = sum(row["passed"] is not None for row in gate)
    caption = f"{len(rows)} of {limited} checks failed: the whole 95% interval over seed items lies beyond the limit"
    table = plain_table("gate: what words alone tell", caption if red else "")
    table.add_column("check", overflow="fold")
    table.add_column("value", no_wrap=True)
    table.add_column("", overflow="fold", style="" if red else "dim")
    for what, value, limit in rows:
        style = "bold red" if red else ""
        table.add_row(Text(what.removeprefix("gate failed: "), style=style), Text(value, style=style), limit)
    return table


def copies_table(copies: Rows) -> Table:
    """How often the same is asked, a row a split and task."""
    table = plain_table(
        "copies", "distinct questions (with needles), options, answers; most: copies of one question with its answer"
    )
    table.add_column("task", overflow="fold")
    table.add_column("split")
    columns = ("items", "seeds", "questions", "options", "answers", "most")
    for name in columns:
        table.add_column(name, justify="right")
    for row in copies:
        table.add_row(row["task"], row["split"], *(f"{row[name]:,}" if row[name] else NONE for name in columns))
    return table
