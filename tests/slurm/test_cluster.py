"""``launcher=slurm`` on a cluster of one node: the same results as without, whatever happens to its jobs.

pytest -m slurm tests/slurm      # needs root, Debian's slurm-wlm and munge; some ten minutes
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longsafety.pipeline.slurm_queue import RECORD
from tests.conftest import ENVIRONMENT
from tests.slurm.cluster import cluster, missing
from tests.test_kills import logged

if TYPE_CHECKING:
    from tests.conftest import Place

pytestmark = [pytest.mark.slurm, pytest.mark.soak, pytest.mark.skipif(bool(missing()), reason=missing())]
SMALL = ["scenario.train_samples=12", "scenario.bench_items=3", "data_mix.budget=12", "data_mix.budget_unit=samples"]
SMALL += ["training.batch_size=2", "training.micro_batch_size=1", "training.epochs=60"]
SWEEP = ["data_mix=base,longsafety,longsafety_twins,benign_only", "tracking=mlflow", "fail_fast=false", *SMALL]
ONE = ["data_mix=longsafety", "stages=[build,train]", *SMALL[:-1], "training.epochs=2"]
_SECONDS = 400


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    with cluster() as variables:
        yield {**ENVIRONMENT, **variables, "PYTHONPATH": ENVIRONMENT["PYTHONPATH"]}


class Command:
    """``python -m longsafety … launcher=slurm``, which runs while the test looks at its jobs."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(arguments, env=environment, stdout=out, stderr=out)

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def until(self, holds: Callable[[], object], what: str) -> None:
        end = time.monotonic() + _SECONDS
        while not holds():
            assert self.process.poll() is None and time.monotonic() < end, f"{what}\n{self.said}"
            time.sleep(0.1)

    def end(self) -> int:
        return self.process.wait(timeout=_SECONDS)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def job(place: Place, arm: str) -> str:
    """The id of the last job of an arm's run."""
    [record] = place.outputs.glob(f"runs/*/{arm}-????????????/{RECORD}")
    found: str = json.loads(record.read_text("utf-8"))["id"]
    return found


def trains(place: Place, arm: str) -> bool:
    """Whether the arm's training has made a few steps, and is not at its end."""
    [addresses] = place.outputs.glob(f"runs/*/{arm}-????????????/addresses.json")
    weights = json.loads(addresses.read_text("utf-8"))["weights"]
    history = place.outputs / "stages" / "weights" / f"{weights}.partial" / "history.jsonl"
    return history.is_file() and len(history.read_text("utf-8").splitlines()) > 3


def results(place: Place) -> dict[str, bytes]:
    patterns = ["stages/weights/*/weights/model.safetensors", "stages/answers/*/answers.parquet"]
    patterns += ["runs/*/*/scores.csv", "sweeps/*/comparison.csv"]
    found = [path for pattern in patterns for path in place.outputs.glob(pattern)]
    return {str(path.relative_to(place.outputs)): path.read_bytes() for path in found}


def steps(place: Place) -> dict[str, list[int]]:
    found = place.outputs.glob("stages/weights/*/history.jsonl")
    return {path.parent.name: [json.loads(line)["step"] for line in path.open(encoding="utf-8")] for path in found}


def test_a_sweep_whose_jobs_are_left_cancelled_and_requeued_ends_as_one_without_slurm(
    place: Place, place_at: Callable[[Path], Place], tmp_path: Path, slurm: dict[str, str]
) -> None:
    whole = place_at(tmp_path / "whole")
    whole.succeed(*SWEEP)
    arguments = place.arguments(*SWEEP, "launcher=slurm", "launcher.slurm.cpus_per_task=1", "launcher.slurm.mem_gb=1")

    with Command(arguments, slurm, tmp_path / "left") as left:
        left.until(lambda: left.said.count(": submitted (job ") == 5, "a job that builds and four runs are submitted")
        left.process.terminate()
        assert left.end() == 128 + 15
    assert "longsafety: stopped waiting; the jobs stay in the queue (1 2_[0,1,2,3])" in left.said

    with Command(arguments, slurm, tmp_path / "again") as again:
        again.until(lambda: again.said.count(": in the queue already (job ") == 5, "nothing is submitted twice")
        again.until(lambda: trains(place, "longsafety_twins"), "an arm trains")
        subprocess.run(["scancel", "--signal=USR1", job(place, "longsafety_twins")], env=slurm, check=True)
        again.until(lambda: trains(place, "longsafety"), "another arm trains")
        subprocess.run(["scancel", job(place, "longsafety")], env=slurm, check=True)
        again.until(lambda: "was cancelled" in again.said, "a cancelled job is told")
        shown = status(arguments, slurm)
        requeued = r"longsafety_twins at 256 +(queued \(job 2_2, BeginTime|running on .* \(job 2_2)\)"
        assert re.search(requeued, shown), shown
        assert re.search(r"longsafety at 256 +stopped; the same command continues it", shown), shown
        assert again.end() == 1, again.said
    assert "run 2 of 4 (longsafety (trained at 256 tokens, evaluated at 256)) was cancelled (job 2_1); " in again.said
    assert "the same command goes on with the training after step" in again.said
    assert "waits in the queue again (job 2_2), and goes on from there" in again.said
    assert "1 of 4 runs failed, the others are kept" in again.said

    with Command(arguments, slurm, tmp_path / "last") as last:
        assert last.end() == 0, last.said
    assert [line for line in last.said.splitlines() if ": submitted (job " in line and "/4]" in line] == [
        f"[2/4] run: longsafety (trained at 256 tokens, evaluated at 256): submitted (job {job(place, 'longsafety')})"
    ]
    assert f"report   {place.folder('sweeps') / 'report.html'}" in last.said
    assert results(place) == results(whole) and len(results(place)) == 3 + 4 + 4 + 1
    assert logged(place) == logged(whole)
    assert all(made == list(range(1, len(made) + 1)) for made in steps(place).values()), "every step once"
    assert status(arguments, slurm).endswith("4 of 4 done\n")


def status(arguments: list[str], environment: dict[str, str]) -> str:
    told = subprocess.run([*arguments, "stages=[status]"], env=environment, capture_output=True, text=True, check=True)
    return told.stdout


def test_two_processes_of_srun_train_as_one(
    place: Place, place_at: Callable[[Path], Place], tmp_path: Path, slurm: dict[str, str]
) -> None:
    whole = place_at(tmp_path / "whole")
    for here, launcher in ((whole, "local"), (place, "slurm")):
        typed = here.arguments(*ONE, "trainer=ddp_cpu", f"launcher={launcher}")
        done = subprocess.run(typed, env=slurm, capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
    assert results(place) == results(whole) and len(results(place)) == 1
    assert len([*place.outputs.glob("sweeps/*/slurm/*_1_log.out")]) == 1, "the second rank's"


def test_a_command_that_sits_in_an_allocation_is_no_rank(
    place: Place, place_at: Callable[[Path], Place], tmp_path: Path, slurm: dict[str, str]
) -> None:
    whole = place_at(tmp_path / "whole")
    whole.succeed(*ONE)
    for number, starter in enumerate((["salloc", "-n", "2"], ["srun", "-n", "1"])):
        here = place_at(tmp_path / f"sits-{number}")
        done = subprocess.run(
            [*starter, *here.arguments(*ONE)], env=slurm, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        assert results(here) == results(whole) and len(results(here)) == 1
