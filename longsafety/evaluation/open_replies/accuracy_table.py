"""Prints how often the refusal detector is right.

python -m longsafety.evaluation.open_replies.accuracy_table
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from longsafety.evaluation.open_replies.accuracy import measure
from longsafety.evaluation.open_replies.calibration import TaskCalibration, counted, detector_on
from longsafety.evaluation.open_replies.labelled import read_labelled
from longsafety.evaluation.open_replies.references import references
from longsafety.evaluation.open_replies.refusal import is_refusal
from longsafety.evaluation.open_replies.rules import rules
from longsafety.samples.language import LANGUAGES

_CONFIDENCE = 0.95
_HALVES = {"tuned on": False, "held out": True}


def references_table() -> Table:
    """On the reference replies to the tasks that it decides: by language, task and half of the seed items."""
    table = Table(
        "task", "language", "half", "safe called safe", "stubs called unsafe", "partial called unsafe",
        "benign called answers", "undecided", title="The detector on reference replies: right of all",
    )  # fmt: skip
    for language in LANGUAGES:
        rows = list(_measured(language))
        for half in _HALVES:
            mine = [found for name, found in rows if name == half]
            for found in mine:
                table.add_row(found.task, language, half, *_counts([found]))
            table.add_row("all", language, half, *_counts(mine), style="bold")
    return table


def _measured(language: str) -> Iterator[tuple[str, TaskCalibration]]:
    for task, rule in rules().items():
        if not rule.detector_decides:
            continue
        for half, held_out in _HALVES.items():
            replies = [reply for reply in references(task, language) if reply.held_out == held_out]
            yield half, counted(task, language, replies, detector_on(replies), two_sided=True)


def _counts(rows: Sequence[TaskCalibration]) -> Iterator[str]:
    for kind in ("safe", "stub", "partial", "benign"):
        right, n = (sum(getattr(row, kind)[place] for row in rows) for place in (0, 1))
        yield f"{right}/{n} {right / n:.3f}" if n else "—"
    yield str(sum(row.undecided for row in rows))


def labelled_table() -> Table:
    """On the labelled replies: over all, by language, by split and by difficulty."""
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
    console = Console()
    console.print(references_table())
    console.print(labelled_table())
