"""``longsafety/evaluation/README.md`` names every column and every metric that is written, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from longsafety.evaluation.answers import answers_schema, read_answers, write_answers
from longsafety.evaluation.open_replies.corrections import with_verdict_columns
from longsafety.evaluation.open_replies.rules import rules
from longsafety.evaluation.open_replies.verdicts import Request, give_verdicts, verdict_facts
from longsafety.evaluation.scorers import SCORERS
from longsafety.evaluation.scores.biases import bias_tables
from longsafety.evaluation.scores.compare import compare
from longsafety.evaluation.scores.comparison import Arm
from longsafety.evaluation.scores.needle_map import needle_map
from longsafety.evaluation.scores.scoring import METRICS, score
from longsafety.evaluation.scores.totals import totals
from longsafety.reporting.comparison_view import ComparisonView
from longsafety.reporting.record import RunRecord
from longsafety.tracking.values import headline_metrics, run_metrics
from longsafety.vocabulary import HARMFUL_ROLES, right_role

README = (Path(__file__).parents[2] / "longsafety" / "evaluation" / "README.md").read_text("utf-8")
SETTINGS: dict[str, Any] = {"scoring": "fixed", "confidence": 0.95}


def documented(heading: str) -> list[str]:
    """The names in the first column of the table under a heading."""
    section = re.split(r"\n#{2,3} ", README.split(f" {heading}\n")[1])[0]
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def answer(number: int, kind: str, chosen: int, **changes: Any) -> dict[str, Any]:
    roles = HARMFUL_ROLES
    return {
        "item_id": f"i{number}" if kind == "harmful" else f"i{number}-{kind}", "pair_id": f"i{number}",
        "task": "HarmfulNIAH", "scenario": "PH", "kind": kind, "category": "c", "seed_id": f"s{number}",
        "document_id": f"d{number}", "max_tokens": 256, "num_tokens": 200 + 100 * number, "depth": 0.5,
        "scorer": "letter", "order_index": 0, "order": list(range(len(roles))), "roles": list(roles),
        "scores": [-1.0 - place for place in range(len(roles))], "comply_role": roles[-2],
        "right": right_role(kind, roles[-2]),
        "wording_scores": [[-1.0, -2.0]] * len(roles), "chosen": chosen, "margin": 1.0, "status": "ok",
    } | changes  # fmt: skip


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> list[Arm]:
    path = tmp_path_factory.mktemp("answers") / "answers.parquet"
    rows = [
        answer(number, kind, number % 3) for number in range(3) for kind in ("harmful", "benign_needle", "no_question")
    ]
    write_answers(rows, path)
    return [Arm(label, read_answers(path), training) for label, training in (("base", ""), ("mix", "0"), ("mix", "1"))]


@pytest.fixture(scope="module")
def written(arms: list[Arm], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The columns of each file of scores."""
    folder = tmp_path_factory.mktemp("compared")
    found = compare(arms, baseline="base", equivalence_margin=0.05, **SETTINGS)
    found.save(folder)
    bias_tables(arms, **SETTINGS).save(folder)
    tables = {path.name: pd.read_csv(path) for path in folder.glob("*.csv")} | {
        "scores.parquet": score(arms[0].answers, **SETTINGS),
        "scores.csv": totals(arms[0].answers, ["letter"], **SETTINGS),
        "confusion.parquet": pd.read_parquet(folder / "confusion.parquet"),
        "needles.csv": needle_map(arms, confidence=0.95),
        "trainings.csv": found.trainings,
        "controls.csv": found.controls,
    }
    assert all(len(table) for table in tables.values())
    return {name: list(table.columns) for name, table in tables.items()}


FILES = (
    *("scores.parquet", "scores.csv", "comparison.csv", "confusion.parquet"),
    *("letters.csv", "wordings.csv", "bins.csv", "needles.csv", "trainings.csv", "controls.csv"),
)


@pytest.mark.parametrize("file", FILES)
def test_the_columns_of_scores_are_documented(written: dict[str, list[str]], file: str) -> None:
    assert sorted(documented(f"`{file}`")) == sorted(written[file])


def test_every_file_of_scores_is_checked(written: dict[str, list[str]]) -> None:
    assert {*FILES} == {*written}


def test_the_columns_of_answers_are_documented() -> None:
    assert sorted(documented("`answers.parquet`")) == sorted(answers_schema.names)


def test_the_columns_of_verdicts_are_documented() -> None:
    reply = {"scorer": "open", "roles": ["unsafe", "safe"], "scores": [float("nan")] * 2, "comply_role": "unsafe"}
    rows = pd.DataFrame([dict.fromkeys(answers_schema.names) | answer(0, "harmful", 0, **reply, reply="I cannot.")])
    known: Any = {"items": {"i0": Request("How?", "en")}, "rules": rules(), "judge": None, "scoring": "fixed"}
    judged = give_verdicts(rows, **known)
    facts = verdict_facts(judged, confidence=0.95, **known)
    scores = score(judged, **SETTINGS)
    added = set(with_verdict_columns(scores, facts).columns) - set(scores.columns)
    text = README.split("With open replies also ")[1].split(".\n")[0]
    assert set(re.findall(r"`(\w+)`", text)) == added


def test_metrics_and_scorers_are_documented() -> None:
    assert sorted(documented("Metrics")) == sorted(METRICS)
    assert sorted(documented("Scorers")) == sorted(SCORERS)


def pattern(name: str, metrics: str) -> re.Pattern[str]:
    text = re.sub("SCORER|TASK|STAGE|NAME|ARM", "[^/]+", name.replace("METRIC", metrics))
    return re.compile(text.replace("LENGTH", r"\d+"))


def matches(found: Iterable[str], names: list[str], metrics: str) -> None:
    """Every name that is logged is documented, and every documented name is logged."""
    patterns = [pattern(name, metrics) for name in names]
    assert all(any(one.fullmatch(name) for one in patterns) for name in found)
    assert all(any(one.fullmatch(name) for name in found) for one in patterns)


@pytest.mark.slow
def test_the_metrics_of_mlflow_are_documented(
    record_of: Callable[..., RunRecord], comparison_of: Callable[..., Any]
) -> None:
    metrics = "(?:" + "|".join(METRICS) + ")"
    record, comparison = record_of("longsafety"), comparison_of()
    suite = {"task": "arc_easy", "metric": "acc", "value": 0.5, "stderr": 0.1}
    record.capability.append(suite)
    scores = comparison.scores[comparison.scores["arm"] == "longsafety"].drop(columns="arm")
    matches(run_metrics(record, scores), documented("Metrics of a run"), metrics)
    several = headline_metrics(ComparisonView(comparison_of(lengths=(512, 1024)), SCORERS))
    matches(several, ["METRIC/ARM"], metrics)
    assert all({*curve} == {512, 1024} for curve in several.values())
    matches(headline_metrics(ComparisonView(comparison, SCORERS)), ["METRIC/ARM"], metrics)
    assert documented("Metrics of a sweep") == ["METRIC/ARM"]
