"""Compares runs on the same items: each arm with the baseline, and each longer length with the shortest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.answers import ITEM
from longsafety.evaluation.scores.comparison import TRAININGS, Arm, Comparison
from longsafety.evaluation.scores.controls import control_table
from longsafety.evaluation.scores.pairing import NAMED, Outcomes, one_task_name, pair_arms, pair_lengths
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
from longsafety.evaluation.scores.shares import SIGNED
from longsafety.evaluation.scores.statistics import (
    Floats,
    cluster_error,
    cluster_interval,
    detectable,
    equivalence,
    false_discovery,
    mcnemar_exact,
    seed_test,
)
from longsafety.settings import Effect
from longsafety.vocabulary import ALL_TASKS

_COUNTS = ["n", "seeds", "gained", "lost"]
_ONLY = ["only_arm", "only_against"]
_RESULTS = [
    *("n", "seeds", "difference", "low", "high", "gained", "lost", "p_value", "p_adjusted", "p_mcnemar"),
    *("p_equivalent", "detectable"),
]


def compare(
    arms: Sequence[Arm],
    *,
    baseline: str | None,
    baselines: Mapping[str, str] | None = None,
    contrasts: Sequence[Sequence[str]] = (),
    effects: Sequence[Effect] = (),
    scoring: Scoring,
    confidence: float,
    equivalence_margin: float,
) -> Comparison:
    """Scores of all arms, and paired differences on the items that both sides of a comparison answered.

    Arms with the same label are one arm, at several lengths or of several trainings; an item's outcome is the mean over
    the trainings. ``baseline`` None: the first arm. ``baselines``: arm → another baseline of its own. ``contrasts``:
    other pairs (arm, against) to be tested. ``effects``: pairs that differ in a swept setting, tested apart.
    ``equivalence_margin``: a smaller difference counts as none.

    Raises:
        ConfigError: ``baseline`` is no arm's label; official scoring without letters.
        DataError: there is no arm, or two of one label answer the same items at the same length.
    """
    answers = _by_label(arms)
    renamed = one_task_name(answers)
    labels = list(answers)
    baseline = labels[0] if baseline is None else baseline
    if baseline not in labels:
        raise ConfigError([f"baseline = {baseline}: must be the label of an arm; choose one of {', '.join(labels)}"])
    trained = {label: [outcomes(table, scoring) for table in tables.values()] for label, tables in answers.items()}
    results = [_averaged(tables) for tables in trained.values()]
    joined = Outcomes.join(results)
    own = dict.fromkeys(labels, baseline) | dict(baselines or {})
    tested = [(label, own[label]) for label in labels if label != own[label]]
    for arm, against in contrasts:
        if unknown := [name for name in (arm, against) if name not in labels]:
            raise ConfigError([
                f"contrasts = [{arm}, {against}]: {unknown[0]} is the label of no arm; choose from {', '.join(labels)}"
            ])  # fmt: skip
        if (arm, against) not in tested:
            tested.append((arm, against))
    paired, notes = pair_arms(joined, labels, tested)
    by_length, more_notes = pair_lengths(joined, labels)
    test = partial(_test, confidence=confidence, margin=equivalence_margin)
    varied, _ = pair_arms(joined, labels, [(effect.arm, effect.against) for effect in effects])
    return Comparison(
        scores=_stack(labels, [score_outcomes(result, confidence=confidence) for result in results]),
        paired=test(paired, ["arm", "against", *CELL], sides=_ONLY),
        by_length=test(by_length, ["arm", *CELL, "against_max_tokens"]),
        confusion=_stack(labels, [_confusion(list(tables.values())) for tables in answers.values()]),
        trainings=_trainings(trained, confidence),
        controls=control_table(dict(zip(labels, results, strict=True)), confidence=confidence),
        baseline=baseline,
        notes=notes + more_notes + renamed,
        baselines=own,
        effects=_effects(test(_of_effects(varied, effects), [*_EFFECT, *CELL])),
    )


_EFFECT = ["key", "value", "against_value", "arm", "against"]


def _of_effects(pairs: Sequence[pd.DataFrame], effects: Sequence[Effect]) -> list[pd.DataFrame]:
    """The pairs, with the setting that their arms differ in."""
    named = zip(pairs, effects, strict=True)
    return [
        table.assign(key=effect.key, value=effect.value, against_value=effect.against_value)
        for table, effect in named
        if len(table)
    ]


def _effects(table: pd.DataFrame) -> pd.DataFrame:
    """Effects of arms that were asked something in common, corrected over the arms and values of each setting."""
    table = table[table["n"] > 0].reset_index(drop=True)
    family = [table["key"], table["scorer"], table["metric"], table["task"] == ALL_TASKS]
    return table.assign(p_adjusted=table.groupby(family)["p_value"].transform(false_discovery) if len(table) else [])


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
    together = pd.concat([table.assign(training=at) for at, table in enumerate(trainings)], ignore_index=True)
    item = [*ITEM, "seed_id"]
    answered = together.drop_duplicates([*item, "training"]).groupby(item).size().rename("trainings")
    # What an answer was made from depends on the other answers of its training.
    firsts = {"pair_id": "first", "kind": "first", "source": "first", "chance": "mean"}
    groups = together.groupby([*CELL, *NAMED], sort=False)
    found = groups.agg({**firsts, "value": "mean"}).assign(sum=groups["value"].sum()).reset_index()
    found = found.merge(answered.reset_index(), on=item, how="left")
    # A training without an unparsed answer has no rows of such metrics.
    return found.assign(value=found["value"].where(~found["metric"].isin(COUNTED), found["sum"] / found["trainings"]))


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


def _test(
    pairs: list[pd.DataFrame], keys: list[str], *, confidence: float, margin: float, sides: Sequence[str] = ()
) -> pd.DataFrame:
    """Differences of each cell, and over all tasks, with their intervals and tests; ``sides``: columns to be summed."""
    if not pairs:
        whole = {"max_tokens", "against_max_tokens", *_COUNTS, *sides}
        kinds = {key: "int64" if key in whole else "str" for key in keys}
        kinds |= {name: "int64" if name in whole else "float64" for name in (*_RESULTS, *sides)}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    rows = pd.concat(pairs, ignore_index=True)
    found = rows["difference"]
    fraction = found.notna() & ~found.isin([-1.0, 0.0, 1.0])
    counted = rows.assign(n=found.notna(), sum=found.fillna(0.0), gained=found > 0, lost=found < 0, part=fraction)
    table = with_all_tasks(counted.groupby(keys, sort=False)[["n", "sum", "gained", "lost", "part", *sides]].sum())
    table["difference"] = table["sum"] / table["n"].where(table["n"] > 0)
    rows = pd.concat([rows, rows.assign(task=ALL_TASKS)], ignore_index=True).dropna(subset="difference")
    clusters = rows.groupby([*keys, "source"], sort=False)["difference"].agg(["sum", "size"])
    sums, sizes = clusters["sum"].to_numpy(dtype=float), clusters["size"].to_numpy()
    places: Any = clusters.groupby(level=keys, sort=False).indices
    metric = keys.index("metric")
    measured = {cell: _measured(sums[at], sizes[at], confidence, _most(cell[metric])) for cell, at in places.items()}
    nothing = (0, np.nan, np.nan, np.nan, np.nan, False)
    of_cells = [measured.get(cell, nothing) for cell in table[keys].itertuples(index=False, name=None)]
    table[["seeds", "low", "high", "error", "p_value", "once"]] = np.array(of_cells, dtype=float).reshape(-1, 6)
    once = (table["once"] > 0) & (table["n"] > 0) & (table["part"] == 0)
    table["p_mcnemar"] = np.where(once, mcnemar_exact(table["gained"], table["lost"]), np.nan)
    family = [table["scorer"], table["metric"], table["max_tokens"], table["task"] == ALL_TASKS]
    table["p_adjusted"] = table.groupby(family)["p_value"].transform(false_discovery)
    table["p_equivalent"] = equivalence(table["difference"], table["error"], margin, clusters=table["seeds"])
    least = detectable(table["error"], table["seeds"], confidence=confidence)
    possible = table["p_value"].notna() & (least <= table["metric"].map(_most))
    table["detectable"] = np.where(possible, least, np.nan)
    return table.astype(dict.fromkeys([*_COUNTS, *sides], "int64"))[[*keys, *_RESULTS, *sides]]


def _most(metric: str) -> float:
    """The greatest difference that two outcomes of a metric may have."""
    return 2.0 if metric in SIGNED else 1.0


def _measured(sums: Floats, sizes: NDArray[np.int64], confidence: float, most: float) -> tuple[float, ...]:
    """Clusters, interval, error, p-value (nan where no outcome could be significant), whether each stands once."""
    low, high = cluster_interval(sums, sizes, confidence, most=most)
    return len(sums), low, high, cluster_error(sums, sizes), seed_test(sums, confidence), bool((sizes == 1).all())
