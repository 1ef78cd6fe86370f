"""The review of seed items that a teacher wrote: what no rule can decide is unreviewed until somebody accepts it.

``review.csv`` stands beside the seed file: a row for each item with its texts, which may be edited, and a decision. It
is made by ``stages=[write_seeds]``, changed by hand (in ``review.html`` or a spreadsheet), and applied when the seed
file is read.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from longsafety.errors import DataError
from longsafety.files import user_path, write_text
from longsafety.formats.csv_rows import csv_header, for_a_spreadsheet, from_a_spreadsheet
from longsafety.formats.data_files import DataFile, file_rows
from longsafety.formats.schema import LOST_RULE, is_lost
from longsafety.scenarios.operational import operational
from longsafety.scenarios.seeds.seed import Seed
from longsafety.stages import address

SEED_FILE, REVIEW = "seeds.jsonl", "review.csv"
UNREVIEWED, ACCEPTED, REJECTED = "unreviewed", "accepted", "rejected"
DECISIONS = {"": UNREVIEWED, "accept": ACCEPTED, "reject": REJECTED}
"""What stands in the column ``decision`` → the item's state."""
HEAD = ("id", "content", "task", "split", "made_of", "decision", "note", "by")
"""The columns before the texts. ``content`` is the hash of the texts as the teacher wrote them."""
_NO_TEXTS = {
    *("id", "category", "task", "split", "language", "licence"),
    *("origin", "writers", "made_of", "review_state"),
}
_BY_HAND = "edited in the review"
_MARK = "h"
"""Before the hash: spreadsheets read twelve digits, or digits around an e, as a number, and write another one back."""
_LINE_END = re.compile(r"_x000D_\n?|\r\n?")
"""In cells, as spreadsheets write it."""


@dataclass(frozen=True)
class Decision:
    """One row of the review."""

    place: str
    content: str
    decision: str
    """``accept``, ``reject``, or empty."""
    note: str
    by: str
    texts: Mapping[str, str]
    """Column → what it holds now."""


def seed_file(source: str) -> str:
    """The seed file of a folder that ``stages=[write_seeds]`` made; any other source itself."""
    path = user_path(source)
    made = path / SEED_FILE
    return str(made) if made.is_file() and (path / REVIEW).is_file() else source


def review_of(source: str) -> Path | None:
    """The review beside a seed file; ``None`` where there is none."""
    path = user_path(source)
    found = path.with_name(REVIEW)
    return found if path.name == SEED_FILE and path.is_file() and found.is_file() else None


def texts_of(seed: Seed) -> dict[str, str]:
    """The texts of an item under dotted names: ``request``, ``crimes.0``, ``turns.1.0``, ``options.safe.1``."""
    found: dict[str, str] = {}
    for item in fields(Seed):
        if item.name not in _NO_TEXTS:
            found.update(_flat(item.name, getattr(seed, item.name)))
    return found


def content_of(seed: Seed) -> str:
    """The hash of an item's texts."""
    return _MARK + address(texts_of(seed))


def reviewed(seeds: Sequence[Seed], review: Path | None, counts: Counter[str], *, only_accepted: bool) -> list[Seed]:
    """The items with their edits and states, without the rejected ones; ``only_accepted``: without unreviewed ones too.

    Items that need no review stay. Everything is counted. Raises DataError for a review that cannot be read and for an
    edit that breaks a rule.
    """
    decisions = read_review(review) if review else {}
    found: list[Seed] = []
    for seed in seeds:
        row = decisions.pop(seed.id, None)
        if row is not None and row.content != content_of(seed):
            counts["review rows whose seed item was written anew since: not used"] += 1
            row = None
        if row is not None and seed.review_state:
            seed = replace(_edited(seed, row, counts), review_state=DECISIONS[row.decision])
        if seed.review_state == REJECTED:
            counts["seed items of a teacher left out: rejected in the review"] += 1
        elif seed.review_state == UNREVIEWED and only_accepted:
            counts["seed items of a teacher left out: nobody has accepted them (scenario.only_accepted)"] += 1
        else:
            if seed.review_state == ACCEPTED:
                counts["seed items of a teacher that somebody has accepted"] += 1
            elif seed.review_state:
                counts[USED_UNREVIEWED] += 1
            found.append(seed)
    if decisions:
        counts["review rows whose seed item is not there: not used"] += len(decisions)
    return found


USED_UNREVIEWED = (
    "seed items of a teacher that nobody has accepted: used all the same (scenario.only_accepted=true leaves them out)"
)


