"""The needle heatmap: how often a benign needle is found, by length and depth; a panel an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from longsafety.reporting.fonts import drawn_names, fonts_for
from longsafety.reporting.numbers import decimals
from longsafety.reporting.style import PAPER, STYLE, panels

if TYPE_CHECKING:
    import pandas as pd

_COLOURS = "cividis"
_LIGHT = 0.55
"""From this share on, the colour is light and the text on it dark."""


def needle_figure(table: pd.DataFrame, scorer: str, every: Sequence[str]) -> Figure | None:
    """The cells of one scorer in ``evaluation.scores.needle_map.needle_map``; None if it has none. ``every``: all arms
    of the comparison, which are numbered where no font has their letters."""
    table = table[table["scorer"] == scorer]
    if table.empty:
        return None
    lengths, depths = sorted(set(table["max_tokens"])), sorted(set(table["depth"]))
    arms = list(dict.fromkeys(table["arm"]))
    names = drawn_names(every)
    with fonts_for(names.values()), mpl.rc_context(STYLE):
        figure, drawn = panels(len(arms), 1.4 + 0.75 * max(len(lengths), 2), 1.3 + 0.36 * len(depths))
        for number, (axes, arm) in enumerate(zip(drawn, arms, strict=True)):
            axes.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(len(depths) - 0.5, -0.5), xlabel="tokens")
            axes.set_title(names[arm])
            axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
            axes.set_yticks(range(len(depths)), [f"{depth - 0.05:.0%}–{depth + 0.05:.0%}" for depth in depths])
            axes.set_ylabel("depth of the needle" if number % 3 == 0 else "")
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            for cell in table[table["arm"] == arm].itertuples(index=False):
                x, y = lengths.index(cell.max_tokens), depths.index(cell.depth)
                colour = mpl.colormaps[_COLOURS](cell.value)
                axes.add_patch(
                    mpl.patches.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor=PAPER, linewidth=1.5)
                )
                ink = "#14181f" if cell.value >= _LIGHT else "white"
                axes.text(x, y, decimals(cell.value), ha="center", va="center", fontsize=8.5, color=ink)
    return figure
