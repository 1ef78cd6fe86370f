"""The rows of a .csv file, as programs and spreadsheets write it. A damaged line is a row with a problem."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from longsafety.formats.decode import unicode_stream
from longsafety.formats.row import DataFile, Row

_LONGEST_CELL = 2**31 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""Spreadsheets write the others in place of commas, by the language of their user."""
_SAID = re.compile(r"sep=(.?)")
"""Excel's first line, which names the separator."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_rows(file: DataFile, encoding: str | None = None) -> Iterator[Row]:
    """``encoding``: of cells that are not UTF-8.

    Where the header is one cell for commas and several for semicolons or tabs, these separate the cells. Lines without
    any text are the empty rows below a spreadsheet's table, and are passed over.
    """
    yield from _rows(file, encoding, _separator(file, encoding))


def csv_header(file: DataFile) -> list[str]:
    """The names of the columns; empty for a file without any, or with a damaged first line."""
    lines = _lines(file, None, _separator(file, None))
    named = (cells for _, cells in lines if isinstance(cells, str) or (any(cells) and not _SAID.match(cells[0])))
    first = next(named, [])
    return [] if isinstance(first, str) else first


def for_a_spreadsheet(cell: str) -> str:
    """A cell that no spreadsheet computes: it would show an error in place of the text, or follow a link."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def from_a_spreadsheet(cell: str) -> str:
    """A cell without the mark of :func:`for_a_spreadsheet`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def _separator(file: DataFile, encoding: str | None) -> str:
    """What separates the cells, by the first line that holds any."""
    for _, cells in _lines(file, encoding, ","):
        if isinstance(cells, str):  # as "id";"label" is, where only commas separate
            return next((mark for mark in _SEPARATORS if len(_first(file, encoding, mark)) > 1), ",")
        said = _SAID.fullmatch(",".join(cells))
        if said and said[1] in _SEPARATORS:
            return said[1]
        if any(cells):
            found = [mark for mark in _SEPARATORS if len(cells) == 1 and mark in cells[0]]
            return found[0] if found and all(name.strip() for name in cells[0].split(found[0])[:2]) else ","
    return ","


def _first(file: DataFile, encoding: str | None, separator: str) -> list[str]:
    """The cells of the first line; none where it is damaged."""
    _, cells = next(_lines(file, encoding, separator), (0, ""))
    return [] if isinstance(cells, str) else cells


def _rows(file: DataFile, encoding: str | None, separator: str) -> Iterator[Row]:
    header: list[str] | None = None
    for line, cells in _lines(file, encoding, separator):
        if isinstance(cells, str):
            yield file.bad(line, cells)
        elif header is None and (not any(cells) or _SAID.fullmatch(separator.join(cells))):
            continue
        elif any(_SURROGATE.search(cell) for cell in cells):
            yield file.bad(line, "not UTF-8; convert the file to UTF-8 (a spreadsheet: save as CSV UTF-8)")
        elif header is None:
            header = cells
            if repeated := repeated_names(name for name in header if name.strip()):
                yield file.bad(line, f"the header names {repeated} twice; rename one. No row of the file is read")
                return
            continue
        elif len(cells) > 1 and not any(cell.strip() for cell in cells):
            continue
        elif len(cells) != len(header):
            yield file.bad(line, _other_width(len(cells), header, separator))
        elif sum(not name.strip() for name in header) > 1:
            yield _without_unnamed(file, line, cells, header)
        else:
            yield file.row(line, dict(zip(header, cells, strict=True)))
        if header is None:
            return  # the names of the columns are unknown


def _lines(file: DataFile, encoding: str | None, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """The number and the cells of each line that is not empty, or its problem."""
    csv.field_size_limit(_LONGEST_CELL)
    # Bytes that are not UTF-8 become surrogates, so that they damage their own row only.
    text = partial(io.TextIOWrapper, encoding="utf-8-sig", errors="surrogateescape", newline="")
    with unicode_stream(file.path) as binary, text(binary) as stream:
        reader = csv.reader(stream, strict=True, delimiter=separator)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, f"not CSV ({error}); close the quotes, and double those inside a cell"
                continue
            if cells:
                yield line, [_again(cell, encoding) for cell in cells]


def _other_width(count: int, header: Sequence[str], separator: str) -> str:
    first = f" ({header[0]!r:.60}; the header is the first line)" if len(header) == 1 else ""
    return f"{count} cells under a header of {len(header)}{first}; quote cells that hold {_SEPARATORS[separator]}"


def _without_unnamed(file: DataFile, line: int, cells: Sequence[str], header: Sequence[str]) -> Row:
    """The row without its columns that have no name, as a spreadsheet writes them beside its table: they are empty."""
    pairs = list(zip(header, cells, strict=True))
    if lost := [cell for name, cell in pairs if not name.strip() and cell.strip()]:
        return file.bad(line, f"{lost[0]!r:.60} stands in a column without a name; name it in the header")
    return file.row(line, {name: cell for name, cell in pairs if name.strip()})


def repeated_names(names: Iterator[str] | Sequence[str]) -> str:
    """The names that stand more than once."""
    return ", ".join(name or "an empty name" for name, count in Counter(names).items() if count > 1)


def _again(cell: str, encoding: str | None) -> str:
    """A cell with bytes that are not UTF-8, in the encoding that the user named; as it is where that does not fit."""
    if encoding is None or not _SURROGATE.search(cell):
        return cell
    try:
        return cell.encode("utf-8", "surrogateescape").decode(encoding)
    except UnicodeError:
        return cell
