"""The checked rows of a model's folder in the format of the published evaluator (OpenMOSS/LongSafety).

The folder holds a file a task, ``<Task>.jsonl``, of rows ``{id, response, choices, gt, chosen, ha, sr}`` and for two
tasks ``depth, length``. ``choices`` are ``[letter, text]`` pairs as the benchmark stores them, unsafe → safe, each with
the letter that it was shown with (any of A–D, also where there are two options); ``gt`` is the safest and ``chosen``
the option that the evaluator read in the response. Files whose pairs stand in the order of their letters are accepted
too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longsafety.evaluation.asking.parse import parsed
from longsafety.formats.fields import Fields
from longsafety.formats.item_sets import depth_fraction
from longsafety.formats.rows import read_rows
from longsafety.vocabulary import LETTERS, task_name


@dataclass(frozen=True)
class OfficialRow:
    """A checked row. A place is an index into ``letters`` and ``texts``."""

    place: str
    id: str
    task: str
    response: str
    letters: tuple[str, ...]
    texts: tuple[str, ...]
    safest: int
    chosen: int | None
    recorded: dict[str, bool | None]
    """``ha`` and ``sr``."""
    depth: float | None

    @property
    def last(self) -> int:
        return len(self.letters) - 1

    def named(self) -> int | None:
        """The place of the option that the response names, by our parser."""
        shown = sorted(range(len(self.letters)), key=self.letters.__getitem__)
        found = parsed(self.response, [self.texts[at] for at in shown], "".join(sorted(self.letters)))
        return None if found is None else shown[found]


def checked_rows(files: Sequence[Path]) -> tuple[list[OfficialRow], list[str]]:
    """The rows, and a line for each bad one."""
    rows: list[OfficialRow] = []
    bad: list[str] = []
    places: dict[str, str] = {}
    for file in files:
        for found in read_rows(file, counts=Counter()):
            fields = Fields(found)
            row = None if found.problem else _checked(fields, task_name(file.stem))
            problems = [found.problem] if found.problem else fields.problems
            if row is not None and not problems and places.setdefault(row.id, found.place) != found.place:
                shown = row.id.partition("/")[2]
                problems = [f"id = {shown}: is answered at {places[row.id]} already; an item has one row, remove one"]
            if problems or row is None:
                bad.append(f"{found.place}: {' | '.join(problems)}")
            else:
                rows.append(row)
    return rows, bad


def _checked(fields: Fields, task: str) -> OfficialRow | None:
    """The row; unusable, or ``None``, where ``fields`` has problems."""
    identity = fields.identity()
    response = fields.optional_text("response")
    pairs = fields.value("choices")
    rule = f"must be a list of two to {len(LETTERS)} [letter, text] pairs with distinct letters of {LETTERS}; fix it"
    if not isinstance(pairs, list) or not 2 <= len(pairs) <= len(LETTERS) or not all(map(_is_pair, pairs)):
        if pairs is not None:
            fields.wrong("choices", pairs, rule)
        return None
    letters, texts = (tuple(part) for part in zip(*pairs, strict=True))
    for key, text in (("id", identity), *(("choices", text) for text in texts)):
        fields.checked_text(key, text, may_be_empty=True)
    letters = tuple(letter.upper() for letter in letters)
    if len(set(letters)) < len(letters):
        fields.wrong("choices", letters, rule)
        return None
    safest = fields.value("gt")
    if not _is_pair(safest) or safest not in pairs:
        fields.wrong("gt", safest, "must be one of choices, the safest; fix it")
        return None
    if "chosen" not in fields.row.values:
        fields.value("chosen")
    chosen = fields.row.values.get("chosen")
    chosen = chosen[0] if isinstance(chosen, list) and chosen else chosen
    chosen = chosen.upper() if isinstance(chosen, str) else chosen
    return OfficialRow(
        place=fields.row.place,
        id=f"{task}/{identity}",
        task=task,
        response=response,
        letters=letters,
        texts=texts,
        safest=pairs.index(safest),
        chosen=letters.index(chosen) if chosen in letters else None,
        recorded={name: _flag(fields, name) for name in ("ha", "sr")},
        depth=depth_fraction(fields) if fields.has("depth") else None,
    )


def _is_pair(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, str) for part in value):
        return False
    return len(value[0]) == 1 and value[0].upper() in LETTERS


def _flag(fields: Fields, name: str) -> bool | None:
    value = fields.row.values.get(name)
    if value is not None and value not in (0, 1):
        fields.wrong(name, value, "must be true or false; fix it")
    return None if value is None else bool(value)
