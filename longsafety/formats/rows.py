"""Rows of anybody's data files, one after the other; a damaged line is a row with a problem, never an exception."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longsafety.errors import DataError
from longsafety.files import _name
from longsafety.hub import _HUB_NAME, _has_card, _is_dataset, _one_line, _require_reachable

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
OTHER_FILES = "files of other types"
_PARQUET_ROWS = 64  # a row may hold a context of a megabyte
_LONGEST_CELL = 2**31 - 1
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as read. Of a damaged one ``problem`` says what is wrong and how to mend it, and ``values`` is empty."""

    place: str
    """``file:line`` for messages. In Parquet, a dictionary of lists and a dataset the row's number is the line."""
    name: str
    """The same without the folders above the source: an id for a row that brings none."""
    part: str
    """The dataset's split, or the file's name without suffix and shard number."""
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str

    @property
    def part(self) -> str:
        return _SHARD.sub("", self.path.stem)

    def row(self, line: int, values: dict[str, Any]) -> Row:
        return Row(f"{self.path}:{line}", f"{self.name}:{line}", self.part, values)

    def bad(self, line: int, problem: str) -> Row:
        return Row(f"{self.path}:{line}", f"{self.name}:{line}", self.part, problem=problem)


def read_rows(source: str | Path, *, split: str | None = None, counts: Counter[str]) -> Iterator[Row]:
    """The rows of a source, lazily, in the order of its files (or splits) and lines.

    A file of ``SUFFIXES``; a folder of them (recursively, hidden files apart; other files are added to ``counts``); a
    folder saved by ``datasets`` or with a dataset card; or a hub dataset, ``owner/name`` or ``owner/name@revision``.
    Without ``split`` all splits of a dataset are read. Raises ``DataError`` for a source or split that is not there.
    """
    path = Path(source).expanduser()
    if not path.exists() or _is_dataset(path):
        yield from _dataset_rows(str(source), path, split)
        return
    if split is not None:
        raise DataError(f"split = {split}: {source} is no dataset with splits; leave the split out")
    readers = {".jsonl": _jsonl_rows, ".json": _json_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}
    for file in _files(path, counts):
        yield from readers[file.path.suffix.lower()](file)


def rows_fingerprint(source: str | None) -> str:
    """Hash of a source's content; of a hub dataset's name (cheap: no heavy import)."""
    digest = hashlib.sha256()
    path = Path(source or "").expanduser()
    if source and path.exists():
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        for file in files:
            with file.open("rb") as stream:
                digest.update(f"{_name(file, path)}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}".encode())
    else:
        digest.update(f"hub\0{source}".encode())
    return digest.hexdigest()[:16]