def read_review(path: Path) -> dict[str, Decision]:
    """Seed id → its row. Raises DataError, ``file:line: rule; fix``."""
    file = DataFile.below(path, path)
    found: dict[str, Decision] = {}
    rows = list(file_rows(file))
    if wrong := next((row for row in rows if row.problem), None):
        raise DataError(f"{wrong.place}: {wrong.problem}; in a spreadsheet, save it as CSV UTF-8")
    if missing := {"id", "content", "decision"} - {*csv_header(file)}:
        named = ", ".join(name for name in HEAD if name in missing)
        raise DataError(f"{path}:1: has no column {named}; keep the columns that {REVIEW} came with")
    for row in rows:
        values = {name: _as_written(text) for name, text in row.values.items()}
        said, identity = values["decision"].strip(), values["id"].strip()
        decision = said.lower().removesuffix("ed")
        if decision not in DECISIONS:
            raise DataError(f"{row.place}: decision = {said}: must be accept, reject, or empty; write one of these")
        if identity in found:
            raise DataError(f"{row.place}: id = {identity}: stands already at {found[identity].place}; leave one row")
        texts = {name: text for name, text in values.items() if name not in HEAD}
        note, by = (values.get(name, "") for name in ("note", "by"))
        content = _MARK + values["content"].strip().removeprefix(_MARK)
        found[identity] = Decision(row.place, content, decision, note, by, texts)
    return found


def _as_written(cell: str) -> str:
    """A cell as we wrote it, with our line ends."""
    return _LINE_END.sub("\n", from_a_spreadsheet(cell))


def write_review(path: Path, seeds: Sequence[Seed]) -> tuple[list[dict[str, Any]], int]:
    """Writes a row for each item, and keeps what an earlier review at ``path`` says of the same texts.

    Returns the rows (``HEAD`` and ``texts``, with ``was``, the teacher's), and how many decisions of the earlier review
    are about items that are no longer there or were written anew; it is kept as ``review.before.csv`` then.
    """
    earlier = read_review(path) if path.is_file() else {}
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        content, was = content_of(seed), texts_of(seed)
        row = earlier.pop(seed.id, None)
        if row is not None and row.content != content:
            earlier[seed.id] = row
            row = None
        texts = {name: (row.texts.get(name) or text) if row else text for name, text in was.items()}
        said = (row.decision, row.note, row.by) if row else ("", "", "")
        head = dict(zip(HEAD, (seed.id, content, seed.task, seed.split, seed.made_of, *said), strict=True))
        rows.append({**head, "texts": texts, "was": was})
    lost = sum(bool(row.decision) for row in earlier.values())
    if lost:
        write_text(path.with_name("review.before.csv"), path.read_bytes().decode("utf-8-sig"))
    write_text(path, review_csv(rows))
    return rows, lost


def review_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of a review, with a mark that tells spreadsheets its encoding."""
    columns = list(dict.fromkeys(name for row in rows for name in row["texts"]))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*HEAD, *columns])
    for row in rows:
        cells = [*(row[name] for name in HEAD), *(row["texts"].get(name, "") for name in columns)]
        writer.writerow(map(for_a_spreadsheet, cells))
    return "\ufeff" + out.getvalue()


def _edited(seed: Seed, row: Decision, counts: Counter[str]) -> Seed:
    """The item with the texts of its row. Raises DataError for a text that is empty, looks operational, or makes two
    options the same."""
    was = texts_of(seed)
    now = {name: row.texts.get(name, text).strip() for name, text in was.items()}
    changed = [name for name, text in was.items() if now[name] != text.strip()]
    if extra := [name for name, text in row.texts.items() if text.strip() and name not in was]:
        raise DataError(f"{row.place}: {extra[0]}: the item has no such text; empty the cell")
    if not changed or DECISIONS[row.decision] == REJECTED:
        return seed
    for name in changed:
        if not now[name]:
            raise DataError(f"{row.place}: {name} = '': is empty; write a text, or reject the item")
        if is_lost(now[name]):
            raise DataError(f"{row.place}: {name} = {now[name]}: {LOST_RULE.split(';')[0]}; write the text again")
        if reason := operational(now[name], seed.language, benign=name.startswith(("benign_", "passage", "truth"))):
            raise DataError(f"{row.place}: {name}: {reason}; word it without, or reject the item")
    by_task = Counter((name.rsplit(".", 2)[0], now[name]) for name in now if name.startswith("options."))
    if again := [text for (_, text), count in by_task.items() if count > 1]:
        raise DataError(f"{row.place}: options: {again[0]!r} stands twice; word one of them differently")
    counts["seed items of a teacher edited in the review"] += 1
    parts = {name.partition(".")[0] for name in changed}
    values = {part: _rebuilt(part, getattr(seed, part), now) for part in parts}
    editor = f"{_BY_HAND} by {row.by.strip()}" if row.by.strip() else _BY_HAND
    return replace(seed, **values, writers=(*seed.writers, *(f"{part}: {editor}" for part in sorted(parts))))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if value:
            yield name, value
        return
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, part in parts:
        yield from _flat(f"{name}.{key}", part)


def _rebuilt(name: str, value: Any, now: Mapping[str, str]) -> Any:
    """The value with the texts that stand under its dotted names."""
    if isinstance(value, str):
        return now.get(name, value)
    if isinstance(value, Mapping):
        return {key: _rebuilt(f"{name}.{key}", part, now) for key, part in value.items()}
    return tuple(_rebuilt(f"{name}.{at}", part, now) for at, part in enumerate(value))
