"""Shares pooled over some tasks: those that an arm was trained on beside the others, and one scorer beside another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from longsafety.reporting.comparison_view import COMPLIES, SAFE, TITLES, ComparisonView
from longsafety.reporting.fonts import drawn_names, fonts_for
from longsafety.reporting.names import arm_name
from longsafety.reporting.record import RunRecord
from longsafety.reporting.style import FAINT, STYLE, panels, styles

_METRICS = (SAFE, COMPLIES)


@dataclass(frozen=True)
class Row:
    """An arm on a group of tasks, at the longest length."""

    arm: str
    group: str
    tasks: list[str]
    shares: dict[str, tuple[float, int] | None]
    """Metric → the share of all items together, and their number."""
    points: dict[str, list[float]]
    """Metric → the share of each task."""


@dataclass(frozen=True)
class Pooled:
    """A table with its figure."""

    key: str
    title: str
    group: str
    """What a row's group is."""
    metrics: list[str]
    rows: list[Row]
    note: str
    figure: Figure

    @property
    def numbers(self) -> pd.DataFrame:
        """What the figure shows: the bars (task ``all``) and the dots."""
        found = []
        for row in self.rows:
            for metric in self.metrics:
                if share := row.shares[metric]:
                    values = [("all", share[0]), *(("one of them", value) for value in row.points[metric])]
                    found += [(row.arm, row.group, metric, task, value) for task, value in values]
        return pd.DataFrame(found, columns=["arm", self.group, "metric", "task", "value"])


def pooled_tables(view: ComparisonView, records: Sequence[RunRecord]) -> list[Pooled]:
    """The tables that a sweep has something to show in."""
    found = [_trained(view, records), _scorers(view)]
    return [table for table in found if table is not None]


def _trained(view: ComparisonView, records: Sequence[RunRecord]) -> Pooled | None:
    """Where arms were trained on some of the benchmark's tasks and not on others."""
    runs = {arm_name(record): record.resolved() for record in records}
    seen = {
        arm: {name for name, count in run.scenario.tasks.items() if count.train}
        for arm, run in runs.items()
        if run.data_mix.sources and not run.reads_items and not run.rescores
    }
    every = set().union(*seen.values()) if seen else set()
    if not view.lengths or not any(task not in tasks for tasks in seen.values() for task in view.tasks):
        return None
    rows = []
    for arm in view.arms:
        mine = seen.get(arm, every)
        for group, tasks in (("trained", [t for t in view.tasks if t in mine]),
                             ("not trained", [t for t in view.tasks if t not in mine])):  # fmt: skip
            rows.append(_row(view, arm, group, tasks))
    note = "Shares of the items of those tasks together, and their number. An untrained arm is split as the whole "
    note += "training set is. A gain on the tasks of the training set alone is a format that was learned."
    return _table("trained_tasks", "Trained tasks and others", "tasks", [row for row in rows if row.tasks], note, view)


def _scorers(view: ComparisonView) -> Pooled | None:
    """Where free replies were scored beside given options."""
    if "open" not in view.scorers or len(view.scorers) < 2:
        return None
    views = {scorer: ComparisonView(view.comparison, [scorer]) for scorer in view.scorers}
    common = [task for task in view.tasks if all(
        any(one.share(arm, SAFE, length, task) for arm, length in one.rows()) for one in views.values())]  # fmt: skip
    if not common:
        return None
    rows = [_row(one, arm, scorer, common) for arm in view.arms for scorer, one in views.items()]
    note = "Only tasks that every scorer has verdicts on. open: the model writes freely, and the refusal detector or "
    note += (
        "the judge says whether it declines; the others choose among given options. Where they rank arms differently, "
    )
    note += "the measure decides, not the model."
    return _table("scorers", "By scorer", "scorer", rows, note, view)


def _row(view: ComparisonView, arm: str, group: str, tasks: Collection[str]) -> Row:
    length = max((tokens for name, tokens in view.rows() if name == arm), default=0)
    shares: dict[str, tuple[float, int] | None] = {}
    points: dict[str, list[float]] = {}
    for metric in _METRICS:
        found = [share for task in tasks if (share := view.share(arm, metric, length, task))]
        n = sum(share.n for share in found)
        shares[metric] = (sum(share.value * share.n for share in found) / n, n) if n else None
        points[metric] = [share.value for share in found]
    return Row(arm, group, list(tasks), shares, points)


def _table(key: str, title: str, group: str, rows: list[Row], note: str, view: ComparisonView) -> Pooled:
    metrics = [metric for metric in _METRICS if any(row.shares[metric] for row in rows)]
    return Pooled(key, title, group, metrics, rows, note, _figure(rows, metrics, view))


def _figure(rows: Sequence[Row], metrics: Sequence[str], view: ComparisonView) -> Figure:
    colours, drawn_as = styles(view), drawn_names(view.arms)
    with fonts_for(drawn_as.values()), mpl.rc_context(STYLE):
        figure, drawn = panels(max(len(metrics), 1), 5.4, 1.1 + 0.3 * len(rows))
        for number, (axes, metric) in enumerate(zip(drawn, metrics, strict=False)):
            axes.set_title(TITLES[metric])
            for y, row in enumerate(rows):
                colour, marker = colours[row.arm]
                if share := row.shares[metric]:
                    axes.barh(y, share[0], height=0.62, color=colour, alpha=0.35)
                    axes.plot(row.points[metric], [y] * len(row.points[metric]), marker, color=colour, markersize=4)
            axes.set(xlim=(-0.02, 1.04), ylim=(len(rows) - 0.5, -0.5))
            names = [f"{drawn_as[row.arm]}  {row.group}" for row in rows]
            axes.set_yticks(range(len(rows)), names if number == 0 else [""] * len(rows), fontsize=8)
            axes.grid(axis="x", color=FAINT, alpha=0.18, linewidth=0.7)
    return figure
