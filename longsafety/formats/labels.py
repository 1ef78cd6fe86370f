"""Whether a row's label columns say that its request is harmful, or a benign control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Label = Literal["harmful", "benign"]

_WORDS: dict[Label, tuple[str, ...]] = {
    "harmful": ("harmful", "unsafe", "toxic", "malicious", "vanilla harmful", "adversarial harmful"),
    "benign": (
        *("benign", "safe", "harmless", "unharmful", "not harmful", "non toxic"),
        *("vanilla benign", "adversarial benign"),
    ),
}
_LABELS = {
    "label",
    "labels",
    "prompt_label",
    "harm_label",
    "prompt_harm_label",
    "harmfulness",
    "safety",
    "safety_label",
}
"""Columns of labels: a value that is none of the words is a mistake."""
_MAYBE = {"type", "data_type", "class", "kind", "category", "subcategory", "subset"}
"""Columns that hold categories, and in some files the label."""
_FLAGS: dict[Label, tuple[str, ...]] = {
    "harmful": ("harmful", "is_harmful", "unsafe", "is_unsafe", "toxic", "is_toxic", "toxicity", "malicious"),
    "benign": ("safe", "is_safe", "benign", "is_benign", "is_harmless"),  # harmless is a field of seed items
}
"""What true means → columns that are true or false."""
_TRUTH = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
_OTHER: dict[Label, Label] = {"harmful": "benign", "benign": "harmful"}


class Labelled(NamedTuple):
    """What the label columns of a row say."""

    label: Label | None
    """``None``: the row has no label."""
    columns: tuple[str, ...]
    """The columns that were read as labels."""
    problems: tuple[str, ...]
    """``key = value: rule; fix`` each."""


def plain_name(column: str) -> str:
    """A column's name without its spelling: ``Prompt Label`` is ``prompt_label``."""
    return "_".join(column.strip().casefold().replace("-", " ").replace("_", " ").split())


def word_label(value: object) -> Label | None:
    """The label that a word is, such as ``unsafe`` or ``Benign``; None for other values."""
    if not isinstance(value, str):
        return None
    plain = plain_name(value).replace("_", " ")
    return next((label for label, words in _WORDS.items() if plain in words), None)


def label_of(values: Mapping[str, Any]) -> Labelled:
    """Reads every label column of a row. Two that disagree, or one that says neither, are problems."""
    found: dict[str, Label] = {}
    problems: list[str] = []
    columns: list[str] = []
    for column, value in values.items():
        name = plain_name(column)
        flag = next((label for label, names in _FLAGS.items() if name in names), None)
        if flag is not None:
            columns.append(column)
            truth = _TRUTH.get(str(value).strip().casefold())
            if truth is None:
                problems.append(f"{column} = {_short(value)}: is neither true nor false; write one, or rename it")
            else:
                found[column] = flag if truth else _OTHER[flag]
        elif name in _LABELS or name in _MAYBE:
            label = word_label(value)
            if label is not None:
                columns.append(column)
                found[column] = label
            elif name in _LABELS:
                columns.append(column)
                problems.append(
                    f"{column} = {_short(value)}: says neither harmful nor benign (safe and unsafe are understood "
                    "too); write one of them, or rename the column if it holds no labels"
                )
    if len(set(found.values())) > 1:
        said = ", ".join(f"{column} = {values[column]}" for column in found)
        problems.append(f"{said}: contradict each other; correct one")
    return Labelled(next(iter(found.values()), None), tuple(columns), tuple(problems))


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
