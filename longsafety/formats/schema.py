"""A public schema: the layout of a public data set's rows, and what a row becomes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypedDict

from longsafety.formats.fields import Fields, against_name, names_around
from longsafety.formats.labels import Label, plain_name
from longsafety.formats.row import Row
from longsafety.samples.language import english_or_chinese
from longsafety.samples.recipe import Sample
from longsafety.vocabulary import PAPER_TASKS, task_name

LATER_SYSTEM = "later system messages put before the next user turn"
"""What happens to a system message that does not open its chat."""
NO_CONTEXT = "items without a context"
"""Count of the items that have no context (yet)."""
UNSAFE = "unsafe responses left out"
UNDESIRED = "answers that are marked as not desired left out"
_LOST = {
    *("nan", "none", "null", "n/a", "<na>", "undefined", "[removed]", "[deleted]"),
    *("#n/a", "#name?", "#ref!", "#value!", "#div/0!", "#null!", "#num!", "#spill!"),
}
"""What tables, spreadsheets and forums write for a text that is missing."""
LOST_RULE = "stands for a missing value; give the request, or leave the row out"
LANGUAGE_COLUMNS = ("language", "lang", "locale", "lang_code", "language_code")
"""Columns, in any spelling, that name the language of a request."""

Yields = Literal["chats", "items", "requests"]
"""Training chats (samples with an answer), benchmark items (samples with options or an open question), requests."""


class Request(TypedDict):
    """A request without a context; a seed item can be made of it."""

    id: str
    category: str
    request: str
    label: Label
    """``harmful``, or ``benign``: a control that a model should answer."""
    licence: str
    language: str
    """What the row's own column says of the language, as it says it; empty where there is none."""


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
    published: str = ""
    """Where the set is published."""
    called: str = ""
    """What its files, their folder or the dataset are called (a regular expression), for ``common_columns``."""
    common_columns: tuple[tuple[str, ...], ...] = ()
    """Layouts of columns that other files have too: they count only under such a name."""

    def fits(self, row: Row) -> int:
        """The number of the schema's columns that the row has; 0 if one is missing."""
        layouts = list(self.columns)
        if self.called and any(re.search(self.called, name.casefold()) for name in names_around(row)):
            layouts += self.common_columns
        return max((len(layout) for layout in layouts if row.values.keys() >= {*layout}), default=0)

    def parse(self, row: Row) -> Parsed:
        """Checks every field of an undamaged row, and makes its samples or requests."""
        fields = Fields(row)
        identity, made = self.parse_row(self, fields)
        if self.yields == "chats":
            made = _without_unsafe(fields, made)
        licence = fields.licence()
        made = [_as_the_row_says(fields, one, licence) for one in made]
        counts = fields.counts + [f"column not used: {column or '(without a name)'}" for column in fields.unused()]
        return Parsed(identity, made, fields.problems, counts)

    def chat(
        self,
        identity: str,
        turns: list[tuple[str, str]],
        *,
        task: str = "",
        category: str = "",
        suffix: str = "",
        system: str = "",
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
            system=system,
            language=english_or_chinese(answer),
        )

    def request(
        self, identity: str, text: str, category: str, label: Label = "harmful", *, licence: str = ""
    ) -> Request:
        """``label``: what the set says of all its rows, or of this file's. ``licence``: where the row has its own."""
        return {
            "id": identity,
            "category": category,
            "request": text,
            "label": label,
            "licence": licence or self.licence,
            "language": "",
        }


def _without_unsafe(fields: Fields, made: list[Made]) -> list[Made]:
    """No chat where a column that the schema does not read calls its answer unsafe, or not desired."""
    unsafe, undesired = fields.unsafe_by(), fields.undesired_by()
    if not made or not (unsafe or undesired):
        return made
    fields.counts.append(f"{UNSAFE} ({', '.join(unsafe)})" if unsafe else f"{UNDESIRED} ({undesired})")
    return []


def _as_the_row_says(fields: Fields, made: Made, licence: str) -> Made:
    """With the licence, the label and the language of columns that the schema does not read: no label is ignored."""
    if isinstance(made, Sample):
        return made.replace(licence=licence) if licence else made
    label, language = fields.label(), ""
    for column in fields.unused():
        if plain_name(column) in LANGUAGE_COLUMNS and fields.has(column):
            language = language or fields.optional_text(column).strip()
    if is_lost(made["request"]):
        fields.wrong("request", made["request"], LOST_RULE)
    label = label or made["label"]
    if problem := against_name(fields.row, label):
        fields.problems.append(problem)
    return {**made, "label": label, "licence": licence or made["licence"], "language": language}


def is_lost(text: str) -> bool:
    """Whether a text that should be a request, an answer or a statement stands for a missing one: a word of tables, or
    no letter or digit at all."""
    return text.strip().casefold() in _LOST or (bool(text.strip()) and not any(map(str.isalnum, text)))


def scenario_of(task: str) -> str:
    """The scenario of a task of the paper; empty for others."""
    return PAPER_TASKS[task].scenario if task in PAPER_TASKS else ""


def checked_task(row: Fields, task: str) -> str:
    """``task`` as tables name it, counted if the paper has no such task."""
    task = task_name(task)
    if task and task not in PAPER_TASKS:
        row.counts.append(f"task that the paper does not have: {task}")
    return task
