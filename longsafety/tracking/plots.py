"""The figures of a comparison, drawn with matplotlib's object interface (no global figure state).

An arm keeps its colour and marker in every figure: the baseline is grey, the others take a palette that colour-blind
readers can tell apart (Okabe and Ito), and the marker's shape says the same once more.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from longsafety.tracking.record import RunRecord
from longsafety.tracking.view import COMPLIES, SAFE, TITLES, Share, View

INK, FAINT, PAPER = "#1b2330", "#8a919c", "#fefefe"
_BASELINE = "#777e89"
_PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d1f", "#6a51a3", "#117733"]
_MARKERS = "osD^vPXp*h<>"
_ROLES = {
    "hallucinates": "#d55e01",
    "unsafe": "#d55e01",
    "refuses": "#cc79a8",
    "ignores": "#f0c75e",
    "aware_unsafe": "#8ec7e8",
    "safe": "#0072b1",
    "complies": "#009e74",
}
"""Option role → colour, worst to best; a role without one (unparsed) is grey."""
_STYLE = {
    "font.size": 10, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "axes.titlecolor": INK, "text.color": INK,
    "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "figure.facecolor": PAPER, "axes.facecolor": "none", "svg.fonttype": "path",
    "axes.linewidth": 0.8, "axes.titlepad": 10,
}  # fmt: skip
Point = tuple[str, Share, Share]
"""Arm, compliance, safe response."""


def styles(view: View) -> dict[str, tuple[str, str]]:
    """Arm → (colour, marker), the same in every figure of a comparison."""
    others = [arm for arm in view.arms if arm != view.baseline or len(view.arms) == 1]
    given = {
        arm: (_PALETTE[i % len(_PALETTE)], _MARKERS[1 + i % (len(_MARKERS) - 1)]) for i, arm in enumerate(others)
    }
    return {arm: given.get(arm, (_BASELINE, _MARKERS[0])) for arm in view.arms}


def figures(view: View, records: Sequence[RunRecord]) -> dict[str, Figure]:
    """All figures that the comparison has something for: file stem → figure."""
    drawn = {
        "safety_vs_compliance": safety_against_compliance(view),
        "by_length": by_length(view) if len(view.lengths) > 1 else None,
        "options": options(view),
        "training_loss": training_loss(records, styles(view)),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def save(drawn: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Each figure as PNG in ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in drawn]
    for path, figure in zip(paths, drawn.values(), strict=True):
        figure.savefig(path, dpi=130)
    return paths


def svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element whose ink follows the page's text colour (light or dark).

    ``name`` prefixes the element's ids: several figures share one page.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in ((INK, "--ink"), (FAINT, "--faint"), (PAPER, "--paper")):
        text = text.replace(colour, f"var({variable})")
    for colour in _PALETTE:
        text = text.replace(colour, page_colour(colour))
    return text


def page_colour(colour: str) -> str:
    """The colour as CSS that a page may lighten on a dark ground, by a variable named after it."""
    return f"var(--{colour[1:]}, {colour})"


def _panels(count: int, width: float, height: float, *, in_a_row: int = 3) -> tuple[Figure, list[Axes]]:
    """``count`` panels of ``width`` × ``height`` inches, at most ``in_a_row`` beside each other."""
    columns = min(count, in_a_row)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in panels[count:]:
        spare.set_visible(False)
    return figure, panels[:count]


def _error(share: Share) -> list[list[float]]:
    return [[max(share.value - share.low, 0.0)], [max(share.high - share.value, 0.0)]]


def safety_against_compliance(view: View) -> Figure | None:
    """Safe response over compliance, a panel a length, every arm labelled at its point; None without compliance."""
    lengths = [n for n in view.lengths if any(view.share(a, SAFE, n) and view.share(a, COMPLIES, n) for a in view.arms)]
    if not lengths:
        return None
    style = styles(view)
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(lengths), 6.2 if len(lengths) == 1 else 5.2, 5.6 if len(lengths) == 1 else 5.2)
        for axes, length in zip(panels, lengths, strict=True):
            if len(lengths) > 1:
                axes.set_title(f"{length:,} tokens")
            axes.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), aspect="equal")
            axes.set_xlabel("compliance with benign twins  (helpful →)")
            axes.set_ylabel("safe response to harmful items  (safe →)")
            axes.grid(color=FAINT, alpha=0.18, linewidth=0.7)
            axes.plot([0, 1], [1, 0], color=FAINT, alpha=0.5, linewidth=0.9, linestyle=(0, (4, 4)), zorder=1)
            points: list[Point] = []
            for arm in view.arms:
                safe, complies = view.share(arm, SAFE, length), view.share(arm, COMPLIES, length)
                if safe is None or complies is None:
                    continue
                colour = style[arm][0]
                axes.errorbar(
                    complies.value, safe.value, xerr=_error(complies), yerr=_error(safe), fmt="none", ecolor=colour,
                    elinewidth=1.3, alpha=0.55, zorder=2,
                )  # fmt: skip
                points.append((arm, complies, safe))
            for same in _clusters(points, 0.012):
                for number, (arm, complies, safe) in enumerate(same):
                    # Markers at one place stand round it, so that each is seen.
                    angle, radius = 2 * math.pi * number / len(same), 0.018 if len(same) > 1 else 0.0
                    x, y = complies.value + radius * math.cos(angle), safe.value + radius * math.sin(angle)
                    colour, marker = style[arm]
                    axes.plot(
                        x, y, marker, color=colour, markersize=8, markeredgecolor=PAPER, markeredgewidth=0.8, zorder=4
                    )
            _label_clusters(figure, axes, _clusters(points, 0.035), style)
    return figure


def _clusters(points: Sequence[Point], radius: float) -> list[list[Point]]:
    """Points within ``radius`` of a first one."""
    clusters: list[list[Point]] = []
    for point in points:
        for cluster in clusters:
            if math.hypot(point[1].value - cluster[0][1].value, point[2].value - cluster[0][2].value) < radius:
                cluster.append(point)
                break
        else:
            clusters.append([point])
    return clusters


def _label_clusters(
    figure: Figure, axes: Axes, clusters: Sequence[Sequence[Point]], style: Mapping[str, tuple[str, str]]
) -> None:
    """Each block of labels at the free place nearest its points, found by trying rings of places round them."""
    figure.draw_without_rendering()
    frame, scale, to_pixels = axes.get_window_extent(), figure.dpi / 72, axes.transData
    centres = [to_pixels.transform((cluster[0][1].value, cluster[0][2].value)) for cluster in clusters]
    taken = [Bbox.from_bounds(x - 10 * scale, y - 10 * scale, 20 * scale, 20 * scale) for x, y in centres]
    bars = []
    for _, x, y in (point for cluster in clusters for point in cluster):
        (left, bottom), (right, top) = to_pixels.transform([(x.low, y.low), (x.high, y.high)])
        cx, cy = to_pixels.transform((x.value, y.value))
        bars += [Bbox.from_extents(left, cy - 1, right, cy + 1), Bbox.from_extents(cx - 1, bottom, cx + 1, top)]
    for cluster, (cx, cy) in sorted(zip(clusters, centres, strict=True), key=lambda pair: -len(pair[0])):
        texts = [
            axes.text(0, 0, arm, color=style[arm][0], fontsize=9, fontweight="bold", va="center", zorder=5)
            for arm, *_ in cluster
        ]
        width = max(text.get_window_extent().width for text in texts) + 4 * scale
        line = 13 * scale
        height = line * len(texts)
        best, best_cost = Bbox.null(), math.inf
        for radius in range(0, 180, 8):
            for turn in range(24):
                angle = 2 * math.pi * turn / 24
                # The block's nearest edge, not its middle, lies on the ring.
                mx = cx + math.cos(angle) * (radius * scale + 12 * scale + width / 2)
                my = cy + math.sin(angle) * (radius * scale + 12 * scale + height / 2)
                box = Bbox.from_bounds(mx - width / 2, my - height / 2, width, height)
                outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
                cost = radius + 1e6 * outside + 1e5 * box.count_overlaps(taken) + 40 * box.count_overlaps(bars)
                if cost < best_cost:
                    best, best_cost = box, cost
        taken.append(best)
        for number, text in enumerate(texts):
            place = (best.x0 + 2 * scale, best.y1 - (number + 0.5) * line)
            text.set_position(to_pixels.inverted().transform(place))
        nearest = (min(max(cx, best.x0), best.x1), min(max(cy, best.y0), best.y1))
        if math.dist(nearest, (cx, cy)) > 20 * scale:
            ends = to_pixels.inverted().transform([(cx, cy), nearest])
            axes.plot(ends[:, 0], ends[:, 1], color=FAINT, linewidth=0.8, zorder=3)


def by_length(view: View) -> Figure | None:
    """Safe response and compliance over the length, a line an arm with intervals; None where there is no score."""
    metrics = [m for m in (SAFE, COMPLIES) if any(view.share(a, m, n) for a, n in view.rows())]
    if not metrics:
        return None
    style, places = styles(view), range(len(view.lengths))
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(metrics), 5.4, 4.2)
        for axes, metric in zip(panels, metrics, strict=True):
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
    """Names at the right of the lines' ends, moved apart to at least ``gap`` of the axis, each joined to its end."""
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


