"""The rows of one data file (.jsonl, .json, .csv or .parquet). A damaged line is a row with a problem."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from longsafety.errors import first_line
from longsafety.files import printable, relative_name
from longsafety.formats.decode import unicode_stream

_PARQUET_ROWS = 64
"""Rows read at a time: one may hold a context of a megabyte."""
_LONGEST_CELL = 2**31 - 1
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as read. A damaged row has a ``problem`` (what is wrong; the fix) and no ``values``."""

    place: str
    """``file:line`` for messages. In Parquet, a dictionary of lists and a dataset the row's number is the line."""
    name: str
    """The same without the folders above the source: an id for a row that has none."""
    part: str
    """The dataset's split, or the file's name without suffix and shard number."""
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a source."""

    path: Path
    name: str
    """Its path below the source, or its name if it is the source."""

    @classmethod
    def below(cls, source: Path, path: Path) -> DataFile:
        return cls(path, relative_name(path, source))

    def row(self, line: int, values: dict[str, Any]) -> Row:
        return Row(f"{printable(self.path)}:{line}", f"{self.name}:{line}", self._part, values)

    def bad(self, line: int, problem: str) -> Row:
        return Row(f"{printable(self.path)}:{line}", f"{self.name}:{line}", self._part, problem=problem)

    @property
    def _part(self) -> str:
        return _SHARD.sub("", Path(self.name).stem)


def file_rows(file: DataFile, columns: Sequence[str] | None = None, encoding: str | None = None) -> Iterator[Row]:
    """The rows of a file whose suffix is one of ``SUFFIXES``, lazily.

    Of a Parquet file only ``columns`` are read, if it has all of them. ``encoding``: of lines that are not UTF-8.
    """
    suffix = file.path.suffix.lower()
    try:
        yield from _parquet_rows(file, columns) if suffix == ".parquet" else _READERS[suffix](file, encoding)
    except OSError as error:
        yield file.bad(1, f"cannot be read ({error.strerror or error}); make it readable, or move it elsewhere")


# --- JSON


def _jsonl_rows(file: DataFile, encoding: str | None) -> Iterator[Row]:
    with unicode_stream(file.path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = _line(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line, encoding)
                if not text.strip():
                    continue
                values = json.loads(text.rstrip())
            except UnicodeDecodeError as error:
                yield file.bad(number, _not_utf8(error))
            except (ValueError, RecursionError) as error:
                yield file.bad(number, f"not JSON ({_reason(error)}); a .jsonl file has one JSON object a line")
            else:
                yield _json_row(file, number, values)


def _line(data: bytes, encoding: str | None) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if encoding is None:
            raise
        return data.decode(encoding)


def _json_rows(file: DataFile, encoding: str | None) -> Iterator[Row]:
    """A list of objects, an object of equally long lists, or one object a line."""
    with unicode_stream(file.path) as stream:
        data = stream.read().removeprefix(codecs.BOM_UTF8)
    try:
        text = _line(data, encoding)
    except UnicodeDecodeError as error:
        yield file.bad(data.count(b"\n", 0, error.start) + 1, f"{_not_utf8(error)}; no row of the file is read")
        return
    if text.lstrip().startswith("["):
        yield from _listed_rows(file, text)
        return
    decoder = json.JSONDecoder()
    try:
        value, end = decoder.raw_decode(text, len(text) - len(text.lstrip()))
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        yield file.bad(line, f"not JSON ({_reason(error)}); give a list of objects, or an object of lists")
        return
    if text[end:].strip():
        yield from _jsonl_rows(file, encoding)
    elif not isinstance(value, dict) or not value or not all(isinstance(cells, list) for cells in value.values()):
        yield file.bad(1, f"{_kind(value)}; a .json file holds a list of objects, or an object of lists")
    elif len({len(cells) for cells in value.values()}) > 1:
        lengths = ", ".join(f"{key} {len(cells)}" for key, cells in value.items())
        yield file.bad(1, f"lists of unequal lengths ({lengths}); give each column as many cells")
    else:
        for number, cells in enumerate(zip(*value.values(), strict=True), start=1):
            yield file.row(number, dict(zip(value, cells, strict=True)))


def _listed_rows(file: DataFile, text: str) -> Iterator[Row]:
    """The elements of a JSON list one by one: each has its line, and those before a damaged one are read."""
    decoder = json.JSONDecoder()
    position, counted, line, first = text.index("[") + 1, 0, 1, True
    while True:
        start = _space_end(text, position)
        line += text.count("\n", counted, start)
        counted = start
        if text.startswith("]", start) and first:
            end = start
            break
        try:
            values, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else line
            yield file.bad(line, f"not JSON ({_reason(error)}); the rest of the file is not read: fix it here")
            return
        yield _json_row(file, line, values)
        first = False
        end = _space_end(text, end)
        if not text.startswith(",", end):
            break
        position = end + 1
    if text[end:].strip() != "]":
        line += text.count("\n", counted, end)
        yield file.bad(line, "the list does not go on with ',' or end with ']'; the rest is not read: fix it here")


def _space_end(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _json_row(file: DataFile, line: int, values: Any) -> Row:
    if isinstance(values, dict):
        return file.row(line, values)
    return file.bad(line, f"{_kind(values)} instead of an object; each row is one JSON object")


def _reason(error: Exception) -> str:
    # The decoder's own message counts lines in the text that it was given, not in the file.
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _not_utf8(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    shown = error.encoding if error.encoding != "utf-8" else "UTF-8"
    return f"byte {error.start} (0x{byte:02x}) is not {shown}; convert the file to UTF-8, for example with iconv"


# --- CSV and Parquet


def _csv_rows(file: DataFile, encoding: str | None) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    # Bytes that are not UTF-8 become surrogates, so that they damage their own row only.
    text = partial(io.TextIOWrapper, encoding="utf-8-sig", errors="surrogateescape", newline="")
    with unicode_stream(file.path) as binary, text(binary) as stream:
        reader = csv.reader(stream, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield file.bad(line, f"not CSV ({error}); close the quotes, and double those inside a cell")
                continue
            if not cells:
                continue
            if encoding is not None:
                cells = [_again(cell, encoding) for cell in cells]
            if any(_SURROGATE.search(cell) for cell in cells):
                yield file.bad(line, "not UTF-8; convert the file to UTF-8, for example with iconv")
            elif header is None:
                header = cells
                if len(set(header)) < len(header):
                    repeated = ", ".join(name for name, count in Counter(header).items() if count > 1)
                    yield file.bad(line, f"the header names {repeated} twice; rename one. No row of the file is read")
                    return
                continue
            elif len(cells) != len(header):
                rule = f"{len(cells)} cells under a header of {len(header)}; quote cells that hold commas"
                yield file.bad(line, rule)
            else:
                yield file.row(line, dict(zip(header, cells, strict=True)))
            if header is None:
                return  # the names of the columns are unknown


def _again(cell: str, encoding: str) -> str:
    """A cell with bytes that are not UTF-8, in the encoding that the user named; as it is where that does not fit."""
    if not _SURROGATE.search(cell):
        return cell
    try:
        return cell.encode("utf-8", "surrogateescape").decode(encoding)
    except UnicodeError:
        return cell


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
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=chosen):
                for values in batch.to_pylist():
                    number += 1
                    yield file.row(number, values)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        rule = f"not a readable Parquet file from here on ({first_line(error)}); write it again"
        yield file.bad(number + 1, rule)


_READERS = {".jsonl": _jsonl_rows, ".json": _json_rows, ".csv": _csv_rows}
SUFFIXES = (*_READERS, ".parquet")
