"""Params, metrics and dataset inputs that are logged to MLflow, by name; ``README.md`` beside this file lists them."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from longsafety.reporting.comparison_view import TESTED, ComparisonView
from longsafety.reporting.record import RunRecord
from longsafety.settings import LENGTH_KEYS
from longsafety.stages import address
from longsafety.vocabulary import ALL_TASKS

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput

BENCHMARK_STAGES = ("benchmark", "bench", "build")
"""The first of these stages that a record has gives the benchmark's content address."""


_LONGEST_PART = 180
"""Characters of a part; MLflow allows 250 of a whole name."""


def name_part(text: str) -> str:
    """Text as one part of a metric's name. MLflow allows letters, digits and ``_-. :/``.

    ``=``, ``,`` and ``/`` become ``_``. Where anything else is replaced, or the end is cut, a hash of the text follows.
    """
    name = re.sub(r"[^\w\-. :]", "_", text).strip(". ") or "_"
    if name == re.sub("[=,/]", "_", text) and len(name) <= _LONGEST_PART:
        return name
    end = f"-{address(text)[:8]}"
    return name[: _LONGEST_PART - len(end)] + end


def params(record: RunRecord) -> dict[str, Any]:
    """What arms differ in: the swept keys, and what a reader looks for first. All settings are in the artifact
    ``settings.yaml``."""
    settings = record.resolved()
    headline = {
        "arm": record.label,
        "bench_tokens": None if settings.rescores else settings.length.bench_tokens,
        "training_tokens": settings.length.training_tokens if record.training else None,
        "model": settings.model.name,
        "data_mix": settings.data_mix.name,
        "scenario": settings.scenario.name,
        "scale": settings.scale,
        "seed": settings.seed,
    }
    return {str(key).lstrip("+"): value for key, value in (headline | record.varied).items()}


def run_metrics(record: RunRecord, scores: pd.DataFrame) -> dict[str, float]:
    """Metric name → value: every share as ``scorer/metric/task/length``, and the first scorer's headline as ``metric``.

    Seconds of the stages, numbers of the training and capability suites are added. A share over no items is left out.
    """
    held = set(scores["scorer"])
    first = next((scorer for scorer in record.resolved().evaluation.scorers if scorer in held), "")
    metrics: dict[str, float] = {}
    for row in scores.to_dict("records"):
        if not math.isfinite(row["value"]):
            continue
        name = "/".join(name_part(str(row[part])) for part in ("scorer", "metric", "task", "max_tokens"))
        metrics[name] = float(row["value"])
        if row["scorer"] == first and row["task"] == ALL_TASKS and row["metric"] in TESTED:
            name = name_part(row["metric"])
            metrics[name] = round(float(row["value"]), 4)  # the UI shows all digits; the share itself stands above
            bounds = {side: round(float(row[side]), 4) for side in ("low", "high")}
            metrics |= {f"interval/{name}_{side}": value for side, value in bounds.items() if math.isfinite(value)}
    metrics |= {f"seconds/{name_part(stage)}": float(seconds) for stage, seconds in record.seconds.items()}
    for suite in record.capability:
        name = f"capability/{name_part(suite['task'])}/{name_part(suite['metric'])}"
        both = {name: float(suite["value"]), f"{name}_stderr": float(suite["stderr"])}
        metrics |= {key: value for key, value in both.items() if math.isfinite(value)}
    for key, value in record.training.items():
        if isinstance(value, int | float) and math.isfinite(value):
            metrics[f"training/{name_part(key)}"] = float(value)
    return metrics


def chart_step(record: RunRecord) -> int:
    """The place of a run on a chart's horizontal axis: the items' length where the sweep varies it, else the only
    number that it varies besides the seed. 0 where there is none: MLflow then draws a bar a run, not a point."""
    if any(key in record.varied for key in LENGTH_KEYS):
        return record.resolved().length.bench_tokens
    numbers = [str(value) for key, value in record.varied.items() if key != "seed"]
    whole = [int(number) for number in numbers if number.isdecimal()]
    return whole[0] if len(whole) == 1 else 0


def headline_metrics(view: ComparisonView) -> dict[str, dict[int, float]]:
    """Of the sweep's run: ``safe_response/longsafety`` and so on → the items' length (0: the only one) → the share."""
    several = len({length for _, length in view.rows()}) > 1
    found: dict[str, dict[int, float]] = {}
    for metric in TESTED:
        for arm, length in view.rows():
            if (share := view.share(arm, metric, length)) is not None:
                found.setdefault(f"{metric}/{name_part(arm)}", {})[length if several else 0] = round(share.value, 4)
    return found


def inputs(record: RunRecord) -> list[DatasetInput]:
    """The sources of the mix, the benchmark and the corpus, each with its fingerprint as digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    corpus = {key: record.corpus.get(key) for key in ("source", "licence", "documents", "tokens")}
    rows = [("training", str(row["source"]), row, str(row["fingerprint"])) for row in record.mix]
    for stage in BENCHMARK_STAGES:
        if stage in record.stages:
            rows.append(("evaluation", "benchmark", record.settings.get("scenario", {}), record.stages[stage]))
            break
    if record.corpus:
        rows.append(("corpus", "corpus", corpus, str(record.corpus.get("fingerprint", ""))))
    return [
        DatasetInput(
            Dataset(
                name=name,
                digest=digest[:36],
                source_type="longsafety",
                source=json.dumps({"corpus": corpus["source"], "kind": name}),
                profile=json.dumps({key: value for key, value in about.items() if not isinstance(value, dict)}),
            ),
            [InputTag("mlflow.data.context", context)],
        )
        for context, name, about, digest in rows
    ]
