"""The entries of an ``.eval`` file: a zip archive whose entries may be compressed by Zstandard, which Python 3.11's
``zipfile`` does not read (method 93 of the format)."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from longsafety.errors import DataError, first_line

_ZSTANDARD = 93
_HEADER, _NAME = 30, slice(26, 30)
"""Bytes of an entry's local header, and where the lengths of its name and its extra field stand."""


class EvalFile:
    """An ``.eval`` file. Raises DataError where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a readable .eval file ({first_line(error)}); give a complete log") from error
        # An entry that was written again stands there twice under one name: the later one counts.
        self.names = [name for name in dict.fromkeys(self._zip.namelist()) if name.endswith(".json")]

    def __enter__(self) -> EvalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def samples(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Name of each sample's entry, and what reads it: one that is broken says nothing of the others."""
        for name in self.names:
            if name.startswith("samples/"):
                yield name, partial(self.json, name)

    def header(self) -> dict[str, Any]:
        """The log without its samples; of a run that did not end, what was written at its start."""
        name = "header.json" if "header.json" in self.names else "_journal/start.json"
        found = self.json(name) if name in self.names else None
        if not isinstance(found, dict):
            raise DataError(f"{self.path}: has no header.json; give a log that inspect_ai wrote")
        return found

    def json(self, name: str) -> Any:
        try:
            return json.loads(self._bytes(name))
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise DataError(f"{self.path}: {name} cannot be read ({first_line(error)}); give a whole log") from error

    def _bytes(self, name: str) -> bytes:
        entry = self._zip.getinfo(name)
        if entry.compress_type != _ZSTANDARD:
            return self._zip.read(entry)
        import pyarrow as pa

        with self.path.open("rb") as stream:
            stream.seek(entry.header_offset)
            lengths = struct.unpack("<HH", stream.read(_HEADER)[_NAME])
            stream.seek(sum(lengths), 1)
            packed = stream.read(entry.compress_size)
        data: bytes = pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read()
        if len(data) != entry.file_size:
            raise ValueError(f"{len(data)} of {entry.file_size} bytes")
        return data
