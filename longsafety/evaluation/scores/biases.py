"""Beside the scores, what may be behind them: a liking for a letter, for a wording, for a place or for a length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from longsafety.evaluation.answers import UNPARSED
from longsafety.evaluation.scores.comparison import Arm
from longsafety.evaluation.scores.scoring import HEADLINES, Scoring, outcomes
from longsafety.evaluation.scores.statistics import wilson
from longsafety.vocabulary import ALL_TASKS, LETTERS

LIKED = 0.25
"""A letter named so much more often than its turn would have it is the model's, not the text's."""
_DEPTHS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


@dataclass(frozen=True)
class Controls:
    """Tables about all arms, empty where no answer tells."""

    letters: pd.DataFrame
    """arm, scorer, max_tokens, options, letter, n, value (share of the answers that name it), low, high (Wilson),
    chance (one in ``options``: the safe option is at each letter as often), prior (the mean probability of the letter
    among those shown; nan where no log-probabilities are)."""
    wordings: pd.DataFrame
    """arm, scorer, max_tokens, n (items with several wordings), spread (mean range over a role's wordings, nats a
    token), same (share of items where each wording alone makes the same choice)."""
    bins: pd.DataFrame
    """arm, scorer, max_tokens, metric, by (depth or tokens), from, to, n, value, low, high."""

    def save(self, folder: Path) -> None:
        """A CSV file for each table that has rows."""
        for field in fields(self):
            table: pd.DataFrame = getattr(self, field.name)
            if len(table):
                table.to_csv(folder / f"{field.name}.csv", index=False, float_format="%.4g")


def controls(arms: Sequence[Arm], *, scoring: Scoring, confidence: float) -> Controls:
    """All tables, from the arms' answers."""
    tables = {
        name: pd.concat([table(arm.answers).assign(arm=arm.label) for arm in arms], ignore_index=True)
        for name, table in (
            ("letters", lambda answers: _letters(answers, confidence)),
            ("wordings", _wordings),
            ("bins", lambda answers: _bins(answers, scoring, confidence)),
        )
    }
    return Controls(**{name: table[["arm", *table.columns.drop("arm")]] for name, table in tables.items()})


