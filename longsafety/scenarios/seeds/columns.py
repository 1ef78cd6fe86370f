"""Which columns of a user's row hold the request, its category, its label and its language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from longsafety.formats.fields import against_name, label_by_name, licence_of
from longsafety.formats.labels import Label, label_of, plain_name
from longsafety.formats.row import Row
from longsafety.formats.schema import LANGUAGE_COLUMNS
from longsafety.scenarios.seeds.seed import Seed

REQUEST_KEYS = ("request", "prompt", "question", "goal", "behavior")
"""Columns, in any spelling, that hold the request. ``behavior`` is a title where one of the others is there too."""
_CATEGORY_KEYS = ("category", "risk_area", "semantic_category", "type")
_NO_LABELS = {field.name for field in fields(Seed)} - {"category"}
"""Fields of ours, which hold texts."""


@dataclass(frozen=True)
class Columns:
    """The columns of a row by what they mean; empty: none."""

    request: str
    category: str
    language: str
    licence: str
    """The licence itself, and not its column."""
    label: Label
    by_name: bool
    """Whether the label is that of the file's, a folder's or the split's name."""
    used: frozenset[str]
    """All that were read."""


def columns_of(row: Row, values: Mapping[str, Any]) -> Columns:
    """Reads the names of a row's columns; ``values``: those that are not empty.

    A row without a label is harmful, unless its split, its file or a folder is called ``benign``, ``safe``, …. Raises
    ValueError where two columns could be the request, where two licences differ, and for a label that says neither or
    contradicts another or such a name.
    """
    labelled = label_of({column: value for column, value in row.values.items() if column not in _NO_LABELS}, row.values)
    if labelled.problems:
        raise ValueError(" | ".join(labelled.problems))
    request = _request(values)
    names = {plain_name(column): column for column in values if column not in labelled.columns}
    category = next(
        (names[key] for key in _CATEGORY_KEYS if key in names and isinstance(values.get(names[key]), str)), ""
    )
    if not category and {"topic", "subtopic"} <= names.keys():  # there the topic is no completion of "help with …"
        category = names["topic"]
    language = next(
        (names[key] for key in LANGUAGE_COLUMNS if key in names and isinstance(values.get(names[key]), str)), ""
    )
    licences, licence = licence_of(values)
    named, problem = (None, against_name(row, labelled.label)) if labelled.label else label_by_name(row)
    if problem:
        raise ValueError(problem)
    label = labelled.label or named or "harmful"
    used = frozenset({request, category, language, *labelled.columns, *licences} - {""})
    return Columns(request, category, language, licence, label, named is not None, used)


def _request(values: Mapping[str, Any]) -> str:
    spelled: dict[str, list[str]] = {}
    for column, value in values.items():
        name = plain_name(column)
        if name in REQUEST_KEYS and isinstance(value, str) and value.strip():
            spelled.setdefault(name, []).append(column)
    if "statement" in values:
        spelled.pop("question", None)  # it asks about the statement
    title = spelled.pop("behavior", [])
    found = spelled.get("request") or [column for columns in spelled.values() for column in columns] or title
    if not found:
        _refuse_other_than_text(values)
    if len({values[column].strip() for column in found}) > 1:
        raise ValueError(f"{' and '.join(found)}: each could be the request; rename the one that is it to request")
    return found[0] if found else ""


def _refuse_other_than_text(values: Mapping[str, Any]) -> None:
    """Raises ValueError for a request that is bytes, a number or a list of messages."""
    for column, value in values.items():
        if plain_name(column) in REQUEST_KEYS and not isinstance(value, str):
            raise ValueError(f"{column} = {value!r:.60}: is not a text; give the request as one")
