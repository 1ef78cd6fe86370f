"""Runs and comparisons in MLflow: a parent run for the sweep, a child for each arm; logging twice changes nothing.

Importing this module imports neither mlflow nor pandas; ``check`` needs neither.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longsafety.errors import DataError, first_line
from longsafety.reporting.record import RunRecord
from longsafety.reporting.view import Compared, View
from longsafety.settings import Tracking
from longsafety.tracking.contents import headline_metrics, inputs, name_part, params, run_metrics
from longsafety.tracking.location import check, tracking_uri

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

__all__ = ["check", "log_comparison", "log_run", "tracking_uri"]

KEY, PARENT_KEY, CONTENT = "longsafety.key", "longsafety.parent", "longsafety.content"
"""Tags: the run's content address, its sweep's, and a digest of what was logged (set last)."""
SETTINGS, REPORT = "settings.yaml", "report.html"
"""The files of a run's, and of a sweep's, folder that become artifacts."""
MAX_PARAM = 250
_BATCH = 1000


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
    """Logs an arm at a length as a child of its sweep's run, which is found or made; returns the child's run id.

    ``scores`` as in ``evaluation``'s table of shares (scorer, metric, task, max_tokens, n, value, …); ``folder`` holds
    ``settings.yaml``. A run that was logged whole is left as it is; one that was cut off is completed.

    Raises:
        DataError: the store cannot be used (names tracking.uri and the reason).
    """
    from longsafety.reporting import plots

    content = _digest(repr(record), scores.to_csv(index=False))
    with _session(tracking, outputs) as client:
        experiment = _experiment(client, record.name, tracking, outputs)
        parent = _run(client, experiment, parent_key, parent_name).info.run_id if parent_key else None
        milliseconds = int(1000 * sum(record.seconds.values()))
        run = _run(client, experiment, record.key, record.label or record.name, parent, parent_key, milliseconds)
        if run.data.tags.get(CONTENT) == content:
            return str(run.info.run_id)
        run_id, start = run.info.run_id, run.info.start_time
        _log_values(client, run, params=params(record), metrics=run_metrics(record, scores))
        _log_history(client, run_id, start, record.history, "train")
        _log_history(client, run_id, start, record.curve, "curve")
        client.log_inputs(run_id, inputs(record))
        client.log_artifact(run_id, str(folder / SETTINGS))
        _log_table(client, run, "scores.json", scores)
        if (figure := plots.training_loss([record])) is not None:
            client.log_figure(run_id, figure, "figures/training_loss.png")
        _finish(client, run_id, content, end=start + milliseconds)
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
) -> str:
    """Logs the comparison on the sweep's own run, which is found or made by ``key``; returns its run id.

    The report (``folder/report.html``) is logged if it is there; figures are written to ``folder/figures`` as PNG.

    Raises:
        DataError: the store cannot be used.
    """
    from longsafety.reporting import plots, style, tables

    report = folder / REPORT
    page = report.read_bytes() if report.exists() else b""
    frames = {"scores": comparison.scores, "paired": comparison.paired, "by_length": comparison.by_length}
    content = _digest(repr(records), page, *(frame.to_csv(index=False) for frame in frames.values()))
    with _session(tracking, outputs) as client:
        experiment = _experiment(client, records[0].name, tracking, outputs)
        run = _run(client, experiment, key, name)
        if run.data.tags.get(CONTENT) == content:
            return str(run.info.run_id)
        run_id, view = run.info.run_id, View(comparison, records[0].resolved().evaluation.scorers)
        common = {name: records[0].settings.get(name) for name in ("scale", "seed", "scoring")}
        common |= {"arms": len(view.arms), "baseline": comparison.baseline, "scorer": view.scorer}
        _log_values(client, run, params=common, metrics=headline_metrics(view))
        _log_table(client, run, "comparison.json", tables.wide(comparison))
        for stem, frame in frames.items():
            client.log_text(run_id, frame.to_csv(index=False), f"tables/{stem}.csv")
        if page:
            client.log_artifact(run_id, str(report))
        style.save(plots.figures(view, records), folder / "figures")
        client.log_artifacts(run_id, str(folder / "figures"), "figures")
        _finish(client, run_id, content)
        return str(run_id)


def _digest(*parts: str | bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else part.encode())
        whole.update(b"\0")
    return whole.hexdigest()[:32]


@contextmanager
def _session(tracking: Tracking, outputs: Path) -> Iterator[MlflowClient]:
    """A client, one process at a time: simultaneous first starts corrupt each other in MLflow's migrations."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(tracking.timeout_seconds))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from filelock import FileLock

    uri = tracking_uri(tracking, outputs)
    outputs.mkdir(parents=True, exist_ok=True)
    with FileLock(outputs / "mlflow.lock"):
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import SQLAlchemyError

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        try:
            yield MlflowClient(uri)
        except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
            raise DataError(
                f"tracking.uri = {uri}: MLflow could not log ({first_line(error)}); mend the store and give the same "
                "command again, or tracking=none: every result is kept in the outputs"
            ) from error


