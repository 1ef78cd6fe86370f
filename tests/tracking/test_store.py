from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

import longsafety
from longsafety.errors import DataError
from longsafety.reporting.record import RunRecord
from longsafety.settings import Tracking
from longsafety.tracking import store
from longsafety.tracking.sqlite import CONTENT
from longsafety.tracking.uri import _ask, check, tracking_uri

README = Path(store.__file__).with_name("README.md")


def _log(record: RunRecord, comparison: Any, outputs: Path, parent_key: str | None = "sweep1") -> str:
    folder = outputs / "runs" / record.label
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.yaml").write_text("seed: 0\n")
    scores = comparison.scores[comparison.scores["arm"] == record.label].drop(columns="arm")
    return store.log_run(
        record, scores, folder=folder, tracking=Tracking(), outputs=outputs, parent_key=parent_key, parent_name="sweep"
    )


def _log_comparison(comparison: Any, records: list[RunRecord], outputs: Path) -> str:
    (outputs / "report.html").write_text("<!doctype html>")
    return store.log_comparison(
        comparison, records, name="sweep", key="sweep1", folder=outputs, tracking=Tracking(), outputs=outputs
    )


@pytest.fixture(scope="module")
def logged(comparison_of: Any, record_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A sweep of two arms, logged twice; the working directory is an empty one."""
    outputs, comparison = tmp_path_factory.mktemp("outputs"), comparison_of(["base", "longsafety"])
    suite = {"suite": "icl", "task": "icl_4_shots", "metric": "acc", "value": 0.5, "stderr": 0.1, "n": 20}
    point = {"step": 4, "items": 8, "safe_response": 0.5, "compliance": 0.5, "safe_and_helpful": 0.5}
    records = [record_of("base"), replace(record_of("longsafety"), capability=[suite], curve=[point])]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        ids = []
        for _ in range(2):
            children = [_log(record, comparison, outputs) for record in records]
            ids.append([*children, _log_comparison(comparison, records, outputs)])
        client = MlflowClient(tracking_uri(Tracking(), outputs))
        yield client, ids, comparison, records, outputs


def _runs(client: MlflowClient) -> list[Any]:
    (experiment,) = [e for e in client.search_experiments() if e.name == "mix_ablation"]
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.slow
def test_logging_twice_leaves_each_run_once(logged: Any) -> None:
    client, ids, *_ = logged
    assert ids[0] == ids[1]
    assert sorted(run.info.run_id for run in _runs(client)) == sorted(ids[0])
    loss = client.get_metric_history(ids[0][1], "train/loss")
    assert [metric.step for metric in loss] == list(range(8))
    assert loss[1].timestamp - loss[0].timestamp == 6500
    assert len(client.get_metric_history(ids[0][1], "likelihood/safe_response/all/512")) == 1
    assert all(run.info.status == "FINISHED" for run in _runs(client))
    run = client.get_run(ids[0][1])
    assert run.info.end_time - run.info.start_time == 87_500


@pytest.mark.slow
def test_the_parent_is_the_sweep(logged: Any) -> None:
    client, ids, *_ = logged
    *children, parent = ids[0]
    assert client.get_run(parent).info.run_name == "sweep"
    assert {client.get_run(child).data.tags["mlflow.parentRunId"] for child in children} == {parent}
    assert [client.get_run(child).info.run_name for child in children] == ["base at 512", "longsafety at 512"]


def test_values_params_and_inputs(logged: Any) -> None:
    client, ids, comparison, *_ = logged
    run = client.get_run(ids[0][1])
    scores = comparison.scores
    row = scores[(scores["arm"] == "longsafety") & (scores["scorer"] == "letter") & (scores["metric"] == "compliance")]
    value = row[row["task"] == "KeywordRAG"]["value"].item()
    assert run.data.metrics["letter/compliance/KeywordRAG/512"] == value
    assert run.data.metrics["safe_response"] == 1.0
    assert run.data.params["data_mix"] == "longsafety" and run.data.params["bench_tokens"] == "512"
    inputs = {(each.tags[0].value, each.dataset.name): each.dataset.digest for each in run.inputs.dataset_inputs}
    assert set(inputs) == {("training", "longsafety"), ("evaluation", "benchmark"), ("corpus", "corpus")}
    assert inputs["corpus", "corpus"] == "c0ffee1234567890"


def test_artifacts_lie_in_the_outputs_and_hold_no_harmful_text(logged: Any) -> None:
    *_, outputs = logged
    files = sorted(path.name for path in (outputs / "mlartifacts").rglob("*") if path.is_file())
    assert files.count("settings.yaml") == 2 and "report.html" in files and "training_loss.png" in files
    assert not list(Path.cwd().iterdir())
    assert not any(b"smoke detectors" in path.read_bytes() for path in outputs.rglob("*") if path.is_file())


def test_the_sweep_has_a_saved_view_that_its_note_links_to(logged: Any) -> None:
    client, ids, *_ = logged
    parent = client.get_run(ids[0][-1])
    experiment = client.get_experiment(parent.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(experiment.tags["mlflow.sharedViewState.sweep1"])
    state = json.loads(view["state"])
    assert view["name"] == "sweep sweep1" and view["createdAt"] == parent.info.start_time
    assert state["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "arm"}]
    found = {run.info.run_id for run in client.search_runs([experiment.experiment_id], state["searchFilter"])}
    assert found == {*ids[0][:-1]}
    shown = [name for name in client.get_run(ids[0][1]).data.metrics if re.search(state["chartsSearchFilter"], name)]
    assert {f"metrics.`{name}`" for name in shown} == {name for name in state["selectedColumns"] if "metrics" in name}
    assert len(experiment.tags["mlflow.sharedViewState.sweep1"]) < 5000, "MLflow's limit"
    link = f"(#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=sweep1&compareRunsMode=CHART"
    assert link in parent.data.tags["mlflow.note.content"]


def test_the_parent_has_the_comparison(logged: Any) -> None:
    client, ids, *_, outputs = logged
    parent = client.get_run(ids[0][-1])
    assert parent.data.metrics["safe_response/longsafety"] == 1.0
    assert parent.data.metrics["compliance/longsafety"] == 0.0
    assert json.loads(parent.data.tags["mlflow.loggedArtifacts"]) == [{"path": "comparison.json", "type": "table"}]
    # As log_table writes it: {"columns": [...], "data": [[...], ...]}. (load_table asks the global store instead.)
    table = json.loads(next(outputs.rglob("comparison.json")).read_text())
    assert table["columns"][:3] == ["scorer", "arm", "max_tokens"] and len(table["data"]) == 4
    paths = {item.path for item in client.list_artifacts(parent.info.run_id, "tables")}
    assert paths == {f"tables/{name}.csv" for name in ("scores", "paired", "by_length", "controls")}
    assert parent.data.params["benchmark"] == "2.0, fingerprint 0123456789ab"
    assert parent.data.metrics["pair_difference/longsafety"] == 0.0


@pytest.mark.slow
def test_a_run_cut_off_is_completed(logged: Any, record_of: Any) -> None:
    client, _, comparison, _, outputs = logged
    record = replace(record_of("longsafety"), key="other")
    run_id = _log(record, comparison, outputs)
    client.delete_tag(run_id, CONTENT)
    client.update_run(run_id, status="RUNNING")
    assert _log(record, comparison, outputs) == run_id
    assert client.get_run(run_id).info.status == "FINISHED"
    assert len(client.get_metric_history(run_id, "train/loss")) == 8
    assert len(client.get_run(run_id).inputs.dataset_inputs) == 3
    client.delete_run(run_id)


@pytest.mark.slow
def test_an_arm_has_a_run_of_its_own_name_for_each_length(logged: Any, comparison_of: Any, record_of: Any) -> None:
    client, _, _, _, outputs = logged
    comparison = comparison_of(["base"], scorers=("likelihood",))
    ids = [_log(record_of("base", max_tokens=256, factor=factor), comparison, outputs) for factor in (1, 2, 4)]
    runs = [client.get_run(run_id) for run_id in ids]
    assert [run.info.run_name for run in runs] == ["base at 256", "base at 512", "base at 1,024"]
    assert [run.data.params["bench_tokens"] for run in runs] == ["256", "512", "1024"]
    for run_id in ids:
        client.delete_run(run_id)


def _documented(section: str) -> list[re.Pattern[str]]:
    """The names in the first column of a section's table in README.md, each as a pattern."""
    text = README.read_text("utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    names = [
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall("`([^`]+)`", line.split("|")[1])
    ]
    return [re.compile(re.sub(r"<[^>]+>", "[^/]+", name.replace(".", r"\."))) for name in names]


def test_the_readme_lists_the_names_of_what_is_logged(logged: Any) -> None:
    client, ids, *_ = logged
    runs = [client.get_run(run_id) for run_id in ids[0]]
    sections = {
        "Params": {name for run in runs for name in run.data.params},
        "Metrics of a run": {name for run in runs[:-1] for name in run.data.metrics},
        "Metrics of a sweep": {*runs[-1].data.metrics},
    }
    for section, logged_names in sections.items():
        patterns = _documented(section)
        assert patterns, section
        assert [name for name in sorted(logged_names) if not any(p.fullmatch(name) for p in patterns)] == [], section
        assert [p.pattern for p in patterns if not any(map(p.fullmatch, logged_names))] == [], section


def test_a_run_of_two_sweeps_is_in_both(logged: Any, record_of: Any) -> None:
    client, ids, comparison, _, outputs = logged
    second, alone = (_log(record_of("base"), comparison, outputs, key) for key in ("sweep2", None))
    assert len({ids[0][0], second, alone}) == 3
    assert "mlflow.parentRunId" not in client.get_run(alone).data.tags
    assert _log(record_of("base"), comparison, outputs) == ids[0][0]
    for run_id in (second, alone, client.get_run(second).data.tags["mlflow.parentRunId"]):
        client.delete_run(run_id)


@pytest.mark.slow
def test_artifacts_that_were_deleted_are_logged_again(logged: Any) -> None:
    client, ids, comparison, records, outputs = logged
    shutil.rmtree(outputs / "mlartifacts")
    assert [_log(records[0], comparison, outputs), _log_comparison(comparison, records, outputs)] == [
        ids[0][0],
        ids[0][-1],
    ]
    assert {"settings.yaml", "scores.json"} <= {file.path for file in client.list_artifacts(ids[0][0])}
    assert "report.html" in {file.path for file in client.list_artifacts(ids[0][-1])}
    assert len(client.get_metric_history(ids[0][0], "likelihood/safe_response/all/512")) == 1
    _log(records[1], comparison, outputs)


@pytest.mark.slow
def test_labels_that_mlflow_forbids_in_names(comparison_of: Any, record_of: Any, tmp_path: Path, logged: Any) -> None:
    label, outputs = "model.window=8,lora/x", logged[-1]
    made = comparison_of(["base"], scorers=("likelihood",))
    comparison = replace(made, scores=made.scores.assign(arm=label), confusion=made.confusion.assign(arm=label))
    record = replace(record_of("base"), label=label, name="a/b: c", varied={"++evaluation.length_factor": 2})
    run_id = store.log_comparison(
        comparison, [record], name="x", key="k", folder=tmp_path, tracking=Tracking(), outputs=outputs
    )
    assert "safe_response/model.window_8_lora_x" in logged[0].get_run(run_id).data.metrics


START = """
import sys
from pathlib import Path
from longsafety.settings import Tracking
from longsafety.tracking import uri
uri.check(Tracking(), Path(sys.argv[1]))
assert not {"mlflow", "pandas", "matplotlib", "torch"} & set(sys.modules), "check must be cheap"
from longsafety.tracking import client as mlflow_client
with mlflow_client.session(Tracking(), Path(sys.argv[1])) as client:
    experiment = mlflow_client.experiment_id(client, "first", Tracking(), Path(sys.argv[1]))
    mlflow_client.find_or_create_run(client, experiment, "key", "sweep")
"""


@pytest.mark.slow
def test_simultaneous_first_starts_make_one_store_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START, str(tmp_path / "new")]
    environment = os.environ | {"PYTHONPATH": str(Path(longsafety.__file__).parents[1])}
    processes = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in processes]
    waited = re.compile(rb"longsafety: waiting for process \d+ of .*, which makes entries of MLflow\n|")
    assert all(out == b"" and waited.fullmatch(err) for out, err in said), said
    assert [process.returncode for process in processes] == [0, 0]
    with sqlite3.connect(tmp_path / "new" / "mlflow.db") as database:
        assert database.execute("select count(*) from runs").fetchone() == (1,)


