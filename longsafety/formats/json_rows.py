"""The rows of a .jsonl or .json file. A damaged line is a row with a problem."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from longsafety.formats.decode import unicode_stream
from longsafety.formats.row import DataFile, Row

_SPACE = re.compile(r"[ \t\r\n]*")
_ROW_KEYS = {
    *("messages", "conversations", "conversation", "prompt", "request", "question", "goal", "behavior", "statement"),
    *("instruction", "content", "text", "choices", "crimes", "prompts", "requests", "questions", "goals", "behaviors"),
}
"""Keys, in any case, under which rows have what they are about."""
_LONGEST_DESCRIPTION = 4 * 2**20
"""Bytes; a file that only describes data is shorter."""


class _Decoder(json.JSONDecoder):
    """Decodes values, and notes each key that stands twice in one object: the last would hide the others."""

    def __init__(self) -> None:
        self._twice: list[str] = []
        super().__init__(object_pairs_hook=self._object)

    def value(self, text: str, start: int) -> tuple[Any, int, str]:
        """The value at ``start``, where it ends, and its problem (empty: none)."""
        self._twice.clear()
        value, end = self.raw_decode(text, start)
        keys = ", ".join(dict.fromkeys(self._twice))
        return value, end, f"{keys}: stands twice in one object; leave one of the two, or rename one" if keys else ""

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            self._twice += [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        return made


def jsonl_rows(file: DataFile, encoding: str | None) -> Iterator[Row]:
    decoder = _Decoder()
    with unicode_stream(file.path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = _line(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line, encoding)
                if not text.strip():
                    continue
                text = text.rstrip()
                values, end, problem = decoder.value(text, _space_end(text, 0))
                if end < len(text):
                    raise json.JSONDecodeError("Extra data", text, _space_end(text, end))
            except UnicodeDecodeError as error:
                yield file.bad(number, _not_utf8(error))
            except (ValueError, RecursionError) as error:
                yield file.bad(number, f"not JSON ({_reason(error)}); a .jsonl file has one JSON object a line")
            else:
                yield _json_row(file, number, values, problem)


def json_rows(file: DataFile, encoding: str | None) -> Iterator[Row]:
    """A list of objects, an object of equally long lists, one object a line, or one chat."""
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
    try:
        value, end, problem = _Decoder().value(text, _space_end(text, 0))
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        yield file.bad(line, f"not JSON ({_reason(error)}); give a list of objects, or an object of lists")
        return
    if text[end:].strip():
        yield from jsonl_rows(file, encoding)
    elif problem:
        yield file.bad(1, f"{problem}. No row of the file is read")
    elif isinstance(value, dict) and any(map(_are_messages, value.values())):
        yield file.row(1, value)
    elif isinstance(value, dict) and (key := _rows_under(value)):
        yield file.bad(1, f"an object, whose rows stand in a list under {key}; a .json file holds that list alone")
    elif not isinstance(value, dict) or not value or not all(isinstance(cells, list) for cells in value.values()):
        yield file.bad(1, f"{_kind(value)}; a .json file holds a list of objects, or an object of lists")
    elif len({len(cells) for cells in value.values()}) > 1:
        lengths = ", ".join(f"{key} {len(cells)}" for key, cells in value.items())
        yield file.bad(1, f"lists of unequal lengths ({lengths}); give each column as many cells")
    else:
        for number, cells in enumerate(zip(*value.values(), strict=True), start=1):
            yield file.row(number, dict(zip(value, cells, strict=True)))


def describes_data(file: DataFile) -> bool:
    """Whether a .json file is one object without anything that rows have: it says something of the data beside it."""
    try:
        if file.path.stat().st_size > _LONGEST_DESCRIPTION:
            return False
        with unicode_stream(file.path) as stream:
            text = stream.read().removeprefix(codecs.BOM_UTF8).decode("utf-8")
        value = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(value) and not _holds_rows(value)


def _holds_rows(value: dict[str, Any]) -> bool:
    """Whether an object looks like a row, like columns of rows, or like rows in a list or under keys of their own."""
    listed = [part for cells in value.values() if isinstance(cells, list) for part in cells]
    held = list(value.values())
    are_columns = all(isinstance(part, list) for part in held) and not any(isinstance(part, dict) for part in listed)
    return are_columns or all(map(_like_a_row, held)) or _like_a_row(value) or any(map(_like_a_row, listed))


def _like_a_row(value: Any) -> bool:
    """Whether a row's key stands above a text or a list, in the object or in an object right below it."""
    if not isinstance(value, dict):
        return False
    here = any(key.casefold() in _ROW_KEYS and isinstance(part, str | list) for key, part in value.items())
    return here or any(_like_a_row(part) for key, part in value.items() if key == "row")


def _are_messages(value: Any) -> bool:
    """Whether a value is the turns of a chat: then its object is one row, and not columns of which it is one."""
    return isinstance(value, list) and bool(value) and all(map(_is_turn, value))


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and bool({"role", "from"} & {*value} or {"prompt", "output"} <= {*value})


def _rows_under(value: dict[str, Any]) -> str:
    """The key of the only list, where it is one of rows and not of cells; empty where there is none."""
    lists = {key: cells for key, cells in value.items() if isinstance(cells, list)}
    [key] = lists if len(lists) == 1 else [""]
    return key if lists.get(key) and all(map(_like_a_row, lists[key])) else ""


def _listed_rows(file: DataFile, text: str) -> Iterator[Row]:
    """The elements of a JSON list one by one: each has its line, and those before a damaged one are read."""
    decoder = _Decoder()
    position, counted, line, first = text.index("[") + 1, 0, 1, True
    last, nth = 0, 0
    while True:
        start = _space_end(text, position)
        line += text.count("\n", counted, start)
        counted = start
        if text.startswith("]", start) and first:
            end = start
            break
        last, nth = line, nth + 1 if line == last else 1
        try:
            values, end, problem = decoder.value(text, start)
        except (ValueError, RecursionError) as error:
            at = error.lineno if isinstance(error, json.JSONDecodeError) else line
            reason = f"not JSON ({_reason(error)}); the rest of the file is not read: fix it here"
            yield file.bad(at, reason, nth if at == line else 1)
            return
        yield _json_row(file, line, values, problem, nth)
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


def _json_row(file: DataFile, line: int, values: Any, problem: str, nth: int = 1) -> Row:
    if not isinstance(values, dict):
        problem = f"{_kind(values)} instead of an object; each row is one JSON object"
    return file.bad(line, problem, nth) if problem else file.row(line, values, nth)


def _line(data: bytes, encoding: str | None) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if encoding is None:
            raise
        return data.decode(encoding)


def _reason(error: Exception) -> str:
    # The decoder's own message counts lines in the text that it was given, not in the file.
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    here, before = error.doc[error.pos :][:99], error.doc[max(0, error.pos - 99) : error.pos].rstrip()
    known = {
        "JSON has no comments": here.startswith(("//", "/*", "#")),
        "JSON has double quotes": here.startswith("'"),
        "a comma too many": bool(re.match(r",\s*[\]}]", here)) or (here[:1] in ("]", "}") and before.endswith(",")),
        "a comma behind it": here.startswith(","),
    }
    why = next((f": {why}" for why, holds in known.items() if holds), "")
    return f"{error.msg}{why}, column {error.colno}"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _not_utf8(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    shown = error.encoding if error.encoding != "utf-8" else "UTF-8"
    return f"byte {error.start} (0x{byte:02x}) is not {shown}; convert the file to UTF-8, for example with iconv"
