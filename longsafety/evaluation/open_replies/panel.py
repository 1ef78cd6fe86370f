"""Several judges on the same open replies: their agreement, each one's accuracy, and a file of where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from longsafety.evaluation.open_replies.agreement import agreement
from longsafety.evaluation.open_replies.calibration import by_judge, judge_on_labelled
from longsafety.evaluation.open_replies.judge import Judging
from longsafety.evaluation.open_replies.rules import Rule
from longsafety.evaluation.open_replies.verdicts import Request, cases_of
from longsafety.evaluation.scores.scoring import Scoring
from longsafety.files import whole_file

DISAGREEMENTS = "disagreements.csv"
"""In a run's folder: the replies that judges call differently. It holds harmful replies as they are."""


def panel_facts(
    judged: pd.DataFrame,
    items: Mapping[str, Request],
    *,
    rules: Mapping[str, Rule],
    others: Sequence[Judging],
    scoring: Scoring,
    confidence: float,
    folder: Path,
) -> dict[str, Any]:
    """The facts of :func:`~longsafety.evaluation.open_replies.agreement.agreement`, and for each of the ``others`` its
    ``calibration`` on reference replies and ``labelled`` accuracy.

    ``judged``: answers with the verdicts of the judge that scores. Writes :data:`DISAGREEMENTS` into ``folder``.
    """
    opened = judged[judged["scorer"] == "open"]
    cases = cases_of(opened, items, rules)
    verdicts = {str(opened["verdict_by"].iloc[0]): opened["verdict"].tolist()}
    calibration, labelled = {}, {}
    language = [items[item].language if item in items else "" for item in opened["item_id"]]
    kinds = sorted(set(zip(opened["task"], language, strict=True)))
    for number, judge in enumerate(others, 2):
        name = judge.model if judge.model not in verdicts else f"{judge.model} ({number})"
        verdicts[name] = [one.verdict for one in judge.verdicts(cases, scoring)]
        calibration[name] = [one.facts() for one in by_judge(judge, kinds, rules, scoring)]
        labelled[name] = judge_on_labelled(judge, confidence=confidence)
    facts = agreement(verdicts)
    rows = opened.iloc[facts.pop("differ")]
    table = rows[["item_id", "task", "kind", "max_tokens", "reply"]].assign(
        **{name: pd.Series(given, index=opened.index)[rows.index] for name, given in verdicts.items()}
    )
    with whole_file(folder / DISAGREEMENTS) as partial:
        table.to_csv(partial, index=False)
    return facts | {"differ": len(rows), "file": DISAGREEMENTS, "calibration": calibration, "labelled": labelled}
