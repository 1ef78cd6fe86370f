"""The options and phrases of each task, in each language."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from longsafety.errors import DataError

Phrases = dict[str, dict[str, Any]]
"""Task name → its options and phrases."""


@cache
def texts(language: str) -> Phrases:
    """``tasks_<language>.yaml``: those of every shipped task."""
    loaded: Phrases = yaml.safe_load(options_file(language).read_text("utf-8"))
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