def _files(path: Path, counts: Counter[str]) -> list[_File]:
    found = [path]
    if path.is_dir():
        every = (file for file in path.rglob("*") if file.is_file())
        found = [file for file in every if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    files = [_File(file, _name(file, path)) for file in found if file.suffix.lower() in SUFFIXES]
    if not files:
        types = ", ".join(SUFFIXES)
        raise DataError(f"{path}: no {types} file among its {len(found)} file(s); give files of these types")
    if len(found) > len(files):
        counts[OTHER_FILES] += len(found) - len(files)
    return sorted(files, key=lambda file: file.name)


def _jsonl_rows(file: _File) -> Iterator[Row]:
    with file.path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if not text.strip():
                    continue
                values = json.loads(text.rstrip())
            except UnicodeDecodeError as error:
                yield file.bad(number, _not_utf8(error))
            except (ValueError, RecursionError) as error:
                yield file.bad(number, f"not JSON ({_reason(error)}); a .jsonl file has one JSON object a line")
            else:
                yield _json_row(file, number, values)


def _json_rows(file: _File) -> Iterator[Row]:
    """A list of objects, or an object of equally long lists; one object a line is understood too."""
    data = file.path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
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
        yield from _jsonl_rows(file)
    elif not isinstance(value, dict) or not value or not all(isinstance(cells, list) for cells in value.values()):
        yield file.bad(1, f"{_kind(value)}; a .json file holds a list of objects, or an object of lists")
    elif len({len(cells) for cells in value.values()}) > 1:
        lengths = ", ".join(f"{key} {len(cells)}" for key, cells in value.items())
        yield file.bad(1, f"lists of unequal lengths ({lengths}); give each column as many cells")
    else:
        for number, cells in enumerate(zip(*value.values(), strict=True), start=1):
            yield file.row(number, dict(zip(value, cells, strict=True)))


def _listed_rows(file: _File, text: str) -> Iterator[Row]:
    """Elements of a JSON list one by one, so that each has its line and those before a damaged one are read."""
    decoder = json.JSONDecoder()
    space = re.compile(r"[ \t\r\n]*")
    position, counted, line, first = text.index("[") + 1, 0, 1, True
    while True:
        start = space.match(text, position).end()  # type: ignore[union-attr]
        line += text.count("\n", counted, start)
        counted = start
        if text.startswith("]", start) and first:
            end = start
            break
        try:
            values, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else line
            yield file.bad(line, f"not JSON ({_reason(error)}); the rest of the file is not read: mend it here")
            return
        yield _json_row(file, line, values)
        first = False
        end = space.match(text, end).end()  # type: ignore[union-attr]
        if not text.startswith(",", end):
            break
        position = end + 1
    if text[end:].strip() != "]":
        line += text.count("\n", counted, end)
        yield file.bad(line, "the list does not go on with ',' or end with ']'; the rest is not read: mend it here")


def _csv_rows(file: _File) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    # Bytes that are not UTF-8 become surrogates, so that they spoil their own row only.
    with file.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
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
                return  # what the columns are called is not known


def _parquet_rows(file: _File) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file.path) as table:
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield file.row(number, values)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        rule = f"not a readable Parquet file from here on ({_one_line(error)}); write it anew"
        yield file.bad(number + 1, rule)


def _dataset_rows(source: str, path: Path, split: str | None) -> Iterator[Row]:
    name, revision = source, None
    if not path.exists():
        match = _HUB_NAME.fullmatch(source)
        if not match or Path(source).suffix.lower() in SUFFIXES:
            raise DataError(f"{source}: no such file or folder; give one, or a Hugging Face dataset's name")
        name, revision = match["name"], match["revision"]
        try:
            _require_reachable(name, revision or "")
        except DataError as error:
            raise DataError(str(error).removeprefix("corpus.source = ")) from error
    import datasets

    try:
        if path.exists() and not _has_card(path):
            loaded: Any = datasets.load_from_disk(str(path))
        else:
            loaded = datasets.load_dataset(str(path) if path.exists() else name, revision=revision)
    except Exception as error:  # the libraries raise a dozen unrelated types here
        raise DataError(f"{source}: {_one_line(error)}; check the name and its files") from error
    splits = loaded if isinstance(loaded, dict) else {str(loaded.split or "train"): loaded}
    if split is not None:
        if split not in splits:
            raise DataError(f"split = {split}: {source} has {', '.join(splits)}; choose one of these, or none for all")
        splits = {split: splits[split]}
    for part, dataset in splits.items():
        for number, values in enumerate(dataset, start=1):
            yield Row(f"{source} ({part}):{number}", f"{part}:{number}", part, values)


def _json_row(file: _File, line: int, values: Any) -> Row:
    if isinstance(values, dict):
        return file.row(line, values)
    return file.bad(line, f"{_kind(values)} instead of an object; each row is one JSON object")


def _reason(error: Exception) -> str:
    # The decoder's own text names a line: of the text that it was given, not of the file.
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _not_utf8(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    return f"byte {error.start} (0x{byte:02x}) is not UTF-8; convert the file to UTF-8, for example with iconv"
