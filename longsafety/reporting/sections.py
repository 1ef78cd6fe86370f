"""A section of the report for everything that a sweep varies: a figure, and the tested effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from longsafety.reporting.comparison_view import COMPLIES, DIFFERENCE, SAFE, TESTED, TITLES, ComparisonView, Share
from longsafety.reporting.fonts import drawn_names, fonts_for, numbers_note
from longsafety.reporting.names import arm_name
from longsafety.reporting.record import RunRecord
from longsafety.reporting.style import BASELINE, FAINT, MARKERS, PALETTE, STYLE, panels
from longsafety.settings import factors, mix_of

_ROWS = 4
"""Rows of panels: combinations of what else is varied; the others are in ``effects.csv``."""
_LETTERS_BELOW = 44
"""Letters of all values together that have room beside each other below a panel."""
_LETTERS_AN_INCH, _MARK_LETTERS = 13, 6
"""Of the legend; the width of a line's mark in letters."""
Place = tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """What one swept setting does."""

    key: str
    title: str
    figure: Figure | None
    effects: list[dict[str, Any]]
    """Rows of ``Comparison.effects`` over all tasks, one an arm, its value and length: the metrics' columns by name."""
    note: str


def sections(view: ComparisonView, records: Sequence[RunRecord]) -> list[Section]:
    """A section a swept setting, in the sweep's order; lengths and seeds have sections of their own."""
    arms = {arm_name(record): record.resolved() for record in reversed(records)}
    values = {arm: {key: str(value) for key, value in factors(arms[arm]).items()} for arm in view.arms if arm in arms}
    mixes = {arm: mix_of(run) for arm, run in arms.items()}
    keys = dict.fromkeys(key for swept in values.values() for key in swept)
    return [_section(view, key, values, mixes) for key in keys]


def _section(view: ComparisonView, key: str, values: dict[str, dict[str, str]], mixes: dict[str, str]) -> Section:
    effects = _effects(view, key)
    others = sorted({(other, tuple(v[other] for v in values.values() if other in v)) for s in values.values()
                     for other in s if other != key})  # fmt: skip
    note = f"The value of {key} varies, all else is equal."
    if not effects:
        note += " Its values were asked no item in common, so no difference is tested item by item."
    if others:
        note += f" Rows of the figure: {', '.join(name for name, _ in others)}."
    figure_names = numbers_note(_drawn_as(key, values, mixes))
    note += f" {figure_names}" if figure_names else ""
    return Section(key, f"By {key.rpartition('.')[2]}", by_value(view, key, values, mixes), effects, note)


def _effects(view: ComparisonView, key: str) -> list[dict[str, Any]]:
    frame = view.comparison.effects
    if not len(frame):
        return []
    mine = frame[(frame["key"] == key) & (frame["scorer"] == view.scorer) & (frame["task"] == "all")]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in mine[mine["metric"].isin(TESTED)].to_dict("records"):
        place = (row["arm"], row["against"], row["max_tokens"])
        names = ("arm", "against", "value", "against_value", "max_tokens")
        found.setdefault(place, {name: row[name] for name in names})[row["metric"]] = {
            str(name): None if value != value else value for name, value in row.items()
        }
    return list(found.values())


