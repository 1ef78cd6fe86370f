"""Who looked at each shipped seed item: ``python -m tests.scenarios.seeds_reviewed`` renews ``seeds_reviewed.csv``.

A row stands for one item as it is, by the hash of its line. ``rules``: the rules of ``operational.py`` found nothing.
Where they found something, a person is to read the item and put a name in that column; a new one without an entry fails
the test. ``excerpts only; no person yet``: at most 160 characters were looked at, and no person has read the item.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from longsafety.scenarios import seeds
from longsafety.scenarios.operational import operational

SEEDS = Path(seeds.__file__).parent
REVIEWED = Path(__file__).with_name("seeds_reviewed.csv")
RULES = "rules"
_HEAD = ("file", "id", "sha256", "found", "reviewer")
_NO_TEXT = {"id", "licence", "origin", "split", "language", "task", "category"}
_HARMLESS = ("benign", "lawful", "harmless", "truth")


class Item(NamedTuple):
    """One line of a seed file. ``found``: what looks operational in it, field by field."""

    file: str
    id: str
    sha256: str
    found: str


def items(folder: Path = SEEDS) -> Iterator[Item]:
    """Every seed item below a folder of shipped ones (``en/…``, ``bench/zh/…``)."""
    for file in sorted(folder.rglob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            row = json.loads(line)
            found = sorted(set(_found(row, file.parent.name)))
            digest = hashlib.sha256(line.encode()).hexdigest()[:16]
            yield Item(file.relative_to(folder).as_posix(), str(row["id"]), digest, "; ".join(found))


def problems(folder: Path = SEEDS, reviewed: Path = REVIEWED) -> list[str]:
    """A line for each item that nobody has looked at as it is, and for each that only a person may find harmless."""
    with reviewed.open(encoding="utf-8", newline="") as stream:
        rows = {(row["file"], row["id"], row["sha256"]): row["reviewer"].strip() for row in csv.DictReader(stream)}
    lines = []
    for item in items(folder):
        by = rows.get(item[:3], "")
        if not by:
            lines.append(
                f"{item.file} {item.id}: is not reviewed as it is; run python -m tests.scenarios.seeds_reviewed"
            )
        elif item.found and by == RULES:
            lines.append(
                f"{item.file} {item.id}: {item.found}; reword it, or read it and name yourself as its reviewer"
            )
    return lines


def renew(folder: Path = SEEDS, reviewed: Path = REVIEWED) -> int:
    """Writes a row for each item; a reviewer stays with what he saw. Returns how many wait for a person."""
    known = {}
    if reviewed.is_file():
        with reviewed.open(encoding="utf-8", newline="") as stream:
            known = {(row["file"], row["id"], row["sha256"]): row["reviewer"] for row in csv.DictReader(stream)}
    waiting = 0
    with reviewed.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream, lineterminator="\n")
        out.writerow(_HEAD)
        for item in list(items(folder)):
            by = known.get(item[:3], "" if item.found else RULES)
            waiting += not by
            out.writerow([*item, by])
    return waiting


def _found(row: dict[str, Any], language: str) -> Iterator[str]:
    for name, value in row.items():
        if name not in _NO_TEXT:
            for text in _texts(value):
                if reason := operational(text, language, benign=name.startswith(_HARMLESS)):
                    yield f"{name}: {reason.removeprefix('looks operational: ')}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


if __name__ == "__main__":
    sys.exit(f"{left} items wait for a reviewer" if (left := renew()) else 0)
