"""The figures of a comparison, drawn with matplotlib's object interface (no global figure state)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from longsafety.reporting.comparison_view import COMPLIES, SAFE, TITLES, ComparisonView
from longsafety.reporting.fonts import drawn_names, fonts_for
from longsafety.reporting.names import arm_name
from longsafety.reporting.pairs_figure import right_and_reversed
from longsafety.reporting.record import RunRecord
from longsafety.reporting.scatter import safety_against_compliance
from longsafety.reporting.style import FAINT, INK, MARKERS, PALETTE, PAPER, STYLE, panels, styles
from longsafety.vocabulary import BENIGN_TWINS

KINDS: Mapping[str, Sequence[str]] = {
    "harmful items": ("harmful",),
    "benign twins, same options": BENIGN_TWINS,
    "harmful, no context": ("short",),
    "needle absent": ("absent",),
}
"""Kinds of items whose chosen options are shown together."""
_ROLES = {
    "hallucinates": "#9c4401",
    "unsafe": "#d55e01",
    "ignores": "#f0c75e",
    "aware_unsafe": "#8ec7e8",
    "safe": "#0072b1",
}
"""Option role → colour, worst to best under the harmful item; under its benign twin another is right. Other outcomes
(unparsed) are grey."""
_DARK = {"hallucinates", "safe", "unsafe"}
_MOST_NAMED = 24
"""Lines of a figure that have a label at their end."""
_ROOM_FOR_A_NUMBER = 0.12
"""Shares of less are drawn without their number."""


def figures(view: ComparisonView, records: Sequence[RunRecord]) -> dict[str, Figure]:
    """File stem → figure, for every figure that the comparison has data for. Arms whose letters no font has are
    numbered (:func:`arm_names`)."""
    names, style = arm_names(view), styles(view)
    view = view.renamed(names)
    with fonts_for(names.values()):
        drawn = {
            "pairs": right_and_reversed(view),
            "safety_vs_compliance": safety_against_compliance(view),
            "by_length": by_length(view) if len(view.lengths) > 1 else None,
            "options": options(view),
            "training_loss": training_loss(records, style, names),
            "safety_curve": safety_curve(records, style, names),
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def arm_names(view: ComparisonView) -> dict[str, str]:
    """Arm → its name in figures."""
    return drawn_names(view.arms)


def by_length(view: ComparisonView) -> Figure | None:
    """Safe response and compliance over the length, a line an arm with intervals; None without scores."""
    metrics = [m for m in (SAFE, COMPLIES) if any(view.share(a, m, n) for a, n in view.rows())]
    if not metrics:
        return None
    style, places = styles(view), range(len(view.lengths))
    with mpl.rc_context(STYLE):
        figure, drawn = panels(len(metrics), 5.4, 4.2)
        for axes, metric in zip(drawn, metrics, strict=True):
            axes.set_title(TITLES[metric])
            axes.set(ylim=(-0.04, 1.04), xlabel="tokens", xticks=list(places))
            axes.set_xticklabels([f"{length:,}" for length in view.lengths])
            axes.grid(axis="y", color=FAINT, alpha=0.18, linewidth=0.7)
            ends = []
            for number, arm in enumerate(view.arms):
                shift = 0.035 * (number - (len(view.arms) - 1) / 2)
                found = [(i + shift, s) for i, n in enumerate(view.lengths) if (s := view.share(arm, metric, n))]
                if not found:
                    continue
                colour, marker = style[arm]
                low = [max(share.value - share.low, 0.0) for _, share in found]
                high = [max(share.high - share.value, 0.0) for _, share in found]
                axes.errorbar(
                    [x for x, _ in found], [share.value for _, share in found], yerr=[low, high], color=colour,
                    marker=marker, markersize=6, linewidth=1.6, elinewidth=1, alpha=0.9,
                )  # fmt: skip
                ends.append((arm, found[-1][0], found[-1][1].value))
            _label_ends(axes, ends, style, gap=0.058)
    return figure


def _label_ends(
    axes: Axes, ends: Sequence[tuple[str, float, float]], style: Mapping[str, tuple[str, str]], gap: float
) -> None:
    """Labels to the right of the lines' ends, at least ``gap`` of the axis apart, each joined to its line. More lines
    than ``_MOST_NAMED`` are not named: the labels would need several times the figure's height."""
    if len(ends) > _MOST_NAMED:
        axes.text(
            1.02, 0.5, f"{len(ends)} lines,\nnamed in the\nCSV file", transform=axes.transAxes, va="center", fontsize=9
        )
        return
    bottom, top = axes.get_ylim()
    ordered = sorted(ends, key=lambda end: end[2])
    heights = [(y - bottom) / (top - bottom) for *_, y in ordered]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    if heights and heights[-1] > 1:
        heights[-1] = 1.0
        for i in range(len(heights) - 2, -1, -1):
            heights[i] = min(heights[i], heights[i + 1] - gap)
    for (arm, x, y), height in zip(ordered, heights, strict=True):
        axes.annotate(
            arm, (x, y), xytext=(1.05, height), textcoords="axes fraction", va="center", fontsize=9,
            fontweight="bold", color=style[arm][0], annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": style[arm][0], "linewidth": 0.8, "alpha": 0.6, "relpos": (0, 0.5)},
        )  # fmt: skip


