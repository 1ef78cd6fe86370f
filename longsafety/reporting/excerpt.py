"""The end of a context, to be shown: a few words, also of a script that writes no spaces between them."""

from __future__ import annotations

import re

from longsafety.samples.language import UNSPACED

_WORDS, _CHARACTERS = 40, 240
_TWO = re.compile(f"[{UNSPACED}]{{2}}|[{UNSPACED}]|[^\\s{UNSPACED}]+")
"""About a word: two characters of a script without spaces."""


def excerpt(text: str) -> str:
    """The last 40 words, of at most 240 characters; ``…`` stands for the rest."""
    plain = " ".join(text.split())
    places = [found.start() for found in _TWO.finditer(plain)]
    start = places[-_WORDS] if len(places) > _WORDS else 0
    start = max(start, len(plain) - _CHARACTERS)
    return f"…{plain[start:].lstrip()}" if start else plain
