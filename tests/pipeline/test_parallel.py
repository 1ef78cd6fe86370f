"""``launcher=parallel``: places and their GPUs, what a failure or a signal does to the others, and the same results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longsafety.errors import ConfigError
from longsafety.pipeline import workers as starting
from longsafety.pipeline.parallel import Task, execute_side_by_side, slots
from longsafety.pipeline.run import Run
from longsafety.pipeline.workers import Workers
from tests.conftest import ENVIRONMENT

if TYPE_CHECKING:
    from tests.conftest import Place

FOUR = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
SMALL = ["scenario.train_samples=12", "data_mix.budget=6", "data_mix.budget_unit=samples", "scenario.bench_items=3"]
SWEEP = ["data_mix=longsafety,longsafety_twins", *SMALL]


@pytest.mark.slow
def test_every_place_has_gpus_of_its_own(place: Place) -> None:
    def groups(runs: int, *typed: str, environment: Mapping[str, str] = FOUR) -> list[str]:
        settings = place.settings("data_mix=longsafety", "trainer=gpu", "launcher=parallel", *typed)
        return [one.get("CUDA_VISIBLE_DEVICES", "") for one in slots([settings] * runs, environment)]

    assert groups(6, "launcher.jobs=8") == ["0", "1", "2", "3"], "no GPU has two runs"
    assert groups(6, "launcher.jobs=3") == ["0", "1", "2"]
    assert groups(2, "launcher.jobs=8") == ["0", "1"]
    assert groups(6, "launcher.jobs=8", "trainer.devices=2") == ["0,1", "2,3"]
    assert groups(6, "launcher.jobs=8", "launcher.gpus=3") == ["0,1,2"]
    assert groups(6, "launcher.jobs=8", "launcher.gpus=0") == [""] * 6, "every run sees all"
    assert groups(6, environment={"CUDA_VISIBLE_DEVICES": "-1"}) == ["", ""], "there is none"
    with pytest.raises(ConfigError, match=r"launcher\.gpus = 8: .* 4 are visible \(0,1,2,3\); lower trainer\.devices"):
        groups(2, "evaluation.processes=8")


def test_runs_on_the_processor_share_its_cores(place: Place) -> None:
    settings = place.settings("launcher=parallel", "launcher.jobs=2", "trainer.num_threads=null")
    cores = os.cpu_count() or 1
    assert slots([settings] * 3, FOUR) == [{"OMP_NUM_THREADS": str(max(1, cores // 2))}] * 2
    assert slots([settings] * 3, {"OMP_NUM_THREADS": "7"}) == [{}] * 2
    with pytest.raises(ConfigError, match=r"started from outside \(RANK = 0\).*set launcher=local"):
        slots([settings] * 3, {"RANK": "0"})


@pytest.mark.slow
def test_how_runs_are_executed_cannot_be_swept_nor_span_machines(place: Place) -> None:
    for typed, said in (
        ("launcher.jobs=1,2", r"launcher\.jobs: is swept, and no result depends on it"),
        ("trainer.num_nodes=2", r"launcher = parallel: .*trainer\.num_nodes = 2; set launcher=local"),
    ):
        with pytest.raises(ConfigError, match=said):
            place.settings("launcher=parallel", "data_mix=longsafety", typed)


# --- failures and signals --------------------------------------------------------------------------------------------

STAND_IN = """
import json, os, signal, sys, time
what, folder, _ = sys.argv[1:]
plan = json.load(open(os.path.join(folder, "plan.json")))
def stopped(*_):
    print("a checkpoint is written", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, stopped)
