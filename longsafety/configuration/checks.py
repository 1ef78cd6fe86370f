"""Impossible combinations of settings that are each right by themselves. No heavy import."""

from __future__ import annotations

from collections.abc import Iterator

from longsafety.configuration.checks_data import _data, _files, _lengths
from longsafety.configuration.checks_evaluation import _asked_of, _open, _recorded
from longsafety.configuration.checks_training import _hardware
from longsafety.settings import Settings


def combination_problems(settings: Settings, broken: frozenset[str]) -> list[str]:
    """Every violated rule as ``key = value: rule; fix``; rules over a broken key are left out."""
    return [
        line
        for keys, line in _rules(settings)
        if not any(key == wrong or key.startswith(f"{wrong}.") for key in keys for wrong in broken)
    ]


def _rules(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    yield from _lengths(settings)
    yield from _data(settings)
    yield from _files(settings)
    yield from _hardware(settings)
    yield from _recorded(settings)
    yield from _open(settings)
    yield from _asked_of(settings)
