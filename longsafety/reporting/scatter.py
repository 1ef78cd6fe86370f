"""Safety against compliance: the figure that shows which arm is safe only because it declines everything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from longsafety.reporting.comparison_view import COMPLIES, SAFE, ComparisonView, Share
from longsafety.reporting.style import FAINT, PAPER, STYLE, error_of, panels, styles

Point = tuple[str, Share, Share]
"""Arm, compliance, safe response."""


def safety_against_compliance(view: ComparisonView) -> Figure | None:
    """Safe response over compliance, a panel a length, each arm's name at its point; None without compliance."""
    lengths = [n for n in view.lengths if any(view.share(a, SAFE, n) and view.share(a, COMPLIES, n) for a in view.arms)]
    if not lengths:
        return None
    style = styles(view)
    with mpl.rc_context(STYLE):
        figure, drawn = panels(len(lengths), 6.2 if len(lengths) == 1 else 5.2, 5.6 if len(lengths) == 1 else 5.2)
        for axes, length in zip(drawn, lengths, strict=True):
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
                    complies.value, safe.value, xerr=error_of(complies), yerr=error_of(safe), fmt="none", ecolor=colour,
                    elinewidth=1.3, alpha=0.55, zorder=2,
                )  # fmt: skip
                points.append((arm, complies, safe))
            for same in _clusters(points, 0.012):
                for number, (arm, complies, safe) in enumerate(same):
                    # Markers of arms at the same point are drawn around it, so that each is visible.
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
    """Puts each block of labels in the nearest free place, trying rings of places around its points."""
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
                # The block's nearest edge, not its centre, lies on the ring.
                mx = cx + math.cos(angle) * (radius * scale + 12 * scale + width / 2)
                my = cy + math.sin(angle) * (radius * scale + 12 * scale + height / 2)
                box = Bbox.from_bounds(mx - width / 2, my - height / 2, width, height)
                outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
                cost = radius + 1e6 * outside + 1e5 * box.count_overlaps(taken) + 40 * box.count_overlaps(bars)
                if cost < best_cost:
                    best, best_cost = box, cost
        taken.append(best)
        for number, text in enumerate(texts):
            x, y = to_pixels.inverted().transform((best.x0 + 2 * scale, best.y1 - (number + 0.5) * line))
            text.set_position((float(x), float(y)))
        nearest = (min(max(cx, best.x0), best.x1), min(max(cy, best.y0), best.y1))
        if math.dist(nearest, (cx, cy)) > 20 * scale:
            ends = to_pixels.inverted().transform([(cx, cy), nearest])
            axes.plot(ends[:, 0], ends[:, 1], color=FAINT, linewidth=0.8, zorder=3)
