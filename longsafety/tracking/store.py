"""Logs runs and comparisons to MLflow: a parent run for the sweep, a child run for each arm and length.

Logging the same again changes nothing. ``README.md`` beside this file lists the names of params and metrics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from longsafety.reporting import plots, style, tables
from longsafety.reporting.comparison_view import Compared, ComparisonView
from longsafety.reporting.names import run_name
from longsafety.reporting.pooled import pooled_tables
from longsafety.reporting.record import RunRecord
from longsafety.reporting.sections import sections
from longsafety.settings import Tracking
from longsafety.tracking.client import (
    experiment_id,
    find_or_create_run,
    finish,
    is_complete,
    log_history,
    log_table,
    log_values,
    session,
)
from longsafety.tracking.values import chart_step, headline_metrics, inputs, params, run_metrics
from longsafety.tracking.views import view_link, view_tag

NOTE = "mlflow.note.content"
SETTINGS, REPORT = "settings.yaml", "report.html"
"""Files of a run's, and of a sweep's, folder that become artifacts."""


def log_run(
    record: RunRecord,
    scores: pd.DataFrame,
    *,
    folder: Path,
    tracking: Tracking,
    outputs: Path,
    parent_key: str | None,
    parent_name: str,
) -> str:
    """Logs an arm at a length as a child of its sweep's run, which is created if needed; returns the child's run id.

    The child is named by the arm and its items' length (``base at 512``). ``scores``: the shares of
    ``evaluation.scores.scoring.score`` (scorer, metric, task, max_tokens, n, value, …). ``folder`` holds
    ``settings.yaml``. A run that was logged completely is left as it is; an interrupted one is completed.

    Raises:
        StoreError: the store cannot be used (names tracking.uri and the reason).
    """
    content = _digest(repr(record), scores.to_csv(index=False))
    with session(tracking, outputs) as client:
        experiment = experiment_id(client, record.name, tracking, outputs)
        parent = find_or_create_run(client, experiment, parent_key, parent_name).info.run_id if parent_key else None
        milliseconds = int(1000 * sum(record.seconds.values()))
        run = find_or_create_run(client, experiment, record.key, run_name(record), parent, parent_key, milliseconds)
        if is_complete(run, content, tracking, outputs):
            return str(run.info.run_id)
        run_id, start = run.info.run_id, run.info.start_time
        log_values(client, run, params=params(record), metrics=run_metrics(record, scores), step=chart_step(record))
        log_history(client, run_id, start, record.history, "train")
        log_history(client, run_id, start, record.curve, "curve")
        client.log_inputs(run_id, inputs(record))
        client.log_artifact(run_id, str(folder / SETTINGS))
        log_table(client, run, "scores.json", scores)
        if (figure := plots.training_loss([record])) is not None:
            client.log_figure(run_id, figure, "figures/training_loss.png")
        finish(client, run_id, content, end=start + milliseconds)
        return str(run_id)


def log_comparison(
    comparison: Compared,
    records: Sequence[RunRecord],
    *,
    name: str,
    key: str,
    folder: Path,
    tracking: Tracking,
    outputs: Path,
    note: str = "",
) -> str:
    """Logs the comparison to the sweep's own run, found by ``key`` or created; returns its run id.

    ``note`` (Markdown) is what the UI shows of the sweep first. The report (``folder/report.html``) is logged if it
    exists; figures are written to ``folder/figures`` as PNG.

    Raises:
        StoreError: the store cannot be used.
    """
    report = folder / REPORT
    page = report.read_bytes() if report.exists() else b""
    frames = {"scores": comparison.scores, "paired": comparison.paired, "by_length": comparison.by_length}
    frames["controls"] = comparison.controls
    content = _digest(repr(records), page, *(frame.to_csv(index=False) for frame in frames.values()))
    with session(tracking, outputs) as client:
        experiment = experiment_id(client, records[0].name, tracking, outputs)
        run = find_or_create_run(client, experiment, key, name)
        if is_complete(run, content, tracking, outputs):
            return str(run.info.run_id)
        run_id, view = run.info.run_id, ComparisonView(comparison, records[0].resolved().evaluation.scorers)
        common = {key: records[0].settings.get(key) for key in ("scale", "seed", "scoring")}
        common |= {"arms": len(view.arms), "baseline": comparison.baseline, "scorer": view.scorer}
        common |= {"benchmark": records[0].benchmark or None}
        log_values(client, run, params=common, metrics={})
        headline: dict[str, None] = {}
        for metric_and_arm, curve in headline_metrics(view).items():
            metric, _, arm = metric_and_arm.partition("/")
            headline[metric] = None
            points = [{"step": float(length), arm: value} for length, value in curve.items()]
            log_history(client, run_id, run.info.start_time, points, metric)
        client.set_experiment_tag(experiment, *view_tag(name, key, headline, run.info.start_time))
        first, _, others = note.partition("\n\n")  # the UI folds what comes after a few lines
        link = f"[All arms in one chart]({view_link(experiment, key)})"
        client.set_tag(run_id, NOTE, "\n\n".join(part for part in (first, link, others) if part))
        log_table(client, run, "comparison.json", tables.wide(comparison))
        for stem, frame in frames.items():
            client.log_text(run_id, frame.to_csv(index=False), f"tables/{stem}.csv")
        if page:
            client.log_artifact(run_id, str(report))
        drawn = plots.figures(view, records)
        drawn |= {part.key: part.figure for part in sections(view, records) if part.figure is not None}
        drawn |= {part.key: part.figure for part in pooled_tables(view, records)}
        style.save(drawn, folder / "figures")
        client.log_artifacts(run_id, str(folder / "figures"), "figures")
        finish(client, run_id, content)
        return str(run_id)


def _digest(*parts: str | bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else part.encode())
        whole.update(b"\0")
    return whole.hexdigest()[:32]
