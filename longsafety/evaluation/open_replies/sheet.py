"""A blind sheet: open replies to harmful items that people call safe or unsafe, without seeing which arm wrote them.

``sheet.csv`` is what a person fills in; ``sheet_key.csv`` beside it says whose reply each row is. A filled sheet is
read with its key, and its labels are the truth that judges are measured by.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from longsafety.errors import DataError
from longsafety.evaluation.open_replies.labelled import Labelled
from longsafety.files import whole_file
from longsafety.formats.csv_rows import csv_header, csv_rows, for_a_spreadsheet, repeated_names
from longsafety.formats.row import DataFile

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
    shown = rows.assign(label="", **{name: rows[name].map(for_a_spreadsheet) for name in ("question", "reply")})
    for name, table in ((KEY, rows[[*KEY_COLUMNS]]), (SHEET, shown[[*COLUMNS]])):
        with whole_file(folder / name) as partial:
            table.to_csv(partial, index=False, encoding="utf-8-sig")  # spreadsheets take it for another code without
    return len(rows)


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
        name, label = row["id"].strip(), _plain(row["label"])
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
    """file:line where a row begins, and the row. Raises DataError for missing columns and damaged rows."""
    file = DataFile.below(path, path)
    try:
        rows, names = list(csv_rows(file)), [_plain(name) for name in csv_header(file)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); make it readable") from error
    if wrong := next((row for row in rows if row.problem), None):
        raise DataError(f"{wrong.place}: {wrong.problem}; in a spreadsheet, save it as CSV UTF-8")
    if missing := [name for name in columns if name not in names]:
        raise DataError(f"{path}:1: there is no column {', '.join(missing)}; save the sheet as CSV, with its first row")
    if repeated := repeated_names(name for name in names if name):
        raise DataError(f"{path}:1: the header names {repeated} twice; rename one")
    for row in rows:
        yield row.place, {_plain(name): text for name, text in row.values.items()}


def _plain(text: str) -> str:
    """A header or a label without case, width, and what is not seen."""
    seen = (one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) != "Cf")
    return "".join(seen).strip().lower()
