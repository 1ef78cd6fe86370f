"""What tables, figures and the report read of a comparison: one scorer's shares and differences, by arm and length."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from longsafety.vocabulary import ALL_TASKS

if TYPE_CHECKING:
    import pandas as pd

SAFE, AWARE, COMPLIES, REFUSES = "safe_response", "harm_awareness", "compliance", "over_refusal"
RIGHT, REVERSED, DIFFERENCE, SWAP = "pair_correct", "pair_reversed", "pair_difference", "swap_contrast"
ACCURACY = "accuracy"
ABSENT, SHORT = "ignores_absent", "_short"
TITLES = {
    DIFFERENCE: "pairs right − reversed",
    SWAP: "swap contrast",
    RIGHT: "pairs right",
    REVERSED: "pairs reversed",
    SAFE: "safe response",
    COMPLIES: "compliance (benign)",
    AWARE: "harm awareness",
    REFUSES: "over-refusal (benign)",
    ACCURACY: "right answers",
    ABSENT: "ignores, needle absent",
    f"{DIFFERENCE}{SHORT}": "pairs right − reversed, short",
    f"{SWAP}{SHORT}": "swap contrast, short",
    f"{SAFE}{SHORT}": "safe response, short",
    f"{COMPLIES}{SHORT}": "compliance, short",
    f"{AWARE}{SHORT}": "harm awareness, short",
    "compliance_benign_query": "compliance, benign query",
    "compliance_benign_needle": "compliance, benign needle",
}
"""Metric → its name in tables and figures."""
_MORE = ("p_adjusted", "p_equivalent", "detectable", "only_arm", "only_against")
TESTED = (DIFFERENCE, SWAP, SAFE, COMPLIES, ACCURACY)
"""The metrics of the headline, on which arms are tested against each other."""


class Compared(Protocol):
    """The part of ``evaluation.scores.comparison.Comparison`` that is shown."""

    @property
    def scores(self) -> pd.DataFrame: ...
    @property
    def paired(self) -> pd.DataFrame: ...
    @property
    def by_length(self) -> pd.DataFrame: ...
    @property
    def confusion(self) -> pd.DataFrame: ...
    @property
    def trainings(self) -> pd.DataFrame: ...
    @property
    def controls(self) -> pd.DataFrame: ...
    @property
    def baseline(self) -> str | None: ...
    @property
    def baselines(self) -> Mapping[str, str]: ...
    @property
    def effects(self) -> pd.DataFrame: ...
    @property
    def notes(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Share:
    """A share of ``n`` outcomes, or a mean difference within pairs, with its interval."""

    n: int
    value: float
    low: float
    high: float
    seeds: int
    """Seed items that the outcomes were made of."""
    chance: float | None = None
    p_value: float | None = None
    """Against the metric's null, where it has one."""


@dataclass(frozen=True)
class Paired:
    """A difference on the same items. From ``against`` to the arm, ``gained`` items rose and ``lost`` items fell."""

    against: str
    n: int
    seeds: int
    difference: float
    low: float
    high: float
    gained: int
    lost: int
    p_value: float | None
    p_adjusted: float | None = None
    """Corrected over all arms and tasks that are tested together."""
    p_equivalent: float | None = None
    detectable: float | None = None
    only_arm: float | None = None
    """Outcomes that the arm alone has, and in the next what it is compared with; these are left out."""
    only_against: float | None = None

    @property
    def left_out(self) -> str:
        """``2 and 3``: what is left out of both sides; empty where they have the same items."""
        counts = int(self.only_arm or 0), int(self.only_against or 0)
        return f"{counts[0]} and {counts[1]}" if any(counts) else ""

    def clear(self, alpha: float) -> bool:
        """Whether the difference is significant, after the correction for several tests where there is one."""
        p_value = self.p_value if self.p_adjusted is None else self.p_adjusted
        return p_value is not None and p_value < alpha


