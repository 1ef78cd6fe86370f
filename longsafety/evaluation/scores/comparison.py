"""The comparison of several arms: its tables, and how they are saved and loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from longsafety.errors import DataError, first_line
from longsafety.evaluation.scores.scoring import CELL, HEADLINES

_TABLES = ("scores", "paired", "by_length", "confusion", "trainings", "controls")
_EFFECTS = "effects.parquet"
TRAININGS = ["arm", "scorer", "metric", "max_tokens", "trainings", "mean", "sd", "least", "most"]


@dataclass(frozen=True)
class Arm:
    """One run's answers (:func:`longsafety.evaluation.answers.read_answers`), under the name that tables show."""

    label: str
    answers: pd.DataFrame
    training: str = ""
    """Tells trainings of the same arm apart."""


@dataclass(frozen=True)
class Comparison:
    """The tables of a comparison. ``difference`` is arm minus against (``by_length``: longer minus shortest)."""

    scores: pd.DataFrame
    """arm, and the columns of :func:`longsafety.evaluation.scores.scoring.score`."""
    paired: pd.DataFrame
    """arm, against, scorer, metric, task, max_tokens, n, seeds (seed items that the pairs were made of), difference,
    low, high (Student's t over seeds), gained (items whose outcome rose), lost (fell), p_value (sign-flip test over
    seeds; nan where these are too few), p_adjusted (Benjamini and Hochberg, over arms and tasks; for rows over all
    tasks, over the arms), p_mcnemar (exact McNemar, where each seed item stands once and outcomes are 0 or 1),
    p_equivalent (TOST within the margin), detectable (the smallest true difference that is found with 80% power; nan
    where no possible one is), only_arm, only_against (outcomes that one side alone has, which are left out)."""
    by_length: pd.DataFrame
    """arm, scorer, metric, task, max_tokens, against_max_tokens (the arm's shortest), then as ``paired``."""
    confusion: pd.DataFrame
    """arm, scorer, task, max_tokens, kind, role, count (over all trainings)."""
    trainings: pd.DataFrame
    """Of arms that were trained several times, over all tasks: ``TRAININGS`` (mean, standard deviation, least and most
    over the trainings)."""
    controls: pd.DataFrame
    """Each arm against its own blind controls: ``longsafety.evaluation.scores.controls.CONTROLS``."""
    baseline: str
    notes: list[str]
    """Answers that could not be paired, a line each."""
    baselines: dict[str, str] = field(default_factory=dict)
    """Arm → the arm that it is compared with; an arm that is compared with none is its own. Empty: ``baseline`` is that
    of all."""
    effects: pd.DataFrame = field(default_factory=pd.DataFrame)
    """key (a swept setting), value, against_value (the first value), arm, against (the arm with that value, all else
    equal), then as ``paired``; ``p_adjusted`` is over the arms and values of a key. Empty where none is swept."""

    def save(self, folder: Path) -> None:
        """Writes each table as Parquet, ``comparison.json`` (baseline, notes) and :meth:`headlines` as
        ``comparison.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _TABLES:
            getattr(self, name).to_parquet(folder / f"{name}.parquet", index=False)
        self.headlines().to_csv(folder / "comparison.csv", index=False, float_format="%.4g")
        if len(self.effects):
            self.effects.to_parquet(folder / _EFFECTS, index=False)
        rest = {"baseline": self.baseline, "baselines": self.baselines, "notes": self.notes}
        (folder / "comparison.json").write_text(json.dumps(rest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Comparison:
        """Reads what :meth:`save` wrote.

        Raises:
            DataError: a file is missing or cannot be read.
        """
        path = folder
        try:
            tables: dict[str, Any] = {}
            for name in _TABLES:
                path = folder / f"{name}.parquet"
                tables[name] = pd.read_parquet(path)
            path = folder / "comparison.json"
            rest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            effects = pd.read_parquet(path) if (path := folder / _EFFECTS).is_file() else pd.DataFrame()
            return cls(**tables, **rest, effects=effects)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path}: cannot be read ({first_line(error)}); run the stage `score` again") from error

    def headlines(self) -> pd.DataFrame:
        """The scores of the headline metrics, each with its paired test against the baseline."""
        keys = ["arm", *CELL]
        names = {"n": "n_paired", "seeds": "seeds_paired", "low": "difference_low", "high": "difference_high"}
        names |= {"p_value": "p_difference"}
        scores = self.scores[self.scores["metric"].isin(HEADLINES)]
        own = self.paired["arm"].map(self.baselines).fillna(self.baseline)
        paired = self.paired[self.paired["against"] == own]
        return scores.merge(paired.rename(columns=names), on=keys, how="left").astype(
            dict.fromkeys(("n_paired", "seeds_paired", "gained", "lost", "only_arm", "only_against"), "Int64")
        )
