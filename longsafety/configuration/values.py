"""Values as they are typed: split at their commas, and quoted so that Hydra's grammar reads texts letter for letter."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hydra.core.override_parser.types import Quote, QuotedString

from longsafety.configuration.fields import Kind

_FUNCTIONS = ("choice", "range", "interval", "glob", "sort", "shuffle", "tag", "int", "float", "bool", "str")
_NUMERIC = ("range", "interval", "int", "float", "bool")
_OPEN, _CLOSE = "([{", ")]}"
_ESCAPED = re.compile(r"\\([()\[\]{}:=, \t\\])")
"""What Hydra's grammar lets a backslash protect outside quotes."""
_OPEN_INTERPOLATION = re.compile(r"\$\{(?![^}]*\})")
"""What would begin an interpolation, but ends nowhere."""


def quote(text: str) -> str:
    """The text as a quoted value of Hydra's grammar."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def is_quoted(value: str) -> bool:
    """Whether the whole value is one quoted text."""
    return bool(re.fullmatch(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", value, re.DOTALL))


def split(value: str) -> list[str]:
    """The parts between commas that are in no quotes, no brackets and no ``${…}``, without spaces around them.

    Where brackets are not balanced they are letters like others.
    """
    parts, balanced = _split(value, brackets=True)
    return parts if balanced else _split(value, brackets=False)[0]


def _split(value: str, *, brackets: bool) -> tuple[list[str], bool]:
    """The parts, and whether all brackets are balanced."""
    parts: list[str] = []
    part, depth, quoted, position = "", 0, "", 0
    while position < len(value):
        char = value[position]
        if quoted:
            quoted = "" if char == quoted and value[position - 1] != "\\" else quoted
        elif char in "'\"" and (not part.strip() or part.rstrip()[-1] in ",:=([{"):
            quoted = char
        elif _ESCAPED.match(value, position):
            part, position = part + char, position + 1
            char = value[position]
        elif value.startswith("${", position) and (end := value.find("}", position)) > 0:
            part, position = part + value[position:end], end
            char = "}"
        elif brackets and char in _OPEN:
            depth += 1
        elif brackets and char in _CLOSE:
            depth -= 1
        elif char == "," and depth == 0:
            parts, part, char = [*parts, part.strip()], "", ""
        if depth < 0:
            break
        part, position = part + char, position + 1
    return ([*parts, part.strip()] if parts or part.strip() else []), depth == 0


def function(value: str) -> tuple[str, list[str]] | None:
    """Name and arguments where the whole value is a call of one of Hydra's functions (``choice(a,b)``)."""
    match = re.fullmatch(rf"\s*({'|'.join(_FUNCTIONS)})\s*\((.*)\)\s*", value, re.DOTALL)
    if not match:
        return None
    depth = 0
    for char in match[2]:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return None  # the bracket at the end is another one's
    return (match[1], split(match[2])) if depth == 0 else None


def typed(value: str, kind: Kind) -> str:
    """The value in Hydra's grammar: every text in it quoted, everything else as it is."""
    stripped = value.strip()
    if is_quoted(stripped):
        return stripped
    if call := function(value):
        name, arguments = call
        return f"{name}({','.join(_argument(name, argument, kind) for argument in arguments)})"
    if kind.element is not None and stripped[:1] == "[" and len(lists := split(stripped)) > 1:
        return ",".join(typed(part, kind) for part in lists)  # a sweep over lists
    if kind.element is not None and stripped[:1] == "[" and stripped[-1:] == "]":
        return f"[{','.join(typed(part, kind.element) for part in split(stripped[1:-1]))}]"
    if (kind.section or kind.value) and stripped[:1] == "{" and stripped[-1:] == "}":
        return f"{{{','.join(_pairs(stripped[1:-1], kind))}}}"
    if not kind.text or (kind.nullable and stripped.lower() == "null"):
        return value
    return quote(_OPEN_INTERPOLATION.sub(r"\\${", _ESCAPED.sub(r"\1", value)))


def _argument(name: str, argument: str, kind: Kind) -> str:
    if name in _NUMERIC or re.match(r"(start|stop|step|end|reverse|list|tags|include|exclude|value)\s*=", argument):
        return argument
    return typed(argument, kind)


def _pairs(inside: str, kind: Kind) -> Iterator[str]:
    for pair in split(inside):
        key, colon, value = pair.partition(":")
        member = kind.of(key.strip())
        yield f"{key}{colon}{typed(value.strip(), member)}" if colon and member else pair
