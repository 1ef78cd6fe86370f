"""Every mistake of a config as one line: key, value, rule, fix."""

from __future__ import annotations

import contextlib
import copy
import difflib
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from longsafety.configuration.checks import combination_problems
from longsafety.configuration.fields import ROOT, Kind, as_written
from longsafety.settings import Settings


def check(raw: dict[str, Any]) -> tuple[Settings | None, list[str]]:
    """Validates a composed config: the settings, or every problem as ``key = value: rule; fix``.

    Wrong keys are replaced by their defaults in a copy that is thrown away, so that impossible combinations of the
    valid ones are reported in the same message.
    """
    try:
        settings = Settings.model_validate(raw)
        wrong = combination_problems(settings)
        return (None if wrong else settings), wrong
    except ValidationError as error:
        details = error.errors()
    grouped: dict[str, list[Any]] = {}
    for detail in details:  # a union has an entry for each of its members
        grouped.setdefault(_dotted(detail["loc"]), []).append(detail)
    problems = [_problem(group) for group in grouped.values()]
    broken = frozenset(grouped)
    repaired = _without(raw, [detail["loc"] for detail in details])
    # Where a required key is wrong, its own line says so, and combinations with it cannot be judged.
    with contextlib.suppress(ValidationError):
        problems += combination_problems(Settings.model_validate(repaired), broken)
    return None, problems


def _without(raw: dict[str, Any], locations: Sequence[tuple[int | str, ...]]) -> dict[str, Any]:
    repaired = copy.deepcopy(raw)
    for location in locations:
        node: Any = repaired
        keys = [key for key in location if not _is_branch(key)]
        for key in keys[:-1]:
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, dict) and keys:
            node.pop(keys[-1], None)
    # What has no default is taken from any valid stand-in, so that the rest can still be judged together.
    for section, values in _STAND_INS.items():
        if isinstance(repaired.get(section, {}), dict):
            repaired[section] = {**values, **repaired.get(section, {})}
    return repaired


_STAND_INS: dict[str, dict[str, Any]] = {
    "length": {"name": "?", "max_tokens": 1},
    "model": {"name": "?", "source": "tiny", "window": 2**40},
    "data_mix": {"name": "?"},
    "scenario": {"name": "?", "tasks": {}},
    "trainer": {"name": "?"},
    "paths": {"outputs": "outputs", "cache": "cache"},
}


def _is_branch(key: int | str) -> bool:
    """Pydantic names the member of a union in the location; it is no key of the config."""
    return isinstance(key, str) and bool(re.fullmatch(r"int|str|float|bool|none|constrained-.*|.*[\[(].*", key))


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(key) for key in location if not _is_branch(key))


_LONGEST = 200
"""Characters of a value in a message."""


class _Shown:
    """A value in messages: written as it is, or only its beginning."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        shown = repr(self.value)
        return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown):,} characters)"


def _as_list(value: Any) -> str:
    """What was meant as a list, in one pair of brackets: ``[build;train]`` and ``'[build`` are lists too."""
    parts = re.split(r"[,;]", re.sub(r"[\[\]'\"]", "", str(value)))
    return f"[{','.join(part.strip() for part in parts if part.strip())}]"


def _problem(group: Sequence[Any]) -> str:
    detail = group[0]
    key, value = _dotted(detail["loc"]), detail["input"]
    shown = _Shown(value)
    if detail["type"] == "missing":
        return f"{key}: is missing; give it a value"
    section = _section(detail["loc"])
    if detail["type"] == "extra_forbidden":
        siblings = sorted(section.section.model_fields) if section and section.section else []
        close = difflib.get_close_matches(str(detail["loc"][-1]), siblings, n=1)
        prefix = key.rpartition(".")[0]
        hint = f"did you mean {prefix + '.' if prefix else ''}{close[0]}?" if close else f"known: {', '.join(siblings)}"
        if not prefix and (inside := [name for name in siblings if _holds(name, key)]):
            at = " or ".join(f"{name}.{key}" for name in inside)
            hint = f"did you mean {at}? In a file it stands indented below {' or '.join(inside)}"
        if re.search("[./]", last := str(detail["loc"][-1])):
            return f"{key} = {shown!r}: {last} is one key to YAML; in a file {as_written(last)}"
        return f"{key} = {shown!r}: unknown key; {hint}"
    kinds = {item["type"] for item in group}
    if "empty_text" in kinds:
        unset = "is empty (a shell variable that is not set?)"
        nullable = section and (kind := section.of(str(detail["loc"][-1]))) and kind.nullable
        return f"{key} = {shown!r}: {unset}; give a value{', or null' if nullable else ''}"
    if "string_type" in kinds and isinstance(value, bool | int | float):
        return f"{key} = {shown!r}: should be text; quote it where it is written, '{value}'"
    if kinds == {"list_type"} and isinstance(value, str | int | float) and not _nested(section, detail["loc"]):
        return f"{key} = {shown!r}: should be a list; write {_as_list(value)}: {key}={_as_list(value)}"
    if "model_type" in kinds:
        return f"{key} = {shown!r}: should be a section; give its keys, {key}.KEY=VALUE"
    if "string_pattern_mismatch" in kinds and isinstance(value, str) and re.search(r"[\x00-\x1f\x7f]", value):
        return f"{key} = {shown!r}: holds a line break, a tab or another control character; leave it out"
    # "Input should be a valid number", "List should have at least 2 items after validation, not 1"
    rules = [re.sub(r"^\w+ should (be )?| after validation", "", str(item["msg"])) for item in group]
    verb = "" if rules[0].startswith("have ") else "be "
    return f"{key} = {shown!r}: should {verb}{' or '.join(rules)}; change the value"


def _holds(section: str, key: str) -> bool:
    kind = ROOT.of(section)
    return bool(kind and kind.section and key in kind.section.model_fields)


def _nested(section: Kind | None, location: Sequence[int | str]) -> bool:
    """Whether a setting takes a list of lists."""
    kind = section.of(str(location[-1])) if section else None
    return bool(kind and kind.element and kind.element.element)


def _section(location: tuple[int | str, ...]) -> Kind | None:
    """The section that a location's last key stands in."""
    kind: Kind | None = ROOT
    for key in location[:-1]:
        if not _is_branch(key) and isinstance(key, str):
            kind = kind.of(key) if kind else None
    return kind
