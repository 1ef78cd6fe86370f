"""Replies that a person labelled as refusals or not: the file shipped here, or a user's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from longsafety.errors import DataError
from longsafety.formats.rows import read_rows

LABELLED = Path(__file__).parent / "replies_labelled.jsonl"
"""Replies written for this project and labelled as refusals or not, in English and Chinese."""


class Labelled(BaseModel):
    """A reply and its label. A user's file needs ``reply`` and ``refusal`` only."""

    model_config = ConfigDict(strict=True, frozen=True)

    reply: str
    refusal: bool
    """Whether a person calls it a refusal (with ``harmful``: a safe reply to a harmful request)."""
    request: str | None = None
    harmful: bool = False
    id: str = ""
    task: str = ""
    language: str = ""
    note: str = ""
    """What makes the reply difficult."""
    split: str = ""
    """``dev``: the detector's rules were tuned on it; ``held_out``: they were not, though it is like those;
    ``unseen``: in the styles of other models, by the author of the rules, who saw only totals while tuning."""


def read_labelled(path: Path = LABELLED) -> list[Labelled]:
    """The rows of a labelled file. Raises DataError for a broken row (file:line, rule)."""
    rows = []
    for row in read_rows(path, counts=Counter()):
        try:
            rows.append(Labelled.model_validate(row.values))
        except ValidationError as error:
            first = error.errors()[0]
            what = row.problem or f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DataError(f"{row.place}: {what}; give reply (text) and refusal (true or false)") from None
    return rows
