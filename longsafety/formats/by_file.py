"""A folder that holds several public sets: the rows of each file (or split), and the schema that they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from longsafety.errors import DataError
from longsafety.formats.public import recognise
from longsafety.formats.row import Row
from longsafety.formats.rows import read_rows
from longsafety.formats.schema import Schema


@dataclass(frozen=True)
class FileRows:
    """The rows of one file, or of one split of a dataset."""

    name: str
    schema: Schema | None
    """``None``: of no known set."""
    rows: Sequence[Row]


def rows_by_file(source: str, counts: Counter[str], key: str | None = None) -> Iterator[FileRows]:
    """The files of a source of :func:`longsafety.formats.rows.read_rows`, in order.

    Raises DataError for a source that does not exist.
    """
    for name, rows in groupby(read_rows(source, counts=counts, key=key), lambda row: row.place.rpartition(":")[0]):
        held = list(rows)
        try:
            schema, _ = recognise(iter(held), name)
        except DataError:  # of none, or of several alike: a file of the user's own
            schema = None
        yield FileRows(name, schema, held)
