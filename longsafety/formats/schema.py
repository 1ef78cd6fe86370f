"""A public schema: the layout of a public data set's rows, and what a row becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypedDict

from longsafety.formats.data_files import Row
from longsafety.formats.fields import Fields
from longsafety.samples.language import english_or_chinese
from longsafety.samples.recipe import Sample
from longsafety.vocabulary import PAPER_TASKS

NO_CONTEXT = "items without a context"
"""Count of the items that have no context (yet)."""
UNSAFE = "unsafe responses left out"

Yields = Literal["chats", "items", "requests"]
"""Training chats (samples with an answer), benchmark items (samples with options or an open question), requests."""


class Request(TypedDict):
    """A request without a context; a seed item can be made of it."""

    id: str
    category: str
    request: str
    label: str
    """``harmful`` or ``benign``."""
    licence: str


Made = Sample | Request
Identified = tuple[str, list[Made]]
"""A row's id, unique in its set, and what the row becomes."""


@dataclass(frozen=True)
class Parsed:
    """The result of a row. If it has ``problems``, the row is bad and ``made`` is not to be used."""

    id: str
    made: list[Made]
    problems: list[str]
    """``key = value: rule; fix`` each."""
    counts: list[str]
    """What was changed or left out on the way: a name for each time."""


@dataclass(frozen=True)
class Schema:
    """The layout of a public set."""

    name: str
    licence: str
    """The set's licence, or ``unknown``."""
    yields: Yields
    columns: tuple[tuple[str, ...], ...]
    """The columns by which it is recognised; several tuples if it is published in several layouts."""
    parse_row: Callable[[Schema, Fields], Identified]
    """Reads the fields of one row. A wrong field is noted in ``Fields.problems``, not raised."""
    contexts: tuple[str, ...] = ()
    """Columns of the rows that hold nothing but the context of an item, if the set keeps contexts apart."""

    def fits(self, columns: set[str]) -> int:
        """The number of the schema's columns among ``columns``; 0 if one is missing."""
        return max((len(layout) for layout in self.columns if columns.issuperset(layout)), default=0)

    def parse(self, row: Row) -> Parsed:
        """Checks every field of an undamaged row, and makes its samples or requests."""
        fields = Fields(row)
        identity, made = self.parse_row(self, fields)
        counts = fields.counts + [f"column not used: {column}" for column in fields.unused()]
        return Parsed(identity, made, fields.problems, counts)

    def chat(
        self, identity: str, turns: list[tuple[str, str]], *, task: str = "", category: str = "", suffix: str = ""
    ) -> Sample:
        """A training chat of (user, assistant) turns. ``suffix`` tells several chats of one row apart."""
        question, answer = turns[-1] if turns else ("", "")
        return Sample(
            id=identity + suffix,
            pair_id=identity + suffix,
            task=task or self.name,
            scenario=scenario_of(task),
            kind="chat",
            category=category,
            seed_id=identity,
            licence=self.licence,
            context=(),
            history=tuple(turns[:-1]),
            question=question,
            answer=answer,
            language=english_or_chinese(answer),
        )

    def request(self, identity: str, text: str, category: str, label: str = "harmful") -> Request:
        return {"id": identity, "category": category, "request": text, "label": label, "licence": self.licence}


def scenario_of(task: str) -> str:
    """The scenario of a task of the paper; empty for others."""
    return PAPER_TASKS[task].scenario if task in PAPER_TASKS else ""


def checked_task(row: Fields, task: str) -> str:
    """``task``, counted if the paper has no such task."""
    if task and task not in PAPER_TASKS:
        row.counts.append(f"task that the paper does not have: {task}")
    return task
