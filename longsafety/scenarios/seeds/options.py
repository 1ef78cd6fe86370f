"""A user's own options: which tasks they serve, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Roles = Mapping[str, Mapping[str, Sequence[str]]]
"""``task`` of a seed item → the tasks that take it, each with its roles."""


def check_options(options: Mapping[str, Any], takers: Mapping[str, Sequence[str]]) -> None:
    """Raises ValueError, ``options… = value: rule; fix``, for options that none of the tasks that take the item shows.

    They are role → wordings, for every task with these roles, or task → these.
    """
    if not any(isinstance(part, Mapping) for part in options.values()):
        _check_wordings("options", options, list({tuple(roles) for roles in takers.values()}))
        return
    for task, own in options.items():
        if task not in takers:
            raise ValueError(
                f"options.{task}: no such task takes this item; must be one of {', '.join(takers)}; rename it"
            )
        if not isinstance(own, Mapping):
            raise ValueError(f"options.{task} = {own!r}: stands beside tasks; give a mapping of roles to wordings")
        _check_wordings(f"options.{task}", own, [tuple(takers[task])])


def _check_wordings(key: str, options: Mapping[str, Any], allowed: Sequence[Sequence[str]]) -> None:
    if not any({*options} == {*roles} for roles in allowed):
        named = " or ".join(", ".join(roles) for roles in allowed)
        raise ValueError(f"{key} = {{{', '.join(options)}}}: must have the roles {named}; give each its wordings")
    for role, wordings in options.items():
        if isinstance(wordings, Mapping) or not wordings or not all(text.strip() for text in wordings):
            raise ValueError(f"{key}.{role} = {_shown(wordings)}: a wording is missing or empty; give texts")
    counted = Counter(text.strip() for wordings in options.values() for text in wordings)
    if again := [text for text, count in counted.items() if count > 1]:
        raise ValueError(f"{key}: {again[0]!r} stands twice; two options cannot read the same, word one differently")


def _shown(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)