def ordered_roles(*tables: Mapping[tuple[str, int], Mapping[str, int]]) -> list[str]:
    """The roles of confusion tables, unsafe or unhelpful first; outcomes that are no option (unparsed) last."""
    counted = [counts for table in tables for counts in table.values()]
    found = {role for counts in counted for role, count in counts.items() if count or role in _ROLES}
    return [role for role in _ROLES if role in found] + sorted(found - set(_ROLES))


def options(view: ComparisonView) -> Figure | None:
    """The options that each arm chose, as stacked bars, a panel a kind of items (``KINDS``)."""
    several = len(view.lengths) > 1
    tables = {title: table for title, kinds in KINDS.items() if (table := view.confusion(kinds))}
    if not tables:
        return None
    rows = view.rows()
    roles = ordered_roles(*tables.values())
    names = [f"{arm}  {length:,}" if several else arm for arm, length in rows]
    with mpl.rc_context(STYLE):
        figure, drawn = panels(len(tables), 3.4 + 1.6 / min(2, len(tables)), 0.75 + 0.34 * len(rows), in_a_row=2)
        for number, (axes, (title, table)) in enumerate(zip(drawn, tables.items(), strict=True)):
            for y, row in enumerate(rows):
                counts = table.get(row, {})
                left, total = 0.0, sum(counts.values())
                for role in roles:
                    share = counts.get(role, 0) / total if total else 0.0
                    axes.barh(y, share, left=left, height=0.7, color=_colour(role), edgecolor=PAPER, linewidth=0.8)
                    if share >= _ROOM_FOR_A_NUMBER:
                        axes.text(
                            left + share / 2, y, f"{share:.0%}", ha="center", va="center", fontsize=8,
                            color="white" if role in _DARK else "#14181f",
                        )  # fmt: skip
                    left += share
            axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xticks=[])
            axes.set_yticks(range(len(rows)), names if number % 2 == 0 else [""] * len(rows))
            axes.tick_params(axis="y", length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(title)
        figure.legend(
            handles=[Patch(color=_colour(role), label=role.replace("_", " ")) for role in roles],
            loc="outside upper left", ncols=min(len(roles), 3 * min(2, len(tables))), frameon=False, fontsize=9,
            handlelength=0.9, handletextpad=0.35, columnspacing=1.2, labelcolor=INK,
        )  # fmt: skip
    return figure


def _colour(role: str) -> str:
    return _ROLES.get(role, "#b9bec6")


def training_loss(
    records: Sequence[RunRecord],
    style: Mapping[str, tuple[str, str]] | None = None,
    names: Mapping[str, str] | None = None,
) -> Figure | None:
    """Loss on the answer tokens over the optimiser steps, a line a training; None if nothing was trained."""
    histories = _by_training(records, "history", names or {})
    if not histories:
        return None
    style = style or {}
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1, 7.6, 3.6)
        axes.set(xlabel="optimiser step", ylabel="loss on answer tokens")
        axes.grid(axis="y", color=FAINT, alpha=0.18, linewidth=0.7)
        ends = []
        of_run = {}
        for name, (arm, history) in histories.items():
            steps, losses = [row["step"] for row in history], [row["loss"] for row in history]
            colour, marker = of_run[name] = style.get(arm, (PALETTE[0], MARKERS[0]))
            dots = marker if len(steps) <= 30 else ""
            axes.plot(steps, losses, color=colour, linewidth=1.5, marker=dots, markersize=4)
            ends.append((name, steps[-1], losses[-1]))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        _label_ends(axes, ends, of_run, gap=0.075)
    return figure


def safety_curve(
    records: Sequence[RunRecord],
    style: Mapping[str, tuple[str, str]] | None = None,
    names: Mapping[str, str] | None = None,
) -> Figure | None:
    """Safe response and compliance over the optimiser steps, a line a training; None without a safety curve."""
    curves = _by_training(records, "curve", names or {})
    metrics = [m for m in (SAFE, COMPLIES) if any(m in row for _, rows in curves.values() for row in rows)]
    if not metrics:
        return None
    style = style or {}
    with mpl.rc_context(STYLE):
        figure, drawn = panels(len(metrics), 5.4, 3.6)
        for axes, metric in zip(drawn, metrics, strict=True):
            axes.set_title(TITLES[metric])
            axes.set(ylim=(-0.04, 1.04), xlabel="optimiser step")
            axes.grid(axis="y", color=FAINT, alpha=0.18, linewidth=0.7)
            ends = []
            of_run = {}
            for name, (arm, rows) in curves.items():
                points = [(row["step"], row[metric]) for row in rows if metric in row]
                colour, marker = of_run[name] = style.get(arm, (PALETTE[0], MARKERS[0]))
                axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, linewidth=1.5)
                ends.append((name, *points[-1]))
            _label_ends(axes, ends, of_run, gap=0.058)
    return figure


def _by_training(
    records: Sequence[RunRecord], rows: str, names: Mapping[str, str]
) -> dict[str, tuple[str, list[dict[str, float]]]]:
    """Name of a training in figures → its arm and its ``history`` or ``curve``; an arm that was trained once has
    its own name."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for record in records:
        if held := getattr(record, rows):
            found.setdefault(arm_name(record), {}).setdefault(record.label, held)
    return {
        (names.get(arm, arm) if len(trainings) == 1 else label.replace(arm, names.get(arm, arm), 1)): (arm, held)
        for arm, trainings in found.items()
        for label, held in trainings.items()
    }