print("on", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
print("a warning", file=sys.stderr)
open(os.path.join(folder, "begun"), "w").close()
if "after" in plan:
    while not os.path.exists(plan["after"]): time.sleep(.01)
if "parent" in plan:
    os.kill(os.getppid(), plan["parent"])
if plan.get("long"): time.sleep(60)
open(os.path.join(folder, "ended"), "w").close()
sys.exit(plan.get("code", 0))
"""


def executed(
    place: Place, monkeypatch: pytest.MonkeyPatch, plans: Sequence[Mapping[str, object]], *typed: str
) -> tuple[int, list[str], list[Path]]:
    """Status, titles of failed runs, and folders, where a worker does what its plan says."""
    monkeypatch.setattr(starting, "_WORKER", (sys.executable, "-c", STAND_IN))
    tasks = []
    for number in range(len(plans)):
        run = Run.freeze(place.settings(f"seed={number}", "data_mix=longsafety", "launcher=parallel", *typed))
        tasks.append(Task(run, f"run {number + 1} of {len(plans)}", f"arm{number}", f"title {number}"))
    for task, plan in zip(tasks, plans, strict=True):
        after = {"after": str(tasks[int(str(plan["after"]))].run.folder / "begun")} if "after" in plan else {}
        (task.run.folder / "plan.json").write_text(json.dumps({**plan, **after}), "utf-8")
    with Workers(fork=False) as workers:
        places = [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
        status, failed = execute_side_by_side(tasks, place.outputs, workers, places)
    return status, [title for title, _ in failed], [task.run.folder for task in tasks]


@pytest.mark.slow
def test_as_many_run_as_there_are_places_and_their_lines_are_told_apart(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, failed, folders = executed(place, monkeypatch, [{"after": 1}, {"after": 0}, {}])
    assert (status, failed) == (0, [])
    assert all((folder / "ended").exists() for folder in folders)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "[1/3] run: title 0 on GPU 0" in lines and "[2/3] run: title 1 on GPU 1" in lines
    assert {"arm0 | on 0", "arm1 | on 1"} <= {*lines}
    assert sorted(err.splitlines()) == [f"arm{number} | a warning" for number in range(3)]


@pytest.mark.slow
def test_the_first_failure_stops_the_others_and_begins_no_more(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, folders = executed(place, monkeypatch, [{"long": True}, {"after": 0, "code": 2}, {}])
    assert status == 2
    assert not (folders[0] / "ended").exists() and not (folders[2] / "begun").exists()
    out, err = capsys.readouterr()
    assert "arm0 | a checkpoint is written" in out
    assert "longsafety: run 2 of 3 (title 1) failed" in err and "run 1 of 3" not in err


@pytest.mark.slow
def test_without_fail_fast_the_others_are_made(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    status, failed, folders = executed(place, monkeypatch, [{}, {"code": 2}, {}], "fail_fast=false")
    assert (status, failed) == (0, ["title 1"])
    assert all((folder / "ended").exists() for folder in folders)


@pytest.mark.slow
def test_a_signal_reaches_every_worker(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = {"after": 0, "parent": int(signal.SIGTERM), "long": True}
    status, _, folders = executed(place, monkeypatch, [{"long": True}, stop, {}])
    assert status == 128 + signal.SIGTERM
    assert not (folders[2] / "begun").exists()
    out, err = capsys.readouterr()
    assert "arm0 | a checkpoint is written" in out and "arm1 | a checkpoint is written" in out
    assert "stopped by SIGTERM in run 1 of 3" in err and "stopped by SIGTERM in run 2 of 3" in err


# --- to the end -----------------------------------------------------------------------------------------------------


def results(place: Place) -> dict[str, bytes]:
    found = [*place.outputs.glob("stages/answers/*/answers.parquet"), *place.outputs.glob("runs/*/*/scores.csv")]
    found += place.outputs.glob("sweeps/*/comparison.csv")
    return {str(path.relative_to(place.outputs)): path.read_bytes() for path in found}


@pytest.mark.soak
@pytest.mark.slow
def test_side_by_side_the_results_are_the_same(place: Place, tmp_path: Path) -> None:
    place.succeed(*SWEEP)
    other = type(place)(tmp_path / "parallel", place.corpus, place.cache)
    shown = other.succeed(*SWEEP, "launcher=parallel", "launcher.jobs=2")
    assert len(results(place)) == 5
    assert results(other) == results(place)
    assert [len(other.stages(name)) for name in ("corpus", "benchmark", "weights")] == [1, 1, 2]
    assert "longsafety_twins |   weights" in shown and "longsafety       |   weights" in shown
    assert f"report   {other.folder('sweeps') / 'report.html'}" in shown


@pytest.mark.soak
@pytest.mark.slow
def test_no_process_is_left_after_a_signal(place: Place) -> None:
    arguments = place.arguments(*SWEEP, "launcher=parallel", "launcher.jobs=2", "training.epochs=400")
    process = subprocess.Popen(arguments, env=ENVIRONMENT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 250
    while len([*place.outputs.glob("stages/weights/*.partial/history.jsonl")]) < 2:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.count("longsafety: stopped by SIGTERM in run ") == 2 and "begins anew: the one" not in said, said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
