"""Exported weights as versions of a registered model, where ``tracking.registered_model`` names one."""

from __future__ import annotations

from pathlib import Path

from longsafety.reporting.record import RunRecord
from longsafety.settings import Tracking
from longsafety.tracking.client import session
from longsafety.tracking.uri import tracking_uri

ADDRESS = "address"
"""Tag of a version: the content address of its weights."""


def register(record: RunRecord, weights: Path, *, run_id: str, tracking: Tracking, outputs: Path) -> None:
    """Makes the arm's exported weights a version of the model ``tracking.registered_model``, once for the same weights.

    A store in a file names the folder ``weights``; a server is given its files, as the run's artifacts ``model``.

    Raises:
        StoreError: the store cannot be used.
    """
    name, address = str(tracking.registered_model), record.stages["weights"]
    with session(tracking, outputs) as client:
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        if any(version.tags.get(ADDRESS) == address for version in client.search_model_versions(f"name = '{name}'")):
            return
        source = weights.absolute().as_uri()
        if not tracking_uri(tracking, outputs).startswith("sqlite:"):
            client.log_artifacts(run_id, str(weights), "model")
            source = f"{client.get_run(run_id).info.artifact_uri}/model"
        tags = {"arm": record.label, "data_mix": record.resolved().data_mix.name, ADDRESS: address}
        client.create_model_version(name, source, run_id, tags=tags)
