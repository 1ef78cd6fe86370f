"""The journal of an evaluation: a line an answer, written at once, so that what was killed goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

JOURNAL = "answers.jsonl"
PROCESS = "process-"
"""Begins the names of the folders, beside the journal, in which processes keep journals of their own."""
Key = tuple[str, str, int]
"""Item, scorer, and place among the orders of its options."""


def note(file: TextIO, *rows: dict[str, Any]) -> None:
    """Writes all of them at once."""
    file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    file.flush()


def gathered(folder: Path) -> dict[Key, dict[str, Any]]:
    """The answers in ``folder``'s journal, which takes over what killed processes left in theirs."""
    journal = folder / JOURNAL
    answered = _read(journal)
    left = [row for path in sorted(folder.glob(f"{PROCESS}*/{JOURNAL}")) for row in _read(path).items()]
    with journal.open("a", encoding="utf-8") as file:
        for key, row in left:
            if key not in answered:
                answered[key] = row
                note(file, row)
    for path in folder.glob(f"{PROCESS}*"):
        shutil.rmtree(path)
    return answered


def _read(path: Path) -> dict[Key, dict[str, Any]]:
    """Complete lines; a line that a kill cut off is removed from the file, so that the next begins on its own."""
    if not path.exists():
        return {}
    text = path.read_text("utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, "utf-8")
    return {(row["item_id"], row["scorer"], row["order_index"]): row for row in lines(whole)}


def lines(text: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in text.split("\n") if line)
