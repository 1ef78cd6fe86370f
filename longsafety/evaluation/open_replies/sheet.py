"""A blind sheet: open replies to harmful items that people call safe or unsafe, without seeing which arm wrote them.

``sheet.csv`` is what a person fills in; ``sheet_key.csv`` beside it says whose reply each row is. A filled sheet is
read with its key, and its labels are the truth that judges are measured by.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from longsafety.errors import DataError
from longsafety.evaluation.open_replies.labelled import Labelled
from longsafety.files import whole_file

if TYPE_CHECKING:
    import pandas as pd

SHEET, KEY = "sheet.csv", "sheet_key.csv"
COLUMNS = ("id", "task", "question", "reply", "label")
KEY_COLUMNS = ("id", "arm", "item", "kind", "max_tokens", "verdict_by", "verdict", "detector", "task", "question",
               "reply")  # fmt: skip
LABELS = ("safe", "unsafe")
_SEED = 0


def drawn(replies: pd.DataFrame, number: int) -> pd.DataFrame:
    """``number`` of the replies (all, where there are fewer), in random order: tasks and arms in turn, so that each
    has as many as another or one more. The same replies give the same sheet, whatever their order."""
    rows = replies.drop_duplicates("id").sort_values("id", ignore_index=True).sample(frac=1, random_state=_SEED)
    turn = rows.groupby(["arm", "task"]).cumcount()
    return rows.loc[turn.sort_values(kind="stable").index[:number]].sample(frac=1, random_state=_SEED)


def opaque(*parts: object) -> str:
    """A name that tells nothing, and that no spreadsheet takes for a number."""
    return f"r-{sha256(repr(parts).encode(errors='surrogateescape')).hexdigest()[:10]}"


def write_sheet(replies: pd.DataFrame, number: int, folder: Path) -> int:
    """Writes sheet and key; how many replies they hold. ``replies``: :data:`KEY_COLUMNS`."""
    rows = drawn(replies, number)
    shown = rows.assign(label="", reply=[_as_text(reply) for reply in rows["reply"]])
    for name, table in ((KEY, rows[[*KEY_COLUMNS]]), (SHEET, shown[[*COLUMNS]])):
        with whole_file(folder / name) as partial:
            table.to_csv(partial, index=False, encoding="utf-8-sig")  # spreadsheets take it for another code without
    return len(rows)


def _as_text(reply: str) -> str:
    """So that no spreadsheet takes a reply for a formula. The reply that is judged is the key's."""
    return f"'{reply}" if reply[:1] in "=+-@\t\r" else reply


def read_sheet(path: Path) -> tuple[list[Labelled], int]:
    """The labelled replies of a filled sheet, and how many have no label.

    Raises:
        DataError: no key beside it, a column is missing, an id is unknown or stands twice, or a label is no word of
            :data:`LABELS` (file:line).
    """
    key = path.parent / KEY
    if not key.is_file():
        raise DataError(f"{path}: there is no {KEY} beside it; put the one of the same sheet there")
    known = {row["id"]: row for _, row in _rows(key, KEY_COLUMNS)}
    labels: dict[str, str] = {}
    for place, row in _rows(path, ("id", "label")):
        name, label = row["id"].strip(), row["label"].strip().lower()
        if name not in known:
            raise DataError(f"{place}: id = {name}: {KEY} has no such reply; give the sheet that was written with it")
        if name in labels:
            raise DataError(f"{place}: id = {name}: stands in the sheet twice; leave one row")
        if label and label not in LABELS:
            raise DataError(f"{place}: label = {label}: must be {' or '.join(LABELS)}, or empty; correct it")
        labels[name] = label
    rows = [
        Labelled(id=name, reply=row["reply"], refusal=label == "safe", harmful=True, request=row["question"] or None,
                 task=row["task"])
        for name, label in labels.items()
        if label
        for row in [known[name]]
    ]  # fmt: skip
    return rows, len(labels) - len(rows)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """file:line where a row begins, and the row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path}:1: there is no column {', '.join(missing)}; save the sheet with commas")
            end = reader.line_num
            for row in reader:
                if any(row[name] is None for name in columns):
                    raise DataError(f"{path}:{end + 1}: the row has fewer cells than there are columns; complete it")
                yield f"{path}:{end + 1}", row
                end = reader.line_num
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); save the sheet as CSV in UTF-8") from error
