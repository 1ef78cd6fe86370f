"""The rows of one data file (.jsonl, .json, .csv or .parquet). A damaged line is a row with a problem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from longsafety.errors import first_line
from longsafety.files import is_lfs_pointer
from longsafety.formats.arrow_rows import arrow_rows, class_names
from longsafety.formats.csv_rows import csv_rows, repeated_names
from longsafety.formats.json_rows import json_rows, jsonl_rows
from longsafety.formats.packed import packed
from longsafety.formats.row import DataFile, Row

__all__ = ["SUFFIXES", "DataFile", "Row", "file_rows"]

_PARQUET_ROWS = 64
"""Rows read at a time: one may hold a context of a megabyte."""


def file_rows(file: DataFile, columns: Sequence[str] | None = None, encoding: str | None = None) -> Iterator[Row]:
    """The rows of a file whose suffix is one of ``SUFFIXES``, lazily.

    Of a Parquet file only ``columns`` are read, if it has all of them. ``encoding``: of lines that are not UTF-8.
    """
    suffix = file.path.suffix.lower()
    try:
        if is_lfs_pointer(file.path):
            yield file.bad(1, "a pointer of Git LFS and not the file itself; run git lfs pull in its repository")
            return
        if suffix != ".parquet" and (other := packed(file.path)):
            yield file.bad(1, other)
            return
        yield from _parquet_rows(file, columns) if suffix == ".parquet" else _READERS[suffix](file, encoding)
    except OSError as error:
        yield file.bad(1, f"cannot be read ({error.strerror or error}); make it readable, or move it elsewhere")


def _parquet_rows(file: DataFile, columns: Sequence[str] | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # Opened here, because pyarrow refuses a path that is not UTF-8.
        with file.path.open("rb") as stream, pq.ParquetFile(stream) as table:
            chosen = None if columns is None else list(columns)
            if chosen and not {*chosen} <= {*table.schema_arrow.names}:
                chosen = None
            read = [name for name in table.schema_arrow.names if chosen is None or name in chosen]
            if repeated := repeated_names(read):
                yield file.bad(1, f"the schema names {repeated} twice; rename one. No row of the file is read")
                return
            named = class_names(table.schema_arrow)
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=chosen):
                for values in arrow_rows(batch, named):
                    number += 1
                    yield file.row(number, values)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        rule = f"not a readable Parquet file from here on ({first_line(error)}); write it again"
        yield file.bad(number + 1, rule)


_READERS = {".jsonl": jsonl_rows, ".json": json_rows, ".csv": csv_rows}
SUFFIXES = (*_READERS, ".parquet")
