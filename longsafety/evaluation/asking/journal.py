"""The journal of an evaluation: one line an answer, written at once, so that a killed run can go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

JOURNAL = "answers.jsonl"
PROCESS = "process-"
"""Prefix of the folders, beside the journal, in which processes keep journals of their own."""
Key = tuple[str, str, int]
"""Item id, scorer, and index of the order of the options."""


def append_rows(file: TextIO, *rows: dict[str, Any]) -> None:
    """Writes all rows in one call."""
    file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    file.flush()


def read_journals(folder: Path) -> dict[Key, dict[str, Any]]:
    """The answers in ``folder``'s journal, to which those in the journals of killed processes are appended first."""
    journal = folder / JOURNAL
    answered = _read(journal)
    left = [row for path in sorted(folder.glob(f"{PROCESS}*/{JOURNAL}")) for row in _read(path).items()]
    with journal.open("a", encoding="utf-8") as file:
        for key, row in left:
            if key not in answered:
                answered[key] = row
                append_rows(file, row)
    for path in folder.glob(f"{PROCESS}*"):
        shutil.rmtree(path)
    return answered


def parse_lines(text: str) -> Iterator[dict[str, Any]]:
    """The rows of complete lines."""
    return (json.loads(line) for line in text.split("\n") if line)


def _read(path: Path) -> dict[Key, dict[str, Any]]:
    """The complete lines. A line that a kill cut off is removed from the file, so that the next starts a new line."""
    if not path.exists():
        return {}
    text = path.read_text("utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, "utf-8")
    return {(row["item_id"], row["scorer"], row["order_index"]): row for row in parse_lines(whole)}
