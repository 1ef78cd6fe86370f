"""Exported weights as versions of a registered model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from longsafety.settings import Tracking
from longsafety.tracking import store
from longsafety.tracking.registry import register
from longsafety.tracking.uri import tracking_uri
from tests.conftest import SMALL, Place

TRACKING = Tracking(registered_model="guarded model")


@pytest.mark.slow
def test_the_same_weights_are_one_version(record_of: Any, comparison_of: Any, tmp_path: Path) -> None:
    scores = comparison_of(["base", "longsafety"]).scores.query("arm == 'longsafety'").drop(columns="arm")
    (tmp_path / "settings.yaml").write_text("seed: 0\n")
    for address, max_tokens in (("a1", 256), ("a1", 512), ("b2", 512)):  # an arm at two lengths, and another training
        made = record_of("longsafety", max_tokens=max_tokens)
        record = replace(made, key=f"{address}{max_tokens}", stages=made.stages | {"weights": address})
        run_id = store.log_run(
            record, scores, folder=tmp_path, tracking=TRACKING, outputs=tmp_path, parent_key=None, parent_name=""
        )
        weights = tmp_path / "exported" / address
        for _ in range(2):
            register(record, weights, run_id=run_id, tracking=TRACKING, outputs=tmp_path)
    client = MlflowClient(tracking_uri(TRACKING, tmp_path))
    versions = sorted(client.search_model_versions("name = 'guarded model'"), key=lambda version: int(version.version))
    assert [version.tags for version in versions] == [
        {"arm": "longsafety", "data_mix": "longsafety", "address": address} for address in ("a1", "b2")
    ]
    assert versions[0].source == (tmp_path / "exported" / "a1").as_uri()
    assert versions[1].run_id == run_id


@pytest.mark.slow
def test_the_command_registers_trained_arms(tmp_path: Path, warm: Place) -> None:
    place = warm
    exported = ["export.format=weights", f"export.path={tmp_path / 'exported'}"]
    typed = [*SMALL, "data_mix=base,longsafety", "stages=[build,train,evaluate,score,report,export]", *exported]
    place.succeed(*typed, "tracking=mlflow")
    client = MlflowClient(f"sqlite:///{place.outputs / 'mlflow.db'}")
    assert not client.search_registered_models(), "nothing is registered unless it is asked for"
    weights = place.made()
    place.succeed(*typed, "tracking=mlflow", "tracking.registered_model=guarded")
    [version] = client.search_model_versions("name = 'guarded'")
    assert version.tags["arm"] == "longsafety" and version.tags["address"] == place.stage("weights").name
    assert (Path(str(version.source).removeprefix("file://")) / "model.safetensors").is_file()
    assert place.made() == weights
