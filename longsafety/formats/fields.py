"""Checked access to one row's fields. All problems of the row are collected, so that they are reported together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from longsafety.formats.labels import Label, label_of, name_labels, plain_name, truth_of
from longsafety.formats.row import Row, partition

_SHOWN = 60
_LICENCES = ("licence", "license")
_KTO = {"kto_tag", "label"}
_DIGITS = 19
"""A number of fewer digits fits into 64 bits."""


class Fields:
    """One row. An accessor returns the checked value, or an empty value and adds a line to ``problems``."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.problems: list[str] = []
        """``key = value: rule; fix`` each."""
        self.counts: list[str] = []
        """What was changed or left out on the way: a name for each time."""
        self._used: set[str] = set()

    def wrong(self, key: str, value: object, rule: str) -> None:
        """Adds the problem of a field; ``rule`` is ``what is wrong; the fix``."""
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
        self.problems.append(f"{key} = {shown}: {rule}")

    def has(self, key: str) -> bool:
        """Whether the row has the column, with a value other than null."""
        self._used.add(key)
        return self.row.values.get(key) is not None

    def value(self, key: str) -> Any:
        """The value; ``None`` (and a problem) if there is none."""
        self._used.add(key)
        if key not in self.row.values:
            self.problems.append(f"{key} = (missing): every row has this column; add it")
        elif self.row.values[key] is None:
            self.wrong(key, None, "null; give a value")
        return self.row.values.get(key)

    def unused(self) -> list[str]:
        """The columns that no accessor was called for."""
        return [key for key in self.row.values if key not in self._used]

    def text(self, key: str, *, may_be_empty: bool = False) -> str:
        value = self.value(key)
        return "" if value is None else self.checked_text(key, value, may_be_empty=may_be_empty)

    def optional_text(self, key: str) -> str:
        return self.text(key, may_be_empty=True) if self.has(key) else ""

    def checked_text(self, key: str, value: object, *, may_be_empty: bool = False) -> str:
        """``value`` if it is a text that UTF-8 can encode, with more than white space unless it may be empty."""
        if not isinstance(value, str):
            self.wrong(key, value, "not a text; give one")
        elif not may_be_empty and not value.strip():
            self.wrong(key, value, "empty; give a text")
        elif rule := no_text(value):
            self.wrong(key, value, rule)
        else:
            return value
        return ""

    def texts(self, key: str, *, least: int = 1, most: int | None = None) -> list[str]:
        """A list of texts, none empty."""
        values = self.value(key)
        if values is None:
            return []
        many = f"at least {least}" if most is None else f"{least} to {most}"
        if not isinstance(values, list) or not least <= len(values) <= (most or len(values)):
            number = f"{len(values)} of them" if isinstance(values, list) else "not a list"
            self.wrong(key, values, f"{number}; give a list of {many} texts")
            return []
        return [self.checked_text(f"{key}[{index}]", value) for index, value in enumerate(values)]

    def objects(self, key: str) -> list[dict[str, Any]]:
        """A list of at least one object."""
        values = self.value(key)
        if values is None:
            return []
        if not isinstance(values, list) or not values or not all(isinstance(value, dict) for value in values):
            self.wrong(key, values, "not a list of objects; give at least one")
            return []
        return values

    def identity(self) -> str:
        """The row's ``id``, a text or a whole number."""
        return self.checked_identity("id", self.value("id"))

    def optional_identity(self) -> str:
        """The row's ``id`` if it has one, else its file and line."""
        return self.identity() if self.has("id") else self.row.name

    def checked_identity(self, key: str, value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            self.wrong(key, value, "an id is a text or a whole number; give one")
            return ""
        return str(value)

    def flag(self, key: str) -> bool:
        """True or false; in CSV files as a word."""
        value = self.value(key)
        said = value.strip().casefold() if isinstance(value, str) else value
        if value is not None and not isinstance(value, bool) and said not in ("true", "false"):
            self.wrong(key, value, "neither true nor false; give one of them")
        return said in (True, "true")

    def positive(self, key: str) -> int:
        """A whole number above 0."""
        value = self.value(key)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
            value = int(value)  # of a CSV file
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        if value is not None:
            self.wrong(key, value, "not a whole number above 0; give one")
        return 0

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.value(key)
        if value is not None and value not in allowed:
            self.wrong(key, value, f"give one of {', '.join(allowed)}")
        return str(value)

    def label(self) -> Label | None:
        """What the label columns say that no other accessor was called for; None where there is none."""
        found = label_of(self._left(), self._used)
        self._used.update(found.columns)
        self.problems.extend(found.problems)
        return found.label

    def unsafe_by(self) -> tuple[str, ...]:
        """The label columns, of those that no other accessor was called for, that call the row's answer unsafe."""
        found = label_of(self._left(), self._used, about="answer")
        self._used.update(found.columns)
        return found.harmful

    def undesired_by(self) -> str:
        """The column of a KTO set (LLaMA-Factory) that marks the row's answer as one to be avoided; empty: none.

        Some of these sets call it ``label``, which may as well say that the answer is harmful: that is a problem.
        """
        found = {column: truth_of(value) for column, value in self._left().items() if column in _KTO}
        self._used.update(column for column, truth in found.items() if truth is not None)
        if (truth := found.get("label")) is not None:
            kto, harm = ("wanted", "a harmful one") if truth else ("to be avoided", "a harmless one")
            rule = f"in a KTO set the answer is {kto}, in others it is {harm}; rename the column to kto_tag or unsafe"
            self.wrong("label", self.row.values["label"], rule)
        return "kto_tag" if found.get("kto_tag") is False else ""

    def licence(self) -> str:
        """What a column ``licence`` or ``license`` says, in any spelling; empty where there is none."""
        try:
            columns, licence = licence_of(self._left())
        except ValueError as error:
            self.problems.append(str(error))
            return ""
        self._used.update(columns)
        return licence

    def _left(self) -> dict[str, Any]:
        return {key: value for key, value in self.row.values.items() if key not in self._used}

    def named(self, labels: Mapping[str, Label]) -> Label | None:
        """The label of the word that stands in the name of the split, of the file, or of its folder."""
        for name in names_around(self.row):
            found = {labels[word] for word in re.findall(r"[a-z]+|\d+k", name.casefold()) if word in labels}
            if found:
                return found.pop() if len(found) == 1 else None
        return None


def licence_of(values: Mapping[str, Any]) -> tuple[list[str], str]:
    """The columns of a row's licence, and the licence. Raises ValueError where two of them differ."""
    named = {column: value for column, value in values.items() if plain_name(column) in _LICENCES}
    said = {column: value.strip() for column, value in named.items() if isinstance(value, str) and value.strip()}
    if len(set(said.values())) > 1:
        raise ValueError(f"{' and '.join(said)}: {', '.join(said.values())}; a row has one licence, leave one column")
    return list(said), next(iter(said.values()), "")


def label_by_name(row: Row) -> tuple[Label | None, str]:
    """What the names of a row's split, of its file and of the folders below the source say of all its rows, and a
    problem (empty: none) where they contradict each other.

    The folder that a file lies in counts above the source too, where it is called by nothing but a label.
    """
    return _label_by_names((row.part, *PurePath(_above_line(row.name)).parts), tuple(names_around(row)[1:]))


@lru_cache(maxsize=64)
def _label_by_names(below: tuple[str, ...], around: tuple[str, ...]) -> tuple[Label | None, str]:
    found = {label: name for name in below if partition(name) is None for label in name_labels(name)}
    for name in around:
        if partition(name) is not None:
            continue
        for label in name_labels(name, whole=True):
            found.setdefault(label, name)
    if len(found) > 1:
        named = " and ".join(dict.fromkeys(found.values()))
        return None, (
            f"{named}: the name says both harmful and benign; rename the file or folder, or add a column label "
            "(harmful, benign)"
        )
    return next(iter(found), None), ""


def against_name(row: Row, label: Label) -> str:
    """The problem of a label that the names around its row contradict; empty: none."""
    named, _ = label_by_name(row)
    if named in (None, label):
        return ""
    return (
        f"label = {label}: the name of the file, of its folder or of the split says {named}; rename it, or correct the "
        "label or the set that the row is of"
    )


def names_around(row: Row) -> list[str]:
    """The names of a row's split, of its file and of the folder, nearest first."""
    place = _above_line(row.place).removesuffix(f" ({row.part})")
    return [row.part, *reversed(PurePath(place).parts[-2:])]


def _above_line(place: str) -> str:
    return place.rpartition(":")[0]


def no_text(value: object) -> str:
    """Why a string, or one in nested lists and mappings, is no text, and the fix; empty where all are texts."""
    if not isinstance(value, str):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return next(filter(None, map(no_text, parts)), "") if isinstance(parts, list | tuple) else ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair; write the escape in full"
    at = value.find("\0")
    return f"holds a NUL (character {at}), as no text does; take it out" if at >= 0 else ""
