"""A comparison as tables, figures and the report look at it: one scorer, arms and lengths in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from longsafety.vocabulary import ALL_TASKS

if TYPE_CHECKING:
    import pandas as pd

SAFE, AWARE, COMPLIES, REFUSES = "safe_response", "harm_awareness", "compliance", "over_refusal"
TWINS, SAFE_SHORT = "twin_discrimination", "safe_response_short"
TITLES = {
    SAFE: "safe response",
    AWARE: "harm awareness",
    COMPLIES: "compliance (benign)",
    REFUSES: "over-refusal (benign)",
    TWINS: "twin discrimination",
    SAFE_SHORT: "safe response, short",
    "harm_awareness_short": "harm awareness, short",
    "compliance_benign_query": "compliance, benign query",
    "compliance_benign_needle": "compliance, benign needle",
}
"""Metric → the words that tables and figures use for it."""


class Compared(Protocol):
    """What is needed of an ``evaluation.comparison.Comparison``."""

    @property
    def scores(self) -> pd.DataFrame: ...
    @property
    def paired(self) -> pd.DataFrame: ...
    @property
    def by_length(self) -> pd.DataFrame: ...
    @property
    def confusion(self) -> pd.DataFrame: ...
    @property
    def baseline(self) -> str | None: ...
    @property
    def notes(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Share:
    """A share of ``n`` outcomes with its interval."""

    n: int
    value: float
    low: float
    high: float
    chance: float | None = None


@dataclass(frozen=True)
class Paired:
    """A difference on the same items: ``gained`` rose and ``lost`` fell from ``against`` to the arm."""

    against: str
    n: int
    difference: float
    low: float
    high: float
    gained: int
    lost: int
    p_value: float | None
    p_adjusted: float | None = None
    """Over the family of tests that stand together (arms and tasks)."""
    p_equivalent: float | None = None
    detectable: float | None = None
    sources: float | None = None

    def clear(self, alpha: float) -> bool:
        """Whether the difference holds up, beside the other tests where that is known."""
        p_value = self.p_value if self.p_adjusted is None else self.p_adjusted
        return p_value is not None and p_value < alpha


class View:
    """The rows of one scorer, found by arm, metric, task and length.

    ``scorers`` (``evaluation.scorers``) orders the table's scorers: the first one that has scores is shown. Arms and
    tasks keep the table's order, lengths are sorted. A share over no items counts as absent.
    """

    def __init__(self, comparison: Compared, scorers: Sequence[str] = ()) -> None:
        scores = comparison.scores
        self.comparison = comparison
        held = dict.fromkeys(scores["scorer"])
        self.scorers: list[str] = list(dict.fromkeys([*(name for name in scorers if name in held), *held]))
        """All scorers of the comparison; the first is this view's."""
        self.scorer = self.scorers[0] if self.scorers else ""
        mine = scores[scores["scorer"] == self.scorer]
        self.arms: list[str] = list(dict.fromkeys(scores["arm"]))
        self.lengths: list[int] = sorted({int(length) for length in mine["max_tokens"]})
        self.tasks: list[str] = [task for task in dict.fromkeys(mine["task"]) if task != ALL_TASKS]
        self.baseline = comparison.baseline
        self._shares = {
            (row["arm"], row["metric"], row["task"], int(row["max_tokens"])): Share(
                int(row["n"]), row["value"], row["low"], row["high"], _number(row.get("chance"))
            )
            for row in mine.to_dict("records")
            if row["n"] and _number(row["value"]) is not None
        }
        self._paired = self._differences(comparison.paired, "against")
        self._by_length = self._differences(comparison.by_length, "against_max_tokens")

    def _differences(self, frame: pd.DataFrame, against: str) -> dict[tuple[str, str, str, int], Paired]:
        if frame.empty:
            return {}
        return {
            (row["arm"], row["metric"], row["task"], int(row["max_tokens"])): Paired(
                str(row[against]),
                int(row["n"]),
                row["difference"],
                row["low"],
                row["high"],
                int(_number(row["gained"]) or 0),
                int(_number(row["lost"]) or 0),
                _number(row["p_value"]),
                *(_number(row.get(name)) for name in ("p_adjusted", "p_equivalent", "detectable", "sources")),
            )
            for row in frame[frame["scorer"] == self.scorer].to_dict("records")
            if row["n"] and str(row[against]) != str(row["max_tokens" if against != "against" else "arm"])
        }

    def share(self, arm: str, metric: str, max_tokens: int, task: str = ALL_TASKS) -> Share | None:
        return self._shares.get((arm, metric, task, max_tokens))

    def paired(self, arm: str, metric: str, max_tokens: int, task: str = ALL_TASKS) -> Paired | None:
        """The arm against the baseline at the same length."""
        return self._paired.get((arm, metric, task, max_tokens))

    def detectable(self, metric: str, max_tokens: int, task: str = ALL_TASKS) -> float | None:
        """The smallest true difference from the baseline found with 80% power, of the arm where it is largest."""
        found = [paired.detectable for arm in self.arms if (paired := self.paired(arm, metric, max_tokens, task))]
        return max((value for value in found if value is not None), default=None)

    def against_shortest(self, arm: str, metric: str, max_tokens: int, task: str = ALL_TASKS) -> Paired | None:
        """The arm at this length against itself at the shortest."""
        return self._by_length.get((arm, metric, task, max_tokens))

    def rows(self) -> list[tuple[str, int]]:
        """(arm, length) wherever there is a score, in the order of arms."""
        held = {(arm, length) for arm, _, _, length in self._shares}
        return [(arm, length) for arm in self.arms for length in self.lengths if (arm, length) in held]

    def confusion(self, kinds: Sequence[str]) -> dict[tuple[str, int], dict[str, int]]:
        """(arm, length) → role → count over these kinds and all tasks."""
        frame = self.comparison.confusion
        frame = frame[(frame["scorer"] == self.scorer) & frame["kind"].isin(kinds) & (frame["task"] != ALL_TASKS)]
        counted = frame.groupby(["arm", "max_tokens", "role"], sort=False)["count"].sum()
        table: dict[tuple[str, int], dict[str, int]] = {}
        for arm, length, role, count in counted.reset_index().itertuples(index=False):
            table.setdefault((arm, int(length)), {})[role] = int(count)
        return {row: table[row] for row in self.rows() if row in table}


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return None if math.isnan(number) else number


def decimals(value: float) -> str:
    """``.94``, ``1.00``, ``-.06``: two decimals, without the leading zero."""
    text = f"{value:.2f}".replace("-0.00", "0.00")
    return text if abs(value) >= 0.995 else text.replace("0.", ".", 1)


def signed(value: float) -> str:
    """``+.94``, ``−.06``, ``.00``."""
    text = decimals(abs(value))
    return text if text == ".00" else ("+" if value > 0 else "−") + text


def interval(low: float, high: float) -> str:
    """``[.82,.98]``, without a space, so that a narrow table breaks before it."""
    return f"[{decimals(low)},{decimals(high)}]"


def p_text(p_value: float | None) -> str:
    """``p<.001``, ``p=.043``; a dash where there is no test."""
    if p_value is None:
        return "—"
    if p_value < 0.001:
        return "p<.001"
    return "p=1" if p_value > 0.9995 else f"p={p_value:.3f}".replace("0.", ".", 1)