def _experiment(client: MlflowClient, name: str, tracking: Tracking, outputs: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    local = tracking_uri(tracking, outputs).startswith("sqlite:")
    # Without a place of its own a local store would put artifacts into ./mlruns of the working directory.
    place = (outputs.absolute() / "mlartifacts" / name_part(name)).as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=place))


def _run(
    client: MlflowClient,
    experiment: str,
    key: str,
    name: str,
    parent: str | None = None,
    parent_key: str | None = None,
    milliseconds: int = 0,
) -> Run:
    """The run with this key (of this sweep), found or made; made, it began so many ``milliseconds`` ago."""
    sought = f"tags.`{KEY}` = '{key}'" + (f" AND tags.`{PARENT_KEY}` = '{parent_key}'" if parent_key else "")
    for run in client.search_runs([experiment], sought, max_results=50, order_by=["attributes.start_time ASC"]):
        if parent_key or PARENT_KEY not in run.data.tags:
            return run
    tags = {KEY: key} | ({"mlflow.parentRunId": parent, PARENT_KEY: parent_key} if parent and parent_key else {})
    return client.create_run(experiment, int(time.time() * 1000) - milliseconds, tags, name)


def _finish(client: MlflowClient, run_id: str, content: str, end: int | None = None) -> None:
    client.set_tag(run_id, CONTENT, content)
    client.set_terminated(run_id, "FINISHED", end)


def _log_values(client: MlflowClient, run: Run, *, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Logs what the run does not hold yet, in batches."""
    from mlflow.entities import Metric, Param

    now, held = int(time.time() * 1000), run.data.metrics
    new = [Metric(name, value, now, 0) for name, value in metrics.items() if held.get(name) != value]
    named = [Param(name_part(name), str(value)[:MAX_PARAM]) for name, value in params.items() if value is not None]
    client.log_batch(run.info.run_id, params=[param for param in named if param.key not in run.data.params])
    for start in range(0, len(new), _BATCH):
        client.log_batch(run.info.run_id, metrics=new[start : start + _BATCH])


def _log_history(
    client: MlflowClient, run_id: str, start: int, history: Sequence[Mapping[str, float]], of: str
) -> None:
    """Step metrics; times count from the run's start, so that logging them again meets the same rows."""
    from mlflow.entities import Metric

    metrics = [
        Metric(f"{of}/{name_part(name)}", float(value), start + int(1000 * row.get("seconds", 0.0)), int(row["step"]))
        for row in history
        for name, value in row.items()
        if name not in ("step", "seconds")
    ]
    for first in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + _BATCH])


def _log_table(client: MlflowClient, run: Run, file: str, frame: pd.DataFrame) -> None:
    """As ``MlflowClient.log_table`` does, which the UI shows as a table; but that one appends to what is there."""
    tag = "mlflow.loggedArtifacts"
    entry = {"path": file, "type": "table"}
    held = json.loads(run.data.tags.get(tag, "[]"))
    client.log_text(run.info.run_id, frame.to_json(orient="split", index=False), file)
    if entry not in held:
        client.set_tag(run.info.run_id, tag, json.dumps([*held, entry]))
