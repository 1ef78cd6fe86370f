"""Compares runs on the same items: each arm with the baseline, and each longer length with the shortest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.answers import ITEM
from longsafety.evaluation.scores.comparison import TRAININGS, Arm, Comparison
from longsafety.evaluation.scores.controls import control_table
from longsafety.evaluation.scores.scoring import (
    CELL,
    COUNTED,
    HEADLINES,
    Scoring,
    confusion,
    outcomes,
    score_outcomes,
    with_all_tasks,
)
from longsafety.evaluation.scores.statistics import (
    Floats,
    cluster_error,
    cluster_interval,
    detectable,
    equivalence,
    false_discovery,
    mcnemar_exact,
    sign_flip,
    too_few,
)
from longsafety.vocabulary import ALL_TASKS

_COUNTS = ["n", "seeds", "gained", "lost"]
_RESULTS = [
    *("n", "seeds", "difference", "low", "high", "gained", "lost", "p_value", "p_adjusted", "p_mcnemar"),
    *("p_equivalent", "detectable"),
]
_SAME = 1e-9
"""Outcomes may be means over orders of the options; they are the same up to rounding."""


@dataclass(frozen=True)
class _Outcomes:
    """The outcomes of all arms side by side: ``values[k, a]`` is arm ``a``'s for key ``k``, nan where it has none."""

    keys: pd.DataFrame
    """``CELL`` and item_id, and the item's source, a row each."""
    values: Floats

    @classmethod
    def join(cls, arms: Sequence[pd.DataFrame]) -> _Outcomes:
        columns = [arm.loc[~arm["metric"].isin(COUNTED)].set_index([*CELL, "item_id"])["value"] for arm in arms]
        joined = pd.concat(columns, axis=1, keys=range(len(columns)))
        keys = joined.index.to_frame(index=False)
        source = pd.concat([arm[["item_id", "source"]] for arm in arms]).drop_duplicates("item_id")
        keys["source"] = keys["item_id"].map(source.set_index("item_id")["source"])
        return cls(keys, joined.to_numpy(dtype=float))

    def pairs(self, rows: NDArray[np.intp], arm: Floats, against: Floats) -> pd.DataFrame:
        """``CELL``, source and difference, nan where a side has no outcome.

        ``rows`` index ``keys``; ``arm`` and ``against`` hold the outcomes of these rows.
        """
        found = self.keys.iloc[rows][[*CELL, "source"]].reset_index(drop=True)
        difference = arm - against
        return found.assign(difference=np.where(np.abs(difference) < _SAME, 0.0, difference))

    def shared_answers(self, first: Floats, second: Floats, rows: NDArray[np.intp]) -> tuple[int, int, int]:
        """Counts answers (an answer has several outcomes) that both sides have, only the first, and only the second."""
        answer = self.keys.iloc[rows].groupby(ITEM, sort=False).ngroup().to_numpy()
        width = answer.max(initial=-1) + 1
        one, other = (np.bincount(answer[~np.isnan(side)], minlength=width) > 0 for side in (first, second))
        return int((one & other).sum()), int((one & ~other).sum()), int((~one & other).sum())


