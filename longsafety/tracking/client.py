"""MLflow's client: the store, experiments and runs, found or created; values that are logged once.

mlflow is imported only when a session begins, after its environment is set.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longsafety.errors import DataError, first_line
from longsafety.host.locks import locked
from longsafety.settings import Tracking
from longsafety.stages import folder_name
from longsafety.tracking.sqlite import CONTENT, KEY, PARENT_KEY, PREFIX, ensure, for_mlflow, has_artifacts, store_path
from longsafety.tracking.uri import PASSWORD, check, tracking_uri, without_password
from longsafety.tracking.values import name_part

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

MAX_PARAM = 250
_BATCH = 1000
_OURS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
_KEPT = "all results are kept in the outputs"


class StoreError(DataError):
    """MLflow's store could not be used. No result depends on it, and the same command logs what it lacks."""


@contextmanager
def session(tracking: Tracking, outputs: Path) -> Iterator[MlflowClient]:
    """A client for one process at a time: simultaneous first starts corrupt the store in MLflow's migrations.

    Raises:
        StoreError: the store cannot be used (names tracking.uri and the reason).
    """
    ours = _OURS | {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(tracking.timeout_seconds)}
    for variable, value in ours.items():
        os.environ.setdefault(variable, value)
    uri = tracking_uri(tracking, outputs)
    if not uri.startswith(PREFIX) and (away := check(tracking, outputs)):  # in one line, and without MLflow's retries
        raise StoreError(away)
    outputs.mkdir(parents=True, exist_ok=True)
    with locked(outputs / "mlflow.lock", "entries of MLflow"):
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import SQLAlchemyError

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        try:
            if uri.startswith(PREFIX) and (problem := ensure(store_path(uri))):
                raise StoreError(f"tracking.uri = {uri}: {problem}, or use tracking=none: {_KEPT}")
            yield MlflowClient(for_mlflow(uri))
        except (MlflowException, SQLAlchemyError, CommandError, OSError, sqlite3.Error, ValueError) as error:
            names = [name for name in sorted(os.environ) if name.startswith("MLFLOW_")]
            names = [name for name in names if os.environ[name] != ours.get(name)]
            if isinstance(error, ValueError) and not names:  # MLflow raises it for a variable's value only
                raise
            reason = first_line(error).replace(os.environ.get(PASSWORD) or "\0", "***")
            fix = f"unset those of MLflow's variables that caused it ({', '.join(names)}), or fix" if names else "fix"
            raise StoreError(
                f"tracking.uri = {without_password(uri)}: MLflow could not log ({reason}); {fix} the "
                f"store and run the same command again, or use tracking=none: {_KEPT}"
            ) from error


def experiment_id(client: MlflowClient, name: str, tracking: Tracking, outputs: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    local = tracking_uri(tracking, outputs).startswith("sqlite:")
    # By default a local store would write artifacts to ./mlruns in the working directory.
    place = (outputs.absolute() / "mlartifacts" / folder_name(name)).as_uri() if local else None
    # Without it the UI takes the experiment for one of language-model applications, and shows no training runs.
    tags = {"mlflow.experimentKind": "custom_model_development"}
    return str(client.create_experiment(name, artifact_location=place, tags=tags))


def find_or_create_run(
    client: MlflowClient,
    experiment: str,
    key: str,
    name: str,
    parent: str | None = None,
    parent_key: str | None = None,
    milliseconds: int = 0,
) -> Run:
    """The run with this key (of this sweep), found or created. A created run started ``milliseconds`` ago."""
    sought = f"tags.`{KEY}` = '{key}'" + (f" AND tags.`{PARENT_KEY}` = '{parent_key}'" if parent_key else "")
    for run in client.search_runs([experiment], sought, max_results=50, order_by=["attributes.start_time ASC"]):
        if parent_key or PARENT_KEY not in run.data.tags:
            return run
    tags = {KEY: key} | ({"mlflow.parentRunId": parent, PARENT_KEY: parent_key} if parent and parent_key else {})
    return client.create_run(experiment, int(time.time() * 1000) - milliseconds, tags, name)


def is_complete(run: Run, content: str, tracking: Tracking, outputs: Path) -> bool:
    """Whether the run has all of ``content``, and of a store in a file also its artifacts."""
    local = tracking_uri(tracking, outputs).startswith(PREFIX)
    return run.data.tags.get(CONTENT) == content and (not local or has_artifacts(run.info.artifact_uri))


def finish(client: MlflowClient, run_id: str, content: str, end: int | None = None) -> None:
    client.set_tag(run_id, CONTENT, content)
    client.set_terminated(run_id, "FINISHED", end)


def log_values(
    client: MlflowClient, run: Run, *, params: Mapping[str, Any], metrics: Mapping[str, float], step: int = 0
) -> None:
    """Logs in batches what the run does not have yet; metrics without a prefix stand at ``step``."""
    from mlflow.entities import Metric, Param

    now, held = int(time.time() * 1000), run.data.metrics
    new = [
        Metric(name, value, now, 0 if "/" in name else step)
        for name, value in metrics.items()
        if held.get(name) != value
    ]
    named = [Param(name_part(name), str(value)[:MAX_PARAM]) for name, value in params.items() if value is not None]
    client.log_batch(run.info.run_id, params=[param for param in named if param.key not in run.data.params])
    for start in range(0, len(new), _BATCH):
        client.log_batch(run.info.run_id, metrics=new[start : start + _BATCH])


def log_history(
    client: MlflowClient, run_id: str, start: int, history: Sequence[Mapping[str, float]], prefix: str
) -> None:
    """Metrics of every step. Times count from the run's start, so that logging them again changes nothing."""
    from mlflow.entities import Metric

    metrics = [
        Metric(
            f"{prefix}/{name_part(name)}", float(value), start + int(1000 * row.get("seconds", 0.0)), int(row["step"])
        )
        for row in history
        for name, value in row.items()
        if name not in ("step", "seconds")
    ]
    for first in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + _BATCH])


def log_table(client: MlflowClient, run: Run, file: str, frame: pd.DataFrame) -> None:
    """Like ``MlflowClient.log_table``, whose files the UI shows as tables, but replaces an existing file."""
    tag = "mlflow.loggedArtifacts"
    entry = {"path": file, "type": "table"}
    held = json.loads(run.data.tags.get(tag, "[]"))
    client.log_text(run.info.run_id, frame.to_json(orient="split", index=False), file)
    if entry not in held:
        client.set_tag(run.info.run_id, tag, json.dumps([*held, entry]))
