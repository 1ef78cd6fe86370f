"""The report's figures as files: each as SVG, and beside it the numbers drawn as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from longsafety.reporting.comparison_view import COMPLIES, DIFFERENCE, REVERSED, RIGHT, SAFE, ComparisonView
from longsafety.reporting.names import arm_name
from longsafety.reporting.plots import KINDS
from longsafety.reporting.record import RunRecord
from longsafety.stages import folder_name

SHARES = {
    "pairs": (RIGHT, REVERSED, DIFFERENCE),
    "safety_vs_compliance": (SAFE, COMPLIES),
    "by_length": (SAFE, COMPLIES),
}
"""Figure → the metrics that it shows of each arm at each length."""


def write_figures(
    folder: Path,
    drawn: Mapping[str, str],
    view: ComparisonView,
    records: Sequence[RunRecord],
    tables: Mapping[str, pd.DataFrame],
) -> None:
    """Writes ``NAME.svg`` and ``NAME.csv`` into ``folder`` for each figure, whose key makes its name.

    ``drawn``: name → the figure as SVG.
    ``tables``: the numbers of figures that are not drawn of the view's pooled shares alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for key, text in drawn.items():
        path = folder / folder_name(key)
        path.with_name(f"{path.name}.svg").write_text(text, "utf-8")
        numbers = tables[key] if key in tables else _numbers(key, view, records)
        numbers.to_csv(path.with_name(f"{path.name}.csv"), index=False, float_format="%.6g")


def _numbers(key: str, view: ComparisonView, records: Sequence[RunRecord]) -> pd.DataFrame:
    """The numbers of a figure; of a section's figure those of all arms."""
    if key == "options":
        return _options(view)
    if key in ("training_loss", "safety_curve"):
        held = "history" if key == "training_loss" else "curve"
        rows = [{"arm": arm_name(r), "training": r.label, **row} for r in records for row in getattr(r, held)]
        return pd.DataFrame(rows).drop_duplicates(ignore_index=True)  # a training that is asked at several lengths
    metrics = SHARES.get(key, (SAFE, COMPLIES, DIFFERENCE))
    found: list[dict[str, Any]] = [
        {"arm": arm, "max_tokens": length, "metric": metric, "n": share.n, "seeds": share.seeds,
         "value": share.value, "low": share.low, "high": share.high}
        for arm, length in view.rows() for metric in metrics if (share := view.share(arm, metric, length))
    ]  # fmt: skip
    return pd.DataFrame(found)


def _options(view: ComparisonView) -> pd.DataFrame:
    return pd.DataFrame([
        {"items": title, "arm": arm, "max_tokens": length, "role": role, "count": count}
        for title, kinds in KINDS.items()
        for (arm, length), counted in view.confusion(kinds).items()
        for role, count in counted.items()
    ])  # fmt: skip
