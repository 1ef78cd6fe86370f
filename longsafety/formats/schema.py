"""What a public schema is and what a row becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from longsafety.formats.data_files import Row
from longsafety.formats.fields import Fields
from longsafety.samples.recipe import Sample

Yields = Literal["chats", "items", "requests"]


@dataclass(frozen=True)
class Parsed:
    """What a row became. With ``problems`` the row is bad, and ``made`` means nothing."""

    id: str
    """Unique in its set: one row of an id, no more."""
    made: list[Made]
    problems: list[str]
    """``key = value: rule; fix`` each."""
    counts: list[str]
    """What was handled on the way, one name a time."""


@dataclass(frozen=True)
class Schema:
    """A public set's layout."""

    name: str
    licence: str
    yields: Yields
    columns: tuple[tuple[str, ...], ...]
    """The columns by which it is recognised; more than one tuple where it is spread in several layouts."""
    build: Callable[[Schema, Fields], tuple[str, list[Made]]]
    """Row → (id, what it becomes)."""

    def fits(self, columns: set[str]) -> int:
        """How many columns speak for this schema; 0 if one of its own is lacking."""
        return max((len(layout) for layout in self.columns if columns.issuperset(layout)), default=0)

    def parse(self, row: Row) -> Parsed:
        """Checks every field of a row that is not damaged, and makes its samples or requests."""
        fields = Fields(row)
        identity, made = self.build(self, fields)
        counts = fields.counts + [f"column not used: {column}" for column in fields.unused()]
        return Parsed(identity, made, fields.problems, counts)


Request = dict[str, str]
"""``id, category, request, label`` ("harmful" or "benign") and ``licence``."""


Made = Sample | Request