def compare(
    arms: Sequence[Arm],
    *,
    baseline: str | None,
    contrasts: Sequence[Sequence[str]] = (),
    scoring: Scoring,
    confidence: float,
    equivalence_margin: float,
) -> Comparison:
    """Scores of all arms, and paired differences on the items that both sides of a comparison answered.

    Arms with the same label are one arm, at several lengths or of several trainings; an item's outcome is the mean over
    the trainings. ``baseline`` None: the first arm. ``contrasts``: other pairs (arm, against) to be tested.
    ``equivalence_margin``: a smaller difference counts as none.

    Raises:
        ConfigError: ``baseline`` is no arm's label; official scoring without letters.
        DataError: there is no arm, or two of one label answer the same items at the same length.
    """
    answers = _by_label(arms)
    labels = list(answers)
    baseline = labels[0] if baseline is None else baseline
    if baseline not in labels:
        raise ConfigError([f"baseline = {baseline}: must be the label of an arm; choose one of {', '.join(labels)}"])
    trained = {label: [outcomes(table, scoring) for table in tables.values()] for label, tables in answers.items()}
    results = [_averaged(tables) for tables in trained.values()]
    joined = _Outcomes.join(results)
    tested = [(label, baseline) for label in labels if label != baseline]
    for arm, against in contrasts:
        if unknown := [name for name in (arm, against) if name not in labels]:
            raise ConfigError([
                f"contrasts = [{arm}, {against}]: {unknown[0]} is the label of no arm; choose from {', '.join(labels)}"
            ])  # fmt: skip
        if (arm, against) not in tested:
            tested.append((arm, against))
    paired, notes = _pair_arms(joined, labels, tested)
    by_length, more_notes = _pair_lengths(joined, labels)
    test = partial(_test, confidence=confidence, margin=equivalence_margin)
    return Comparison(
        scores=_stack(labels, [score_outcomes(result, confidence=confidence) for result in results]),
        paired=test(paired, ["arm", "against", *CELL]),
        by_length=test(by_length, ["arm", *CELL, "against_max_tokens"]),
        confusion=_stack(labels, [_confusion(list(tables.values())) for tables in answers.values()]),
        trainings=_trainings(trained, confidence),
        controls=control_table(dict(zip(labels, results, strict=True)), confidence=confidence),
        baseline=baseline,
        notes=notes + more_notes,
    )


def _by_label(arms: Sequence[Arm]) -> dict[str, dict[str, pd.DataFrame]]:
    """Label → training → answers at all lengths."""
    if not arms:
        raise DataError("no arm has answers: there is nothing to compare; run the stage `evaluate` first")
    parts: dict[str, dict[str, list[pd.DataFrame]]] = {}
    for arm in arms:
        parts.setdefault(arm.label, {}).setdefault(arm.training, []).append(arm.answers)
    joined = {
        label: {name: pd.concat(tables, ignore_index=True) for name, tables in trainings.items()}
        for label, trainings in parts.items()
    }
    for label, trainings in joined.items():
        for table in trainings.values():
            twice = table.duplicated([*ITEM, "order_index"])
            if twice.any():
                item, scorer, length = table.loc[twice, ITEM].iloc[0]
                rule = "an arm answers an item once with each scorer and length; give the runs different labels"
                raise DataError(
                    f"arm '{label}': item '{item}' ({scorer}, max_tokens {length}) is answered twice: {rule}"
                )
    return joined