class ComparisonView:
    """The shares and differences of one scorer, found by arm, metric, task and length.

    The scorer is the first of ``scorers`` (``evaluation.scorers``) that has scores. Arms and tasks keep the order of
    the table; lengths are sorted. A length is ``length.bench_tokens``: the items' own, not the training samples'.
    A share over no items counts as absent.
    """

    def __init__(self, comparison: Compared, scorers: Sequence[str] = ()) -> None:
        scores = comparison.scores
        self.comparison = comparison
        held = dict.fromkeys(scores["scorer"])
        self.scorers: list[str] = list(dict.fromkeys([*(name for name in scorers if name in held), *held]))
        """All scorers of the comparison; the first one is shown here."""
        self.scorer = self.scorers[0] if self.scorers else ""
        mine = scores[scores["scorer"] == self.scorer]
        self.arms: list[str] = list(dict.fromkeys(scores["arm"]))
        self.lengths: list[int] = sorted({int(length) for length in mine["max_tokens"]})
        self.tasks: list[str] = [task for task in dict.fromkeys(mine["task"]) if task != ALL_TASKS]
        self._own = {arm: comparison.baselines.get(arm, comparison.baseline) for arm in self.arms}
        self.baselines: list[str] = list(dict.fromkeys(own for own in self._own.values() if own is not None))
        """One, or one for each scenario, language, benchmark or model that the sweep varies."""
        self.baseline = (
            self.baselines[0] if len(self.baselines) == 1 else "its own baseline" if self.baselines else None
        )
        """The arm's name, or words for several."""
        self._shares = {
            (row["arm"], row["metric"], row["task"], int(row["max_tokens"])): Share(
                int(row["n"]),
                row["value"],
                row["low"],
                row["high"],
                int(row["seeds"]),
                _number(row["chance"]),
                _number(row["p_value"]),
            )
            for row in mine.to_dict("records")
            if row["n"] and _number(row["value"]) is not None
        }
        self._paired = self._differences(comparison.paired, "against")
        self.contrasts: list[tuple[str, str]] = list(
            dict.fromkeys((arm, against) for arm, against, *_ in self._paired if against != self._own[arm])
        )
        """Pairs (arm, against) that were tested besides those against the baseline."""
        self._by_length = {
            (arm, metric, task, length): paired
            for (arm, _, metric, task, length), paired in self._differences(
                comparison.by_length, "against_max_tokens"
            ).items()
        }
        self._names: Mapping[str, str] = {}

    def renamed(self, names: Mapping[str, str]) -> ComparisonView:
        """The same with other names of the arms, for figures."""
        if all(old == new for old, new in names.items()):
            return self
        other = copy.copy(self)
        other.arms = [names[arm] for arm in self.arms]
        other.baseline = None if self.baseline is None else names.get(self.baseline, self.baseline)
        other._shares = {(names[arm], m, t, n): share for (arm, m, t, n), share in self._shares.items()}
        other._paired = {(names[arm], names.get(by, by), m, t, n): d for (arm, by, m, t, n), d in self._paired.items()}
        other._by_length = {(names[arm], m, t, n): d for (arm, m, t, n), d in self._by_length.items()}
        other.contrasts = [(names[arm], names[by]) for arm, by in self.contrasts]
        other._names = names
        return other

    def _differences(self, frame: pd.DataFrame, against: str) -> dict[tuple[str, str, str, str, int], Paired]:
        """Arm, what it is compared with, metric, task and length → the difference."""
        if frame.empty:
            return {}
        return {
            (row["arm"], str(row[against]), row["metric"], row["task"], int(row["max_tokens"])): Paired(
                str(row[against]),
                int(row["n"]),
                int(row["seeds"]),
                row["difference"],
                row["low"],
                row["high"],
                int(_number(row["gained"]) or 0),
                int(_number(row["lost"]) or 0),
                _number(row["p_value"]),
                *(_number(row.get(name)) for name in _MORE),
            )
            for row in frame[frame["scorer"] == self.scorer].to_dict("records")
            if row["n"] and str(row[against]) != str(row["max_tokens" if against != "against" else "arm"])
        }

    def share(self, arm: str, metric: str, max_tokens: int, task: str = ALL_TASKS) -> Share | None:
        return self._shares.get((arm, metric, task, max_tokens))

    def paired(self, arm: str, metric: str, max_tokens: int, task: str = ALL_TASKS) -> Paired | None:
        """The arm compared with its baseline at the same length."""
        return self.contrast(arm, str(self._own.get(arm)), metric, max_tokens, task)

    def own_baseline(self, arm: str) -> str | None:
        """The arm that this one is compared with; itself where there is none."""
        return self._own.get(arm)

    def is_baseline(self, arm: str) -> bool:
        return arm in self.baselines

    def contrast(self, arm: str, against: str, metric: str, max_tokens: int, task: str = ALL_TASKS) -> Paired | None:
        """The arm compared with another at the same length."""
        return self._paired.get((arm, against, metric, task, max_tokens))

    def nothing_common(self, arm: str, against: str, max_tokens: int) -> bool:
        """Whether both were scored at this length, and on no item in common."""
        both = {name for name, length in self.rows() if length == max_tokens} >= {arm, against}
        return both and not any(self.contrast(arm, against, metric, max_tokens) for metric in TITLES)

    def detectable(self, metric: str, max_tokens: int, task: str = ALL_TASKS) -> float | None:
        """The smallest true difference from the baseline that is found with 80% power, for the worst arm."""
        found = [paired.detectable for arm in self.arms if (paired := self.paired(arm, metric, max_tokens, task))]
        return max((value for value in found if value is not None), default=None)

    def against_shortest(self, arm: str, metric: str, max_tokens: int, task: str = ALL_TASKS) -> Paired | None:
        """The arm at this length compared with itself at the shortest."""
        return self._by_length.get((arm, metric, task, max_tokens))

    def rows(self) -> list[tuple[str, int]]:
        """Every (arm, length) that has a score, in the order of arms."""
        held = {(arm, length) for arm, _, _, length in self._shares}
        return [(arm, length) for arm in self.arms for length in self.lengths if (arm, length) in held]

    def has(self, metric: str) -> bool:
        """Whether any arm has this score over all tasks."""
        return any(self.share(arm, metric, length) for arm, length in self.rows())

    @property
    def tested(self) -> list[str]:
        """The metrics on which arms are tested: those of the headline; of other programs' questions those that they
        have."""
        if self.has(ACCURACY):
            return [metric for metric in TESTED if self.has(metric)]
        return [metric for metric in TESTED if metric != ACCURACY]

    @property
    def only_questions(self) -> bool:
        """Whether all answers are to other programs' questions, which are right or wrong."""
        return self.has(ACCURACY) and not self.has(SAFE) and not self.has(COMPLIES)

    def controls(self, task: str = ALL_TASKS) -> list[dict[str, Any]]:
        """Rows of ``evaluation.scores.controls.CONTROLS``: the arms against their blind controls, by metric."""
        frame = self.comparison.controls
        rows = frame[(frame["scorer"] == self.scorer) & (frame["task"] == task)].to_dict("records")
        found = [
            {str(name): value for name, value in row.items()}
            | {name: _number(row[name]) for name in ("p_value", "p_adjusted")}
            for row in rows
        ]
        return sorted(found, key=lambda row: list(TITLES).index(row["metric"]))

    def confusion(self, kinds: Sequence[str]) -> dict[tuple[str, int], dict[str, int]]:
        """(arm, length) → role → number of answers, over these kinds and all tasks."""
        frame = self.comparison.confusion
        frame = frame[(frame["scorer"] == self.scorer) & frame["kind"].isin(kinds) & (frame["task"] != ALL_TASKS)]
        counted = frame.groupby(["arm", "max_tokens", "role"], sort=False)["count"].sum()
        table: dict[tuple[str, int], dict[str, int]] = {}
        for arm, length, role, count in counted.reset_index().itertuples(index=False):
            table.setdefault((self._names.get(arm, arm), int(length)), {})[role] = int(count)
        return {row: table[row] for row in self.rows() if row in table}


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return None if math.isnan(number) else number
