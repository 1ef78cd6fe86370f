"""Files that rows are written to one by one: JSON lines, or Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

Container = Literal["jsonl", "parquet"]
Write = Callable[[Mapping[str, Any]], None]
_ROWS = 32
"""Rows of a Parquet file that are in memory together: one may hold a context of a megabyte."""
_LINE_ENDS = str.maketrans({end: f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"})
"""Characters within a row at which other programs end a line; as escapes they are the same to JSON."""


@contextmanager
def row_file(path: Path, container: Container) -> Iterator[Write]:
    """A function that writes one row. All rows of a Parquet file have the columns and types of the first."""
    with _json_lines(path) if container == "jsonl" else _parquet(path) as write:
        yield write


@contextmanager
def _json_lines(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda row: print(json.dumps(row, ensure_ascii=False).translate(_LINE_ENDS), file=file)


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[Mapping[str, Any]] = []
    writers: list[pq.ParquetWriter] = []

    def flush() -> None:
        table = pa.Table.from_pylist(waiting, schema=writers[0].schema if writers else None)
        if not writers:
            writers.append(pq.ParquetWriter(path, table.schema, compression="zstd"))
        writers[0].write_table(table)
        waiting.clear()

    def write(row: Mapping[str, Any]) -> None:
        waiting.append(row)
        if len(waiting) == _ROWS:
            flush()

    try:
        yield write
        if waiting:
            flush()
    finally:
        for writer in writers:
            writer.close()
