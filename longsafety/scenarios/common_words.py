"""The words that several tasks share, in each language."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@cache
def common(language: str) -> dict[str, Any]:
    """``common_words_<language>.yaml``: headers, openers, options of benign requests, texts of made documents."""
    loaded: dict[str, Any] = yaml.safe_load(
        Path(__file__).with_name(f"common_words_{language}.yaml").read_text("utf-8")
    )
    return loaded


def listed(parts: Sequence[str], language: str) -> str:
    """``a, b and c``, of what somebody did."""
    if len(parts) < 2:
        return "".join(parts)
    return str(common(language)["comma"]).join(parts[:-1]) + str(common(language)["and"]) + parts[-1]
