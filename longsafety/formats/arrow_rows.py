"""The rows of Arrow tables, as Parquet files and saved datasets hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ClassNames = Mapping[str, Sequence[str]]
"""Column → the names of its classes, by number."""
_UNREADABLE = (ArithmeticError, ValueError, LookupError, TypeError)
"""What pyarrow raises for a value that Python has no type for, such as a date of the year 50,000."""


def arrow_rows(batch: Any, names: ClassNames) -> Iterator[dict[str, Any]]:
    """The rows of a table or record batch whose columns have distinct names.

    A value that Python cannot hold is given as a text; the number of a class as its name, -1 (none) as null.
    """
    columns = {name: _cells(batch.column(at)) for at, name in enumerate(batch.schema.names)}
    for column in columns.keys() & names.keys():
        columns[column] = [_named(number, names[column]) for number in columns[column]]
    for at in range(batch.num_rows):
        yield {name: cells[at] for name, cells in columns.items()}


def class_names(schema: Any) -> ClassNames:
    """The classes that ``datasets`` wrote into the schema of a Parquet file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        named = {column: feature["names"] for column, feature in features.items() if "names" in feature}
        return {column: names for column, names in named.items() if isinstance(names, list)}
    except (*_UNREADABLE, AttributeError):
        return {}


def _cells(column: Any) -> list[Any]:
    try:
        found: list[Any] = column.to_pylist()
        return found
    except _UNREADABLE:
        return [_cell(scalar) for scalar in column]


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except _UNREADABLE:
        return f"unreadable {scalar.type}"


def _named(number: Any, names: Sequence[str]) -> Any:
    if isinstance(number, bool) or not isinstance(number, int):
        return number
    return names[number] if 0 <= number < len(names) else None if number == -1 else number
