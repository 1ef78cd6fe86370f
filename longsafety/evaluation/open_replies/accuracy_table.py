"""Prints the refusal detector's accuracy on the labelled replies.

python -m longsafety.evaluation.open_replies.accuracy_table
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from longsafety.evaluation.open_replies.accuracy import measure
from longsafety.evaluation.open_replies.labelled import read_labelled
from longsafety.evaluation.open_replies.refusal import is_refusal

_CONFIDENCE = 0.95


def accuracy_table() -> Table:
    """The detector's accuracy over all replies, by language, by split and by difficulty."""
    rows = read_labelled()
    table = Table(
        "replies", "refusals", "sensitivity", "others", "specificity", title="is_refusal, 95% Wilson intervals"
    )
    groups = {"all": rows}
    for field in ("language", "split", "note"):
        names = sorted({getattr(row, field) for row in rows})
        groups |= {f"{field} {name}": [row for row in rows if getattr(row, field) == name] for name in names}
    for name, group in groups.items():
        found = measure(group, is_refusal)
        table.add_row(
            name,
            f"{found.found}/{found.positives}",
            _share(found.sensitivity, found.sensitivity_interval(_CONFIDENCE)),
            f"{found.passed}/{found.negatives}",
            _share(found.specificity, found.specificity_interval(_CONFIDENCE)),
        )
    return table


def _share(share: float, interval: tuple[float, float]) -> str:
    return "" if share != share else f"{share:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


if __name__ == "__main__":
    Console().print(accuracy_table())
