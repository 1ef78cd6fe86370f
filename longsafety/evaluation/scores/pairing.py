"""Puts the outcomes of arms side by side and pairs them: arm with arm, and each longer length with the shortest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longsafety.evaluation.answers import ITEM
from longsafety.evaluation.scores.scoring import CELL, COUNTED
from longsafety.evaluation.scores.statistics import SAME, Floats
from longsafety.vocabulary import QUESTION

NAMED = ["item_id", "seed_id"]
"""The columns that name an item."""


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of all arms side by side: ``values[k, a]`` is arm ``a``'s for key ``k``, nan where it has none."""

    keys: pd.DataFrame
    """``CELL``, item_id and seed_id, and the item's source, a row each. Ids are unique among the items of one set of
    seed items, so an item is named by both."""
    values: Floats

    @classmethod
    def join(cls, arms: Sequence[pd.DataFrame]) -> Outcomes:
        columns = [arm.loc[~arm["metric"].isin(COUNTED)].set_index([*CELL, *NAMED])["value"] for arm in arms]
        joined = pd.concat(columns, axis=1, keys=range(len(columns)))
        keys = joined.index.to_frame(index=False)
        place = ["max_tokens", *NAMED]
        source = pd.concat([arm[[*place, "source"]] for arm in arms]).drop_duplicates(place)
        return cls(keys.merge(source, on=place, how="left", validate="m:1"), joined.to_numpy(dtype=float))

    def pairs(self, rows: NDArray[np.intp], arm: Floats, against: Floats) -> pd.DataFrame:
        """``CELL``, source and difference, nan where a side has no outcome.

        ``rows`` index ``keys``; ``arm`` and ``against`` hold the outcomes of these rows.
        """
        found = self.keys.iloc[rows][[*CELL, "source"]].reset_index(drop=True)
        difference = arm - against
        return found.assign(difference=np.where(np.abs(difference) < SAME, 0.0, difference))

    def shared_answers(self, first: Floats, second: Floats, rows: NDArray[np.intp]) -> tuple[int, int, int]:
        """Counts answers (an answer has several outcomes) that both sides have, only the first, and only the second."""
        answer = self.keys.iloc[rows].groupby([*ITEM, "seed_id"], sort=False).ngroup().to_numpy()
        width = answer.max(initial=-1) + 1
        one, other = (np.bincount(answer[~np.isnan(side)], minlength=width) > 0 for side in (first, second))
        return int((one & other).sum()), int((one & ~other).sum()), int((~one & other).sum())


def one_task_name(arms: Mapping[str, dict[str, pd.DataFrame]]) -> list[str]:
    """Gives documents of other programs' logs, in place, the task's name in the first arm that has them: programs name
    one task in several ways. A line for each name that is replaced."""
    first: dict[tuple[str, str], str] = {}
    notes: Counter[tuple[str, str, str]] = Counter()
    for label, trainings in arms.items():
        for name, table in trainings.items():
            mine = table["kind"] == QUESTION
            if not mine.any():
                continue
            keys = list(zip(*(table[column] for column in NAMED), strict=True))
            tasks = [
                first.setdefault(key, task) if asked else task
                for key, task, asked in zip(keys, table["task"], mine, strict=True)
            ]
            notes.update((label, old, new) for old, new in zip(table["task"], tasks, strict=True) if old != new)
            trainings[name] = table.assign(task=pd.Series(tasks, index=table.index, dtype="str"))
    return [f"{label}: {n} answers of {old} are shown as {new}, as their documents are named in the arm before."
            for (label, old, new), n in notes.items()]  # fmt: skip


def pair_arms(
    joined: Outcomes, labels: list[str], tested: Sequence[tuple[str, str]]
) -> tuple[list[pd.DataFrame], list[str]]:
    """Pairs arms; a note where their items differ."""
    pairs, notes = [], []
    every = np.arange(len(joined.keys))
    for label, other in tested:
        arm, against = (joined.values[:, labels.index(name)] for name in (label, other))
        rows = np.flatnonzero(~np.isnan(arm) | ~np.isnan(against))
        only = {"only_arm": np.isnan(against[rows]), "only_against": np.isnan(arm[rows])}
        pairs.append(joined.pairs(rows, arm[rows], against[rows]).assign(arm=label, against=other, **only))
        shared, only_arm, only_other = joined.shared_answers(arm, against, every)
        if not shared:
            notes.append(
                f"{label} is not compared with {other}: no item was put to both; left out of the pairing are "
                f"{only_arm} answers that only {label} has and {only_other} that only {other} has."
            )
        elif only_arm or only_other:
            notes.append(
                f"{label} against {other}: {shared} answers are paired; left out of the pairing are "
                f"{only_arm} that only {label} has and {only_other} that only {other} has."
            )
    return pairs, notes


def pair_lengths(joined: Outcomes, labels: list[str]) -> tuple[list[pd.DataFrame], list[str]]:
    """Pairs every arm at each longer length with itself at its shortest; a note where the items differ."""
    pairs, notes = [], []
    length = joined.keys["max_tokens"].to_numpy()
    lengths, column = np.unique(length, return_inverse=True)
    item = joined.keys.groupby(["scorer", "metric", "task", *NAMED], sort=False).ngroup().to_numpy()
    place_of = np.full((item.max(initial=-1) + 1, len(lengths)), -1)
    place_of[item, column] = np.arange(len(item))
    for place, label in enumerate(labels):
        # The index -1 (no such item at that length) reads the nan appended here.
        arm = np.append(joined.values[:, place], np.nan)
        answered = lengths[np.bincount(column[~np.isnan(arm[:-1])], minlength=len(lengths)) > 0]
        for longer in answered[1:]:
            at = [place_of[:, int(np.searchsorted(lengths, tokens))] for tokens in (longer, answered[0])]
            rows = at[0][~np.isnan(arm[at[0]])]
            against = arm[at[1][item[rows]]]
            pairs.append(joined.pairs(rows, arm[rows], against).assign(arm=label, against_max_tokens=answered[0]))
            either = np.where(at[0] >= 0, at[0], at[1])
            shared, only_long, only_short = joined.shared_answers(arm[at[0]], arm[at[1]], either)
            if only_long or only_short:
                notes.append(
                    f"{label}, {longer} against {answered[0]} tokens: {shared} answers are paired; left out of the "
                    f"pairing are {only_long} asked only at {longer} and {only_short} only at {answered[0]}."
                )
    return pairs, notes
