"""Several recorded runs in one command: ``evaluation.answers=[ONE,OTHER]``, each of them ``NAME=PATH`` if wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from longsafety.configuration.fields import exists

KEY = "evaluation.answers"


def is_list(key: str, value: str) -> bool:
    """Whether a typed value lists recorded runs. A folder may have such a name itself."""
    stripped = value.strip()
    return key == KEY and stripped[:1] == "[" and stripped[-1:] == "]" and not exists(value)


def recorded_runs(config: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The config of each recorded run that it names, with the value as given where there are several."""
    evaluation = config.get("evaluation")
    given = evaluation.get("answers") if isinstance(evaluation, Mapping) else None
    listed = given if isinstance(given, list) and all(isinstance(value, str) for value in given) else []
    for value in listed or [given]:
        changed = dict(config)
        if isinstance(evaluation, Mapping) and isinstance(value, str):
            name, path = _named(value)
            changed |= {"evaluation": {**evaluation, "answers": path}, **({"label": name} if name else {})}
        yield changed, value if len(listed) > 1 else None


def _named(value: str) -> tuple[str, str]:
    """Name and path of ``NAME=PATH``; without a name where the whole is a path, or what follows is none."""
    name, equals, path = value.partition("=")
    if equals and name.strip() and exists(path) and not exists(value):
        return name.strip(), path
    return "", value
