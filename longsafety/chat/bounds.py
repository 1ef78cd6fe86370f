"""The bounds of a parameter that a server's words name: the most that it takes, or the least."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

LIMIT = re.compile(r"\bmax_(?:(?:output|completion|new)_)?tokens\b|\bmax(?:Output|Completion|New)?Tokens\b")
"""The limit of a reply's tokens, under all its names."""
_HIGH = (
    r"above|at most|max(?:imum)?\b|too (?:large|high|big|many|long)|(?:less|smaller|lower|fewer) than|up to|exceed|"
    r"between|range|[<≤]"
)
_LOW = (
    r"below|at least|min(?:imum)?\b|too (?:small|low|few|short)|(?:greater|larger|higher|more) than|between|range|[>≥]"
)
SIZE = re.compile(f"{_HIGH}|{_LOW}", re.IGNORECASE)
"""A number is too large or too small."""
_IS_HIGH, _IS_LOW = re.compile(_HIGH, re.IGNORECASE), re.compile(_LOW, re.IGNORECASE)
_NUMBER = r"(?<![\w.#/-])(\d{1,3}(?:,\d{3})+|\d{1,12})(?![\w-]|\.\d)"
"""A number that is no part of a name, a version or an address."""
_OVER = re.compile(rf"((?:greater|larger|higher|more) than\s|>\s?)?{_NUMBER}", re.IGNORECASE)
_UNDER = re.compile(rf"((?:less|smaller|lower|fewer) than\s|<\s?)?{_NUMBER}", re.IGNORECASE)


class Bound(NamedTuple):
    side: Literal["least", "most"]
    value: int


def named_bound(words: str, sent: int) -> Bound | None:
    """The bound that the value ``sent`` breaks: the nearest number beside it, on the side that the words mean.

    A number that means something else is refused in its turn, and the next one is tried: each is farther away.
    """
    over = [found for strict, text in _OVER.findall(words) if (found := _int(text) + bool(strict)) > sent]
    under = [found for strict, text in _UNDER.findall(words) if 0 < (found := _int(text) - bool(strict)) < sent]
    if under and _IS_HIGH.search(words):
        return Bound("most", max(under))
    if over and _IS_LOW.search(words):
        return Bound("least", min(over))
    return None


def _int(text: str) -> int:
    return int(text.replace(",", ""))
