"""A sentence of the headline, and the tests that the sentences rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """A sentence and its kind."""

    kind: Literal["result", "warning", "caveat"]
    text: str


@dataclass(frozen=True)
class Test:
    """A test of the headline: what it is about, and its p-value before any correction."""

    key: tuple[str, ...]
    p_value: float


def significant(tests: Sequence[Test], alpha: float) -> set[tuple[str, ...]]:
    """The keys of the tests that are significant after Holm's correction over all of them."""
    if not tests:
        return set()
    from statsmodels.stats.multitest import multipletests

    rejected = multipletests([test.p_value for test in tests], alpha=alpha, method="holm")[0]
    return {test.key for test, clear in zip(tests, rejected, strict=True) if clear}


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
