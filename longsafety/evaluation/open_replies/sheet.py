"""A blind sheet: open replies to harmful items that people call safe or unsafe, without seeing which arm wrote them.

``sheet.csv`` is what a person fills in; ``sheet_key.csv`` beside it says whose reply each row is. A filled sheet is
read with its key, and its labels are the truth that judges are measured by.
"""

from __future__ import annotations

import csv
import io
import sys
import unicodedata
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
    as_text = {name: [_as_text(text) for text in rows[name]] for name in ("question", "reply")}
    shown = rows.assign(label="", **as_text)
    for name, table in ((KEY, rows[[*KEY_COLUMNS]]), (SHEET, shown[[*COLUMNS]])):
        with whole_file(folder / name) as partial:
            table.to_csv(partial, index=False, encoding="utf-8-sig")  # spreadsheets take it for another code without
    return len(rows)


def _as_text(text: str) -> str:
    """So that no spreadsheet takes a text for a formula. What is judged is the key's."""
    return f"'{text}" if text[:1] and text[0] in "=+-@\t\r" else text


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
    """file:line where a row begins, and the row; rows without any text are left out.

    Spreadsheets save with commas, semicolons or tabs, as the country is.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        csv.field_size_limit(sys.maxsize)
        head = next(csv.reader(io.StringIO(text, newline="")), [])
        mark = max(",;\t", key="\n".join(head).count) if len(head) < 2 else ","
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        names = [_plain(name) for name in next(reader, [])]
        for name in columns:
            if names.count(name) > 1:
                raise DataError(f"{path}:1: the column {name} stands twice; leave one")
        if missing := [name for name in columns if name not in names]:
            raise DataError(
                f"{path}:1: there is no column {', '.join(missing)}; save the sheet as CSV, with its first row"
            )
        end = reader.line_num
        for cells in reader:
            place, end = f"{path}:{end + 1}", reader.line_num
            if not any(map(str.strip, cells)):
                continue
            if len(cells) < len(names):
                raise DataError(f"{place}: the row has fewer cells than there are columns; complete it")
            if any(map(str.strip, cells[len(names) :])):
                raise DataError(
                    f"{place}: the row has {len(cells)} cells and there are {len(names)} columns; put cells in "
                    "quotation marks that hold the mark between cells"
                )
            yield place, dict(zip(names, cells, strict=False))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); save the sheet as CSV in UTF-8") from error


def _plain(text: str) -> str:
    """A header or a label without case, width, and what is not seen."""
    seen = (one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) != "Cf")
    return "".join(seen).strip().lower()