def test_a_store_that_mlflow_refuses_is_one_line(tmp_path: Path, record_of: Any, comparison_of: Any) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("create table alembic_version (version_num varchar(32))")
        database.execute("insert into alembic_version values ('nonsense')")
        database.execute("create table experiments (name varchar(32))")
    rule = r"tracking\.uri = sqlite:.*mlflow\.db: MLflow could not log \(.*tracking=none"
    with pytest.raises(DataError, match=rule) as e:
        _log(record_of("base"), comparison_of(["base"], scorers=("likelihood",)), tmp_path)
    assert "\n" not in str(e.value)


def test_default_uri_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Tracking(), Path("outputs")) == f"sqlite:///{tmp_path}/outputs/mlflow.db"
    assert tracking_uri(Tracking(uri="sqlite:///x.db"), Path("o")) == f"sqlite:///{tmp_path}/x.db"


def test_check_accepts_what_is_off_or_new(tmp_path: Path) -> None:
    check(Tracking(), tmp_path / "not" / "there")
    check(Tracking(enabled=False, uri="./mlruns"), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "mlruns", "ftp://host/x"])
def test_check_refuses_folders_and_unknown_schemes(uri: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"tracking\.uri = {uri}: .*not in a folder; use .*sqlite:////.*tracking=none"):
        check(Tracking(uri=uri), tmp_path)


