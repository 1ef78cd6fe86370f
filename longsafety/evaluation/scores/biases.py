"""Bias diagnostics: letter, wording, position and length preference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from longsafety.evaluation.answers import sources
from longsafety.evaluation.scores.comparison import Arm
from longsafety.evaluation.scores.scoring import HEADLINES, Scoring, outcomes
from longsafety.evaluation.scores.shares import shares
from longsafety.samples.depth import depth_bins
from longsafety.vocabulary import LETTERS

LETTER_EXCESS = 0.25
"""A letter chosen this much more often than chance is a preference of the model, not an answer to the text."""
_DEPTHS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


@dataclass(frozen=True)
class BiasTables:
    """One table a bias, over all arms; empty where no answer shows it."""

    letters: pd.DataFrame
    """arm, scorer, max_tokens, options, letter, n, value (share of answers that choose the letter), low, high
    (Wilson, clustered), chance (one in ``options``: the safe option stands at each letter equally often), prior (the
    letter's mean probability among those shown; nan without log-probabilities)."""
    wordings: pd.DataFrame
    """arm, scorer, max_tokens, n (items with several wordings), spread (mean range over a role's wordings, nats per
    token), same (share of items where each wording alone gives the same choice)."""
    bins: pd.DataFrame
    """arm, scorer, max_tokens, metric, by (depth or tokens), from, to, n, value, low, high."""

    def save(self, folder: Path) -> None:
        """A CSV file for each table that has rows."""
        for field in fields(self):
            table: pd.DataFrame = getattr(self, field.name)
            if len(table):
                table.to_csv(folder / f"{field.name}.csv", index=False, float_format="%.4g")


def bias_tables(arms: Sequence[Arm], *, scoring: Scoring, confidence: float) -> BiasTables:
    """The tables of the arms' answers, those of all trainings of an arm together."""
    by_label: dict[str, list[pd.DataFrame]] = {}
    for arm in arms:
        by_label.setdefault(arm.label, []).append(arm.answers)
    tables: dict[str, list[pd.DataFrame]] = {"letters": [], "wordings": [], "bins": []}
    for label, trainings in by_label.items():
        together = pd.concat(trainings, ignore_index=True)
        for name, table in (
            ("letters", _letters(together, confidence)),
            ("wordings", _wordings(together)),
            ("bins", _bins(trainings, scoring, confidence)),
        ):
            table.insert(0, "arm", label)
            tables[name].append(table)
    return BiasTables(**{name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()})


def _letters(answers: pd.DataFrame, confidence: float) -> pd.DataFrame:
    columns = ["scorer", "max_tokens", "options", "letter", "n", "value", "low", "high", "chance", "prior"]
    shown = answers[answers["order"].notna() & (answers["status"] == "ok")] if "order" in answers else answers[:0]
    rows = []
    for scorer, length, chosen, order, scores, source in zip(
        *(shown[name] for name in ("scorer", "max_tokens", "chosen", "order", "scores")), sources(shown), strict=True
    ):
        roles = [int(role) for role in order]
        by_letter = np.array([scores[role] for role in roles], dtype=float)
        share = np.exp(by_letter - by_letter.max())
        for place, role in enumerate(roles):
            prior = share[place] / share.sum()
            rows.append((scorer, length, len(roles), LETTERS[place], float(role == chosen), prior, source))
    if not rows:
        return pd.DataFrame(columns=columns)
    keys = ["scorer", "max_tokens", "options", "letter"]
    table = pd.DataFrame(rows, columns=[*keys, "value", "prior", "source"]).sort_values(keys)
    found = shares(table, keys, confidence)
    prior = table.groupby(keys, sort=False)["prior"].mean().to_numpy()
    return found.assign(chance=1 / found["options"], prior=prior)[columns]


def _wordings(answers: pd.DataFrame) -> pd.DataFrame:
    columns = ["scorer", "max_tokens", "n", "spread", "same"]
    scored = answers[answers["wording_scores"].notna()] if "wording_scores" in answers else answers[:0]
    rows = []
    for scorer, length, by_role in zip(
        *(scored[name] for name in ("scorer", "max_tokens", "wording_scores")), strict=True
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


def _bins(trainings: Sequence[pd.DataFrame], scoring: Scoring, confidence: float) -> pd.DataFrame:
    """Headline metrics by the needle's depth, in fifths of the context, and by the items' lengths, in powers of two
    (if there are several). A bin holds its upper edge."""
    table = pd.concat([outcomes(answers, scoring) for answers in trainings], ignore_index=True)
    table = table[table["metric"].isin(HEADLINES)]
    parts = []
    about = pd.concat(trainings, ignore_index=True).drop_duplicates("item_id").set_index("item_id")
    for by, column in (("depth", "depth"), ("tokens", "num_tokens")):
        if column not in about:
            continue
        values = table["item_id"].map(about[column]).astype(float)
        if values.isna().all():  # also where no answer is part of a share
            continue
        if by == "depth":
            edges, place = np.array(_DEPTHS), depth_bins(values, len(_DEPTHS) - 1)
        else:  # a bin holds its upper edge, as a length is up to a number of tokens
            powers = np.ceil(np.log2(values.clip(lower=2).fillna(2))).astype(int)
            edges, place = 2.0 ** np.arange(powers.min() - 1, powers.max() + 1), (powers - powers.min()).to_numpy()
        known = values.notna()
        if by == "depth" or len(set(place[known])) > 1:
            binned = table.assign(by=by, place=place)[known]
            keys = ["scorer", "max_tokens", "metric", "by", "place"]
            found = shares(binned.sort_values(keys), keys, confidence)
            parts.append(found.assign(**{"from": edges[found["place"]], "to": edges[found["place"] + 1]}))
    columns = ["scorer", "max_tokens", "metric", "by", "from", "to", "n", "value", "low", "high"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]
