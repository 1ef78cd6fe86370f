"""The language that a text is written in."""

from __future__ import annotations

LANGUAGES = ("en", "zh")
"""The languages of the shipped seed items, options and phrases."""
_EXCERPT = 2000


def language_of(text: str) -> str:
    """The ISO 639-1 code of a document's language, by ``py3langid`` on characters from its middle."""
    import py3langid

    middle = max(len(text) - _EXCERPT, 0) // 2
    code: str = py3langid.classify(text[middle : middle + _EXCERPT])[0]
    return code