def ordered_roles(table: Mapping[tuple[str, int], Mapping[str, int]]) -> list[str]:
    """The roles of a confusion table, unsafe or unhelpful first, those that are no option (unparsed) last."""
    found = {role for counts in table.values() for role in counts}
    return [role for role in _ROLES if role in found] + sorted(found - set(_ROLES))


def options(view: View) -> Figure | None:
    """What each arm chose, as stacked bars: harmful items, the same without context, benign twins."""
    several = len(view.lengths) > 1
    groups = {
        "harmful items": ("harmful",),
        "harmful, no context": ("short",),
        "benign twins": ("benign_query", "benign_needle"),
    }
    tables = {title: table for title, kinds in groups.items() if (table := view.confusion(kinds))}
    if not tables:
        return None
    rows = view.rows()
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(tables), 1.9 / len(tables) + 3.1, 1.35 + 0.34 * len(rows))
        for number, (axes, (title, table)) in enumerate(zip(panels, tables.items(), strict=True)):
            roles = ordered_roles(table)
            for y, row in enumerate(rows):
                counts = table.get(row, {})
                left, total = 0.0, sum(counts.values())
                for role in roles:
                    share = counts.get(role, 0) / total if total else 0.0
                    colour = _ROLES.get(role, "#b9bec6")
                    label = role.replace("_", " ") if y == 0 else None
                    axes.barh(y, share, left=left, height=0.7, color=colour, label=label, edgecolor=PAPER, linewidth=0.8)
                    if share >= 0.1:
                        light = role in {"safe", "hallucinates", "unsafe", "complies"}
                        axes.text(
                            left + share / 2, y, f"{share:.0%}", ha="center", va="center", fontsize=8,
                            color="white" if light else "#14181f",
                        )  # fmt: skip
                    left += share
            axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xticks=[])
            names = [f"{arm}  {length:,}" if several else arm for arm, length in rows]
            axes.set_yticks(range(len(rows)), names if number == 0 else [""] * len(rows))
            axes.tick_params(axis="y", length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(title, pad=26)
            axes.legend(
                loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(roles), frameon=False, fontsize=8,
                handlelength=0.9, handletextpad=0.35, columnspacing=0.8, borderaxespad=0.1, labelcolor=INK,
            )  # fmt: skip
    return figure


def training_loss(
    records: Sequence[RunRecord], style: Mapping[str, tuple[str, str]] | None = None
) -> Figure | None:
    """Loss on the answer tokens over the optimiser's steps, a line a trained arm; None where nothing was trained."""
    histories: dict[str, Any] = {record.label: record.history for record in records if record.history}
    if not histories:
        return None
    style = style or {arm: (_PALETTE[0], _MARKERS[0]) for arm in histories}
    with mpl.rc_context(_STYLE):
        figure, (axes,) = _panels(1, 7.6, 3.6)
        axes.set(xlabel="optimiser step", ylabel="loss on answer tokens")
        axes.grid(axis="y", color=FAINT, alpha=0.18, linewidth=0.7)
        ends = []
        for arm, history in histories.items():
            steps, losses = [row["step"] for row in history], [row["loss"] for row in history]
            dots = style[arm][1] if len(steps) <= 30 else ""
            axes.plot(steps, losses, color=style[arm][0], linewidth=1.5, marker=dots, markersize=4)
            ends.append((arm, steps[-1], losses[-1]))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        _label_ends(axes, ends, style, gap=0.075)
    return figure
