"""Fields that a judge writes as XML tags or as a table, in the spelling of fields that stand a line each.

What is quoted inside a tag or a cell stays inside its quotation marks, so that it is no field of the judge's.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator

_NAMES = r"(?:key|verdict|judge?ment|reason|explanation)"
_TAG = re.compile(
    rf"<(?P<name>{_NAMES})(?P<told>(?:\s+\w+\s*=\s*\"[^\"<>]*\")*)\s*>(?P<value>[^<>]*)</(?P=name)\s*>|"
    r"<\w+(?P<alone>(?:\s+\w+\s*=\s*\"[^\"<>]*\")+)\s*/?>",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*\"([^\"<>]*)\"")
_TABLE = re.compile(r"(?:^[ \t]*\|[^\n]*\n?)+", re.MULTILINE)
_RULE = re.compile(r"[\s:|-]+")
_NAME = re.compile(r"[^\W\d_]\w{0,20}")
_AROUND = " \t*_`\"'"


def with_fields(text: str) -> str:
    """A judge's text with its tags (``<verdict>safe</verdict>``), attributes and tables as lines ``name: "value"``.

    A table names its fields in its first row, or in its first column. Other tags and tables stay as they are.
    """
    if "&lt;" in text and "<" not in text:
        text = html.unescape(text)
    return _TABLE.sub(_of_table, _TAG.sub(_of_tag, text))


def _of_tag(found: re.Match[str]) -> str:
    told = _ATTRIBUTE.findall(found["told"] or found["alone"] or "")
    return _lines([*told, *([(found["name"], found["value"])] if found["name"] else [])])


def _of_table(found: re.Match[str]) -> str:
    rows = [list(_cells(line)) for line in found[0].splitlines() if not _RULE.fullmatch(line)]
    header = [cell.lower() for cell in rows[0]] if rows else []
    if "key" in header and {"verdict", "judgment", "judgement"} & {*header}:
        whole = [row for row in rows[1:] if len(row) == len(header)]
        return "".join(_lines(list(zip(header, row, strict=True))) for row in whole)
    if rows and all(len(row) == 2 for row in rows):
        return _lines([(name, value) for name, value in rows])
    return found[0]


def _cells(line: str) -> Iterator[str]:
    return (cell.strip(_AROUND) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")))


def _lines(fields: list[tuple[str, str]]) -> str:
    named = [(name, value.strip(_AROUND + "\n")) for name, value in fields if _NAME.fullmatch(name)]
    return "\n" + "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in named)
