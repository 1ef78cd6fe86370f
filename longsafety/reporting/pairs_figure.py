"""The figure of pairs: how many an arm gets right, and how many it gets the wrong way round."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from longsafety.reporting.comparison_view import DIFFERENCE, REVERSED, RIGHT, ComparisonView
from longsafety.reporting.style import FAINT, INK, PAPER, STYLE, error_of, panels

_RIGHT, _REVERSED = "#0072b1", "#d55e01"


def right_and_reversed(view: ComparisonView) -> Figure | None:
    """A row an arm (and length): pairs right to the right, reversed pairs to the left, and between them the difference
    with its interval; None without pairs."""
    rows = [row for row in view.rows() if view.share(row[0], DIFFERENCE, row[1])]
    if not rows:
        return None
    several = len(view.lengths) > 1
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1, 8.4, 1.25 + 0.36 * len(rows))
        reach = 0.05
        for y, (arm, length) in enumerate(rows):
            difference = view.share(arm, DIFFERENCE, length)
            right, reversed_ = view.share(arm, RIGHT, length), view.share(arm, REVERSED, length)
            assert difference is not None and right is not None and reversed_ is not None
            axes.barh(y, right.value, height=0.66, color=_RIGHT, alpha=0.75, label="right" if y == 0 else None)
            axes.barh(
                y, -reversed_.value, height=0.66, color=_REVERSED, alpha=0.75, label="reversed" if y == 0 else None
            )
            known = difference.low == difference.low
            axes.errorbar(
                difference.value, y, xerr=error_of(difference) if known else None, fmt="D", color=INK, markersize=5,
                markeredgecolor=PAPER, markeredgewidth=0.8, elinewidth=1.3,
                label="right − reversed" if y == 0 else None,
            )  # fmt: skip
            ends = [right.value, reversed_.value, abs(difference.value)]
            reach = max(reach, *ends, *([abs(difference.low), abs(difference.high)] if known else []))
        axes.axvline(0, color=FAINT, linewidth=0.9)
        reach = min(1.08 * reach, 1.03)
        axes.set(xlim=(-reach, reach), ylim=(len(rows) - 0.5, -0.5), xlabel="share of the pairs")
        axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.2g}")
        axes.set_yticks(range(len(rows)), [f"{arm}  {length:,}" if several else arm for arm, length in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_title("Pairs of item and benign twin", pad=26)
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False, fontsize=8, handlelength=0.9,
            handletextpad=0.35, columnspacing=0.8, borderaxespad=0.1, labelcolor=INK,
        )  # fmt: skip
    return figure
