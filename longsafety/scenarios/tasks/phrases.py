"""The words of the tasks in each language: options, questions and phrases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from longsafety.errors import DataError

Phrases = dict[str, dict[str, Any]]
"""Task name → its options and phrases."""


@cache
def texts(language: str) -> Phrases:
    """``tasks_<language>.yaml``: of every shipped task, and ``common``."""
    loaded: Phrases = yaml.safe_load(
        (files("longsafety.scenarios.tasks") / f"tasks_{language}.yaml").read_text("utf-8")
    )
    return loaded


def options_file(language: str, file: Path | None = None) -> Path:
    """Where the options of a language stand: for a user's ``my_task.py`` in ``my_task_<language>.yaml`` beside it."""
    if file is None:
        return Path(__file__).with_name(f"tasks_{language}.yaml")
    return file.with_name(f"{file.stem}_{language}.yaml")


@cache
def own_texts(language: str, file: Path) -> Phrases:
    """Those of a user's task file; empty without a file in this language. Raises DataError for a broken one."""
    path = options_file(language, file)
    try:
        loaded = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no YAML ({str(error).splitlines()[0]}); fix it") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, dict) for value in loaded.values()):
        raise DataError(f"{path}: must hold a mapping for each task, under its name; see tasks_en.yaml")
    return loaded


def listed(parts: Sequence[str], language: str) -> str:
    """``a, b and c``."""
    common = texts(language)["common"]
    if len(parts) < 2:
        return "".join(parts)
    return str(common["comma"]).join(parts[:-1]) + str(common["and"]) + parts[-1]
