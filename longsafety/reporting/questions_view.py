"""Right answers by task, of other programs' logs, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from longsafety.evaluation.scores.scoring import ACCURACY, COUNTED
from longsafety.reporting.numbers import decimals, interval
from longsafety.reporting.terminal import NONE, plain_table
from longsafety.settings import Settings
from longsafety.vocabulary import ALL_TASKS

if TYPE_CHECKING:
    import pandas as pd


def questions_table(scores: pd.DataFrame, settings: Settings, counts: Mapping[str, int]) -> Group:
    """``accuracy`` in :func:`longsafety.evaluation.scores.scoring.score`, and how many answers have no score."""
    rules = {
        "fixed": "where options were shown, each reply is parsed again; other scores are as recorded",
        "official": "all scores are as recorded",
    }
    lines = [
        f"Scoring {settings.scoring}: {rules[settings.scoring]}. [ ]: {settings.evaluation.confidence:.0%} Wilson "
        "interval over documents.",
        *(f"{count:,} {what}." for what, count in counts.items()),
    ]
    table = plain_table(f"{settings.label}: scoring {settings.scoring}")
    table.add_column("task", overflow="fold")
    table.add_column("n", justify="right")
    for title in ("right answers", "by chance", *(name.replace("_", " ") for name in COUNTED[:2])):
        table.add_column(title)
    of_task = {(row["task"], row["metric"]): row for row in scores.to_dict("records")}
    tasks = [task for task, metric in of_task if metric == ACCURACY]
    for task in tasks:
        row, lost = of_task[task, ACCURACY], [of_task.get((task, name)) for name in COUNTED[:2]]
        table.add_row(
            "all tasks" if task == ALL_TASKS else task,
            f"{row['n']:,}",
            f"{decimals(row['value'])} {interval(row['low'], row['high'])}",
            NONE if row["chance"] != row["chance"] else decimals(row["chance"]),
            *(NONE if one is None else f"{one['value'] * one['n']:.0f}" for one in lost),
        )
    return Group(table, Text("\n".join(lines), style="dim"))
