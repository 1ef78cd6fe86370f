"""A tracking server that is away stops no run; the same command logs later what the server lacks."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SMALL, Place

SERVED = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]


def away(place: Place, *arguments: str) -> int:
    """Runs the command with a server at a port where nobody listens; returns the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        done = place.run(*at(port), *arguments)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"no MLflow server answers there \(\[Errno 111\] Connection refused; ", done.stderr)) == 2
    assert "the same command, given again once it answers, logs what it lacks" in done.stderr
    assert (place.folder("sweeps") / "report.html").is_file()
    return port


def at(port: int) -> list[str]:
    return [*SMALL, "tracking=mlflow", f"tracking.uri=http://127.0.0.1:{port}", "tracking.timeout_seconds=20"]


@pytest.mark.slow
def test_a_run_ends_without_its_server(warm: Place) -> None:
    away(warm, "data_mix=base")
    made = warm.made()
    away(warm, "data_mix=base")  # it tries again
    assert warm.made() == made


@pytest.mark.soak
def test_the_server_is_told_later_and_once(tmp_path: Path, place_at: Callable[[Path], Place]) -> None:
    from mlflow.tracking import MlflowClient

    place, typed = place_at(tmp_path / "outputs"), ["data_mix=base,longsafety", "name=told"]
    port = away(place, *typed)
    made = place.made()
    files = ["--backend-store-uri", f"sqlite:///{tmp_path}/srv.db", "--artifacts-destination", str(tmp_path / "art")]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*SERVED, "--port", str(port), *files],
            stdout=log,
            stderr=log,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        client = MlflowClient(f"http://127.0.0.1:{port}")

        def runs() -> dict[str, str]:
            experiment = client.get_experiment_by_name("told")
            assert experiment is not None
            found = client.search_runs([experiment.experiment_id])
            assert all(run.info.status == "FINISHED" and "longsafety.content" in run.data.tags for run in found)
            return {run.info.run_name: run.info.run_id for run in found}

        place.succeed(*at(port), *typed)
        told = runs()
        assert {*told} == {"told", "base at 256", "longsafety at 256"}
        assert "report.html" in {item.path for item in client.list_artifacts(told["told"])}
        client.delete_run(told["longsafety at 256"])  # as if the telling had been cut off
        client.delete_tag(told["told"], "longsafety.content")
        client.update_run(told["told"], status="RUNNING")
        place.succeed(*at(port), *typed)
        again = runs()
        assert {*again} == {*told} and again["told"] == told["told"] and again["base at 256"] == told["base at 256"]
        place.succeed(*at(port), *typed)
        assert runs() == again
        assert place.made() == made
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")
