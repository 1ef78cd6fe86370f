"""The words of the tasks in each language: options, questions and phrases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def texts(language: str) -> dict[str, dict[str, Any]]:
    """``tasks_<language>.yaml``: task name → its options and phrases, and ``common``."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(
        (files("longsafety.scenarios.tasks") / f"tasks_{language}.yaml").read_text("utf-8")
    )
    return loaded


def listed(parts: Sequence[str], language: str) -> str:
    """``a, b and c``."""
    common = texts(language)["common"]
    if len(parts) < 2:
        return "".join(parts)
    return str(common["comma"]).join(parts[:-1]) + str(common["and"]) + parts[-1]