def _averaged(trainings: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The outcomes of an arm: of each item the mean over the trainings."""
    if len(trainings) == 1:
        return trainings[0]
    together = pd.concat(trainings, ignore_index=True)
    keys = [name for name in together.columns if name not in ("value", "chance")]
    return together.groupby(keys, sort=False, dropna=False)[["value", "chance"]].mean().reset_index()


def _confusion(trainings: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The choices of all trainings together."""
    tables = [confusion(table) for table in trainings]
    if len(tables) == 1:
        return tables[0]
    together = pd.concat(tables, ignore_index=True)
    keys = [name for name in together.columns if name != "count"]
    return together.groupby(keys, sort=False)["count"].sum().reset_index()


def _trainings(trained: dict[str, list[pd.DataFrame]], confidence: float) -> pd.DataFrame:
    """The spread between an arm's trainings."""
    rows = []
    for label, tables in trained.items():
        if len(tables) < 2:
            continue
        scored = [score_outcomes(table, confidence=confidence).assign(training=at) for at, table in enumerate(tables)]
        every = pd.concat(scored, ignore_index=True)
        whole = every[(every["task"] == ALL_TASKS) & every["metric"].isin(HEADLINES)]
        for cell, part in whole.groupby(["scorer", "metric", "max_tokens"], sort=False):
            if len(part) > 1:
                values = part["value"]
                rows.append((label, *cell, len(part), values.mean(), values.std(), values.min(), values.max()))
    return pd.DataFrame(rows, columns=TRAININGS)


def _stack(labels: list[str], tables: list[pd.DataFrame]) -> pd.DataFrame:
    stacked = pd.concat(tables, ignore_index=True)
    stacked.insert(0, "arm", pd.Series(np.repeat(labels, [len(table) for table in tables]), dtype="str"))
    return stacked


def _pair_arms(
    joined: _Outcomes, labels: list[str], tested: Sequence[tuple[str, str]]
) -> tuple[list[pd.DataFrame], list[str]]:
    """Pairs arms; a note where their items differ."""
    pairs, notes = [], []
    every = np.arange(len(joined.keys))
    for label, other in tested:
        arm, against = (joined.values[:, labels.index(name)] for name in (label, other))
        rows = np.flatnonzero(~np.isnan(arm))
        pairs.append(joined.pairs(rows, arm[rows], against[rows]).assign(arm=label, against=other))
        shared, only_arm, only_other = joined.shared_answers(arm, against, every)
        if only_arm or only_other:
            notes.append(
                f"{label} against {other}: {shared} answers are paired; left out of the pairing are "
                f"{only_arm} that only {label} has and {only_other} that only {other} has."
            )
    return pairs, notes


def _pair_lengths(joined: _Outcomes, labels: list[str]) -> tuple[list[pd.DataFrame], list[str]]:
    """Pairs every arm at each longer length with itself at its shortest; a note where the items differ."""
    pairs, notes = [], []
    length = joined.keys["max_tokens"].to_numpy()
    lengths, column = np.unique(length, return_inverse=True)
    item = joined.keys.groupby(["scorer", "metric", "task", "item_id"], sort=False).ngroup().to_numpy()
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


def _test(pairs: list[pd.DataFrame], keys: list[str], *, confidence: float, margin: float) -> pd.DataFrame:
    """Differences of each cell, and over all tasks, with their intervals and tests."""
    if not pairs:
        whole = {"max_tokens", "against_max_tokens", *_COUNTS}
        kinds = {key: "int64" if key in whole else "str" for key in keys}
        kinds |= {name: "int64" if name in whole else "float64" for name in _RESULTS}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    rows = pd.concat(pairs, ignore_index=True)
    found = rows["difference"]
    counted = rows.assign(n=found.notna(), sum=found.fillna(0.0), gained=found > 0, lost=found < 0)
    table = with_all_tasks(counted.groupby(keys, sort=False)[["n", "sum", "gained", "lost"]].sum())
    table["difference"] = table["sum"] / table["n"].where(table["n"] > 0)
    rows = pd.concat([rows, rows.assign(task=ALL_TASKS)], ignore_index=True).dropna(subset="difference")
    clusters = rows.groupby([*keys, "source"], sort=False)["difference"].agg(["sum", "size"])
    measured = {
        cell: _measured(part["sum"].to_numpy(dtype=float), part["size"].to_numpy(), confidence)
        for cell, part in clusters.groupby(level=keys, sort=False)
    }
    nothing = (0, np.nan, np.nan, np.nan, np.nan, False)
    of_cells = [measured.get(cell, nothing) for cell in table[keys].itertuples(index=False, name=None)]
    table[["seeds", "low", "high", "error", "p_value", "once"]] = np.array(of_cells, dtype=float).reshape(-1, 6)
    once = (table["once"] > 0) & (table["n"] > 0)
    table["p_mcnemar"] = np.where(once, mcnemar_exact(table["gained"], table["lost"]), np.nan)
    family = [table["scorer"], table["metric"], table["max_tokens"], table["task"] == ALL_TASKS]
    table["p_adjusted"] = table.groupby(family)["p_value"].transform(false_discovery)
    table["p_equivalent"] = equivalence(table["difference"], table["error"], margin)
    table["detectable"] = detectable(table["error"], confidence=confidence)
    return table.astype(dict.fromkeys(_COUNTS, "int64"))[[*keys, *_RESULTS]]


def _measured(sums: Floats, sizes: NDArray[np.int64], confidence: float) -> tuple[float, ...]:
    """Clusters, interval, error, p-value (nan where no outcome could be significant), whether each stands once."""
    p_value = np.nan if too_few(len(sums), confidence) else sign_flip(sums)
    low, high = cluster_interval(sums, sizes, confidence)
    return len(sums), low, high, cluster_error(sums, sizes), p_value, bool((sizes == 1).all())