def test_check_refuses_files_that_are_no_store(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("something else entirely")
    with pytest.raises(DataError, match=r"mlflow\.db: this file is no SQLite database"):
        check(Tracking(), tmp_path)
    with pytest.raises(DataError, match=r"mlflow\.db cannot be written"):
        check(Tracking(), tmp_path / "mlflow.db" / "below")
    with pytest.raises(DataError, match=r"names no file; write sqlite:////absolute"):
        check(Tracking(uri="sqlite://relative.db"), tmp_path)


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_is_away_is_told_of(scheme: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        uri = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        line = check(Tracking(uri=uri), tmp_path)
        assert line.startswith(f"tracking.uri = {uri}: no MLflow server answers there (")
        assert line.endswith("the same command, given again once it answers, logs what it lacks")


@pytest.mark.slow
def test_check_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}"
        line = check(Tracking(uri=uri, timeout_seconds=1), tmp_path)
        assert re.search(r"user:\*\*\*@.* within 1 s; waited at most tracking\.timeout_seconds = 1\); ", line)
        assert _ask(uri, 1) == "no answer within 1 s"  # the same words


LISTED = b'{"experiments": [{"experiment_id": "0"}]}'


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, LISTED, ""),
        (200, b"{}", ""),
        (200, b"<html>Sign in</html>", "another program listens there: its answer is not MLflow's"),
        (200, b'{"version": "4.2"}', "another program listens there"),
        (200, b"\xff\xfe", "another program listens there"),
        (401, b"", "it answers 401: it wants a user; set MLFLOW_TRACKING_USERNAME"),
        (404, b"{}", "it answers 404, as no MLflow server does"),
    ],
)
def test_check_takes_the_answer_of_an_mlflow_server_only(
    status: int, body: bytes, problem: str, tmp_path: Path
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/2.0/mlflow/experiments/search?max_results=1"
            assert self.headers["Authorization"] == "Basic dXNlcjpwQHNz"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.handle_request)
    thread.start()
    tracking = Tracking(uri=f"http://user:p%40ss@127.0.0.1:{server.server_port}")
    if not problem:
        assert check(tracking, tmp_path) == ""
    else:
        with pytest.raises(DataError, match=problem) as error:
            check(tracking, tmp_path)
        assert "ss@" not in str(error.value)
    thread.join()
    server.server_close()