def by_value(view: ComparisonView, key: str, values: dict[str, dict[str, str]], mixes: dict[str, str]) -> Figure | None:
    """Headline metrics over the values of ``key``, a line a mix with intervals; a row a combination of what else is
    varied. An arm that does not have the key (untrained, where it only trains) is a level line."""
    ticks = list(dict.fromkeys(swept[key] for swept in values.values() if key in swept))
    rests: dict[Place, None] = dict.fromkeys(
        (*(f"{name}={value}" for name, value in swept.items() if name != key), *_at(view, length))
        for arm, swept in values.items()
        if key in swept
        for length in view.lengths
    )
    metrics = [metric for metric in (SAFE, COMPLIES, DIFFERENCE) if view.has(metric)]
    if len(ticks) < 2 or not metrics:
        return None
    names = list(dict.fromkeys(mixes[arm] for arm in values))
    drawn_as = _drawn_as(key, values, mixes)
    with fonts_for([*drawn_as.values(), key]), mpl.rc_context(STYLE):
        shown = list(rests)[:_ROWS]
        figure, drawn = panels(len(metrics) * len(shown), 3.9, 3.0, in_a_row=len(metrics))
        for row, rest in enumerate(shown):
            for column, metric in enumerate(metrics):
                axes = drawn[row * len(metrics) + column]
                axes.set_title((TITLES[metric] + "\n" if row == 0 else "") + ", ".join(map(_short, rest)), fontsize=9)
                axes.set(xticks=range(len(ticks)), xlim=(-0.4, len(ticks) - 0.6))
                axes.set_xticklabels([drawn_as[tick] for tick in ticks], fontsize=8, **_slant(ticks))
                axes.set_ylim((-1.04, 1.04) if metric == DIFFERENCE else (-0.04, 1.04))
                axes.grid(axis="y", color=FAINT, alpha=0.18, linewidth=0.7)
                for number, mix in enumerate(names):
                    points = _points(view, metric, mix, rest, key, ticks, values, mixes)
                    untrained = mix == names[0] and any(view.is_baseline(arm) for arm in values if mixes[arm] == mix)
                    colour = BASELINE if untrained else PALETTE[(number - 1) % len(PALETTE)]
                    shift = 0.06 * (number - (len(names) - 1) / 2)
                    if len(points) == len(ticks) and all(share is points[0][1] for _, share in points):
                        axes.axhline(
                            points[0][1].value, color=colour, linestyle="--", linewidth=1.2, label=drawn_as[mix]
                        )
                    elif points:
                        low = [max(share.value - share.low, 0) for _, share in points]
                        high = [max(share.high - share.value, 0) for _, share in points]
                        axes.errorbar(
                            [x + shift for x, _ in points], [share.value for _, share in points], yerr=[low, high],
                            color=colour, marker=MARKERS[number % len(MARKERS)], markersize=5, linewidth=1.4,
                            elinewidth=0.9, label=drawn_as[mix],
                        )  # fmt: skip
        figure.supxlabel(key, fontsize=9)
        handles, labels = drawn[0].get_legend_handles_labels()
        beside = int(figure.get_figwidth() * _LETTERS_AN_INCH // (max(map(len, labels), default=0) + _MARK_LETTERS))
        columns = max(1, min(len(labels), beside))
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=8)
    return figure


def _drawn_as(key: str, values: dict[str, dict[str, str]], mixes: dict[str, str]) -> dict[str, str]:
    """Mix or value of ``key`` → its name in the figure."""
    ticks = dict.fromkeys(swept[key] for swept in values.values() if key in swept)
    return drawn_names(list(dict.fromkeys([*(mixes[arm] for arm in values), *ticks])))


def _slant(ticks: Sequence[str]) -> dict[str, Any]:
    """How values are written that would run into each other below a panel."""
    together = sum(map(len, ticks)) + 2 * len(ticks)
    return {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if together > _LETTERS_BELOW else {}


def _at(view: ComparisonView, length: int) -> Place:
    return (f"{length:,} tokens",) if len(view.lengths) > 1 else ()


def _short(name: str) -> str:
    key, _, value = name.rpartition("=")
    return f"{key.rpartition('.')[2]}={value}" if key else name


def _points(
    view: ComparisonView, metric: str, mix: str, rest: Place, key: str, ticks: list[str],
    values: dict[str, dict[str, str]], mixes: dict[str, str],
) -> list[tuple[int, Share]]:  # fmt: skip
    found = []
    for place, value in enumerate(ticks):
        for arm, swept in values.items():
            others = {f"{name}={held}" for name, held in swept.items() if name != key}
            if mixes[arm] != mix or swept.get(key, value) != value or not others <= {*rest}:
                continue
            for length in view.lengths:
                if {*_at(view, length)} <= {*rest} and (share := view.share(arm, metric, length)):
                    found.append((place, share))
    return found
