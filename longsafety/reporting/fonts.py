"""Names in figures in any script: an installed font that has the letters, else a number that the page explains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib as mpl
from matplotlib import font_manager

_FIRST = "DejaVu Sans"
"""Matplotlib's own font, which is always there."""
_BOXES = "Last Resort"
"""A font, shipped with matplotlib, of boxes that stand for letters."""
_LONGEST = 56
"""Letters of a name beside a figure."""
_PREFERRED = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans", "Arial Unicode MS",
)  # fmt: skip
"""Fonts with many scripts, which are looked at before others."""


def missing(text: str) -> frozenset[str]:
    """The characters that no installed font has."""
    return _fonts(frozenset(text))[1]


@contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[None]:
    """Draws and saves figures with the fonts that have the texts' characters, as far as such are installed."""
    with mpl.rc_context({"font.family": list(_fonts(frozenset("".join(texts)))[0])}):
        yield


def drawn_names(names: Sequence[str]) -> dict[str, str]:
    """Name → what stands for it in figures: itself, or ``#2`` for the second where letters have no font, or where it is
    so long that it would leave no room for the figure."""
    return {name: f"#{place}" if missing(name) or len(name) > _LONGEST else name for place, name in enumerate(names, 1)}


def numbers_note(drawn: Mapping[str, str]) -> str:
    """The lines that explain the numbers; empty without one."""
    numbered = {name: f"{number} is {name}" for name, number in drawn.items() if number != name}
    foreign = [said for name, said in numbered.items() if missing(name)]
    lengthy = [said for name, said in numbered.items() if not missing(name)]
    reasons = (
        (foreign, "no font of the machine that drew them has all of these letters"),
        (lengthy, f"a name of more than {_LONGEST} letters would leave them no room"),
    )
    return " ".join(f"In figures, {', '.join(said)}: {why}." for said, why in reasons if said)


@cache
def _fonts(chars: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families that cover the characters, and the characters that none covers."""
    families, left = [_FIRST], _lacks(font_manager.findfont(_FIRST), chars)
    if not left:
        return (_FIRST,), frozenset()
    files: dict[str, str] = {}
    for font in font_manager.fontManager.ttflist:
        if font.style == "normal" and not font.name.startswith(_BOXES):
            files.setdefault(font.name, font.fname)
    known = [name for name in _PREFERRED if name in files]
    for name in [*known, *sorted(files.keys() - {*known, _FIRST})]:
        rest = _lacks(files[name], left)
        if len(rest) < len(left):
            families.append(name)
            left = rest
        if not left:
            break
    return tuple(families), left


def _lacks(file: str, chars: frozenset[str]) -> frozenset[str]:
    try:
        has = font_manager.get_font(file).get_charmap()
    except (OSError, RuntimeError):  # a font that cannot be read has no letters
        return chars
    return frozenset(char for char in chars if not char.isspace() and ord(char) not in has)
