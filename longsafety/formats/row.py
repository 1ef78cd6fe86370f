"""A row as it was read, and the file that it was read from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote

from longsafety.files import printable, relative_name

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_PARTITION = re.compile(r"([^\W\d]\w*)=(.+)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Row:
    """One row as read. A damaged row has a ``problem`` (what is wrong; the fix) and no ``values``."""

    place: str
    """``file:line`` for messages, ``file:line#n`` for the n-th row of a line, so that no two rows of a source have the
    same. In Parquet, a dictionary of lists and a dataset the row's number is the line."""
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

    def row(self, line: int, values: dict[str, Any], nth: int = 1) -> Row:
        """``nth``: of the rows that begin on the line."""
        where = _where(line, nth)
        return Row(f"{printable(self.path)}:{where}", f"{self.name}:{where}", self._part, self._partitions | values)

    def bad(self, line: int, problem: str, nth: int = 1) -> Row:
        where = _where(line, nth)
        return Row(f"{printable(self.path)}:{where}", f"{self.name}:{where}", self._part, problem=problem)

    @property
    def _partitions(self) -> dict[str, Any]:
        """The columns that the folders between the source and the file are named by."""
        found = (partition(folder) for folder in PurePath(self.name).parts[:-1]) if "=" in self.name else ()
        return dict(pair for pair in found if pair is not None)

    @property
    def _part(self) -> str:
        return _SHARD.sub("", Path(self.name).stem)


def partition(folder: str) -> tuple[str, str | None] | None:
    """Column and value of a folder ``label=benign``, as Spark, pandas and others write a table in parts; a folder that
    is called otherwise is none. Splits are parts of a data set and no column."""
    found = _PARTITION.fullmatch(folder)
    if found is None or found[1] == "split":
        return None
    return found[1], None if found[2] == _NO_VALUE else unquote(found[2])


def _where(line: int, nth: int) -> str:
    return f"{line}#{nth}" if nth > 1 else str(line)