def seed_spread(scores: pd.DataFrame, families: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """How far the seeds of an arm lie apart, beside what the choice of items alone would do.

    ``scores`` as in a comparison; ``families``: arm → (its name without the seed, the address of its benchmark).
    Columns: family, scorer, metric, max_tokens, seeds, mean, sd (between the seeds), item_error (standard error of one
    seed's share by its items), seed_sd: ``sd`` where all seeds were asked the same items, else what of it the items
    do not explain, ``sqrt(max(0, sd² − item_error²))``. Empty where no arm has two seeds.
    """
    columns = ["family", "scorer", "metric", "max_tokens", "seeds", "mean", "sd", "item_error", "seed_sd"]
    table = scores[(scores["task"] == ALL_TASKS) & scores["metric"].isin(HEADLINES)]
    table = table.assign(
        family=table["arm"].map(lambda arm: families[arm][0]),
        items=table["arm"].map(lambda arm: families[arm][1]),
        item_variance=table["value"] * (1 - table["value"]) / table["n"],
    )
    grouped = table.groupby(["family", "scorer", "metric", "max_tokens"], sort=False)
    found = grouped.agg(
        seeds=("arm", "nunique"), mean=("value", "mean"), sd=("value", "std"), items=("items", "nunique"),
        item_error=("item_variance", lambda variances: float(np.sqrt(variances.mean()))),
    ).reset_index()  # fmt: skip
    rest = np.sqrt(np.maximum(0.0, found["sd"] ** 2 - found["item_error"] ** 2))
    found["seed_sd"] = found["sd"].where(found["items"] == 1, rest)
    return found.loc[found["seeds"] > 1, columns].reset_index(drop=True)


def _letters(answers: pd.DataFrame, confidence: float) -> pd.DataFrame:
    columns = ["scorer", "max_tokens", "options", "letter", "n", "value", "low", "high", "chance", "prior"]
    shown = answers[answers["order"].notna() & (answers["status"] != UNPARSED)] if "order" in answers else answers[:0]
    rows = []
    for scorer, length, chosen, order, scores in zip(
        *(shown[name] for name in ("scorer", "max_tokens", "chosen", "order", "scores")), strict=True
    ):
        roles = [int(role) for role in order]
        by_letter = np.array([scores[role] for role in roles], dtype=float)
        share = np.exp(by_letter - by_letter.max())
        for place, role in enumerate(roles):
            prior = share[place] / share.sum()
            rows.append((scorer, length, len(roles), LETTERS[place], float(role == chosen), prior))
    if not rows:
        return pd.DataFrame(columns=columns)
    table = pd.DataFrame(rows, columns=["scorer", "max_tokens", "options", "letter", "value", "prior"])
    keys = ["scorer", "max_tokens", "options", "letter"]
    found = table.groupby(keys).agg(n=("value", "size"), hits=("value", "sum"), prior=("prior", "mean")).reset_index()
    low, high = wilson(found["hits"], found["n"], confidence)
    found = found.assign(value=found["hits"] / found["n"], low=low, high=high, chance=1 / found["options"])
    return found[columns]


def _wordings(answers: pd.DataFrame) -> pd.DataFrame:
    columns = ["scorer", "max_tokens", "n", "spread", "same"]
    told = answers[answers["wording_scores"].notna()] if "wording_scores" in answers else answers[:0]
    rows = []
    for scorer, length, by_role in zip(
        *(told[name] for name in ("scorer", "max_tokens", "wording_scores")), strict=True
    ):
        count = min(map(len, by_role))
        if count > 1:
            first = np.array([list(wordings)[:count] for wordings in by_role], dtype=float)
            same = len(set(first.argmax(axis=0))) == 1
            rows.append((scorer, length, float(np.ptp(first, axis=1).mean()), float(same)))
    table = pd.DataFrame(rows, columns=["scorer", "max_tokens", "spread", "same"])
    found = table.groupby(["scorer", "max_tokens"], sort=False).agg(
        n=("same", "size"), spread=("spread", "mean"), same=("same", "mean")
    )
    return found.reset_index()[columns]


def _bins(answers: pd.DataFrame, scoring: Scoring, confidence: float) -> pd.DataFrame:
    """Headline metrics by the needle's depth in fifths of the context, and by the items' own lengths in powers of two
    (where they fall into several)."""
    table = outcomes(answers, scoring)
    table = table[table["metric"].isin(HEADLINES)]
    parts = []
    about = answers.drop_duplicates("item_id").set_index("item_id")
    for by, column in (("depth", "depth"), ("tokens", "num_tokens")):
        if column not in about:
            continue
        values = table["item_id"].map(about[column]).astype(float)
        edges = np.array(_DEPTHS)
        if by == "tokens":
            edges = 2.0 ** np.arange(np.floor(np.log2(max(values.min(), 1))), np.log2(max(values.max(), 1)) + 1.001)
        place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        known = values.notna()
        if known.any() and (by == "depth" or len(set(place[known])) > 1):
            binned = table.assign(by=by, place=place, n=1)[known]
            keys = ["scorer", "max_tokens", "metric", "by", "place"]
            sums = binned.groupby(keys, sort=False)[["n", "value"]].sum().reset_index()
            sums = sums.assign(**{"from": edges[sums["place"]], "to": edges[sums["place"] + 1]})
            parts.append(sums.sort_values(keys))
    columns = ["scorer", "max_tokens", "metric", "by", "from", "to", "n", "value", "low", "high"]
    if not parts:
        return pd.DataFrame(columns=columns)
    found = pd.concat(parts, ignore_index=True)
    found["low"], found["high"] = wilson(found["value"], found["n"], confidence)
    return found.assign(value=found["value"] / found["n"])[columns]
