"""Languages: what a document is written in, and the words that are ours in each language."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LANGUAGES = ("en", "zh")
"""The languages of the shipped seed items, options and phrases."""
_EXCERPT = 2000


def language_of(text: str) -> str:
    """The ISO 639-1 code of a document's language, by ``py3langid`` on characters from its middle."""
    import py3langid

    middle = max(len(text) - _EXCERPT, 0) // 2
    code: str = py3langid.classify(text[middle : middle + _EXCERPT])[0]
    return code


@cache
def texts(language: str) -> dict[str, dict[str, Any]]:
    """``tasks_<language>.yaml``: task name → its options and phrases, and ``common``."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(
        (files("longsafety.scenarios") / f"tasks_{language}.yaml").read_text("utf-8")
    )
    return loaded


def listed(parts: Sequence[str], language: str) -> str:
    """``a, b and c``."""
    common = texts(language)["common"]
    if len(parts) < 2:
        return "".join(parts)
    return str(common["comma"]).join(parts[:-1]) + str(common["and"]) + parts[-1]
