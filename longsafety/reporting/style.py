"""How figures look: colours and markers of the arms, panels, and figures as files or as part of a page.

An arm has the same colour and marker in every figure. The baseline is grey; the others take a palette that
colour-blind readers can distinguish (Okabe and Ito).
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from longsafety.reporting.comparison_view import ComparisonView, Share

INK, FAINT, PAPER = "#1b2330", "#8a919c", "#fefefe"
BASELINE = "#777e89"
PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d1f", "#6a51a3", "#117733"]
MARKERS = "osD^vPXp*h<>"
STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "axes.titlecolor": INK, "text.color": INK,
    "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "figure.facecolor": PAPER, "axes.facecolor": "none", "svg.fonttype": "path",
    "axes.linewidth": 0.8, "axes.titlepad": 10, "text.parse_math": False,
}  # fmt: skip


def styles(view: ComparisonView) -> dict[str, tuple[str, str]]:
    """Arm → (colour, marker), the same in every figure of a comparison."""
    others = [arm for arm in view.arms if not view.is_baseline(arm) or len(view.arms) == 1]
    given = {arm: (PALETTE[i % len(PALETTE)], MARKERS[1 + i % (len(MARKERS) - 1)]) for i, arm in enumerate(others)}
    return {arm: given.get(arm, (BASELINE, MARKERS[0])) for arm in view.arms}


def save(drawn: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Writes each figure as PNG into ``folder``, which is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in drawn]
    for path, figure in zip(paths, drawn.values(), strict=True):
        figure.savefig(path, dpi=130)
    return paths


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG file without a background. ``name`` decides its ids."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue()


def inline(text: str, name: str) -> str:
    """What :func:`svg` returned, as an ``<svg>`` element that takes the page's text colour (light or dark).

    ``name`` prefixes the element's ids, because several figures share one page.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in ((INK, "--ink"), (FAINT, "--faint"), (PAPER, "--paper")):
        text = text.replace(colour, f"var({variable})")
    for colour in PALETTE:
        text = text.replace(colour, page_colour(colour))
    return text


def page_colour(colour: str) -> str:
    """The colour as a CSS variable, which a page may redefine for a dark background."""
    return f"var(--{colour[1:]}, {colour})"


def panels(count: int, width: float, height: float, *, in_a_row: int = 3) -> tuple[Figure, list[Axes]]:
    """``count`` panels of ``width`` × ``height`` inches, at most ``in_a_row`` side by side."""
    columns = min(count, in_a_row)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    drawn = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in drawn[count:]:
        spare.set_visible(False)
    return figure, drawn[:count]


def error_of(share: Share) -> list[list[float]]:
    """The interval as matplotlib takes it: its extent below and above the value."""
    return [[max(share.value - share.low, 0.0)], [max(share.high - share.value, 0.0)]]
