"""``launcher=slurm`` without a cluster: what sbatch is given, and what is made of the queue.

Stand-ins of Slurm's programs play a queue that moves on with every look at it; ``tests/slurm`` has a real one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longsafety.errors import ConfigError
from longsafety.host.interrupts import HEARD, _State, listen
from longsafety.model.checkpoints import requeue
from longsafety.pipeline import slurm_queue
from longsafety.pipeline.parallel import Task
from longsafety.pipeline.pipeline import PREPARED
from longsafety.pipeline.run import DONE, Run
from longsafety.pipeline.slurm import execute_on_slurm, refuse_without_slurm
from longsafety.pipeline.slurm_job import requeueing
from longsafety.pipeline.slurm_queue import Job, listed
from longsafety.pipeline.slurm_submit import Needs, needs
from longsafety.pipeline.status import noted, status
from longsafety.pipeline.workers import Workers
from longsafety.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import Place

PROGRAM = """#!{python}
import json, os, re, signal, sys
name, folder = os.path.basename(sys.argv[0]), {folder!r}
queue = json.load(open(folder + "/queue.json"))
open(folder + "/asked", "a").write(" ".join([name, *sys.argv[1:]]) + "\\n")
if name == "sbatch":
    if queue.get("refuses"): sys.exit("sbatch: error: " + queue["refuses"])
    text = open(sys.argv[1]).read()
    title = re.search("--job-name='?([^'\\n]+)", text)[1]
    array = re.search(r"--array=0-(\\d+)", text)
    number = str(len(queue["jobs"]) + 10)
    ids = [number + "_" + str(one) for one in range(int(array[1]) + 1)] if array else [number]
    queue["jobs"] += [[one, title, list(queue["ends"].get(one, ["PENDING", "RUNNING", "COMPLETED"]))] for one in ids]
    print("Submitted batch job " + number)
elif name == "squeue":
    for one, title, words in queue["jobs"]:
        print("|".join([one, words[0], "node1", "Priority", title]))
        if queue.get("moves", True) and len(words) > 1: words.pop(0)
    queue["looks"] = queue.get("looks", 0) + 1
    if queue["looks"] == queue.get("interrupts"): os.kill(os.getppid(), signal.SIGINT)
elif name == "scancel":
    for job in queue["jobs"]:
        if job[0] in sys.argv and len(job[2]) > 1: job[2] = ["CANCELLED"]
json.dump(queue, open(folder + "/queue.json", "w"))
"""


class Cluster:
    """The stand-ins, and what they have been asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue", "scancel", "srun"):
            (folder / name).write_text(PROGRAM.format(python=sys.executable, folder=str(folder)), "utf-8")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        self.tell(jobs=[], ends={})

    def tell(self, **told: object) -> None:
        """``ends``: job id → the states that it goes through; ``interrupts``: the look at which Ctrl-C is pressed."""
        file = self.folder / "queue.json"
        file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | told), "utf-8")

    def asked(self, program: str) -> list[str]:
        lines = (self.folder / "asked").read_text("utf-8").splitlines() if (self.folder / "asked").exists() else []
        return [line for line in lines if line.split()[0] == program]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the queue moves with the looks at it
    return Cluster(tmp_path / "slurm", monkeypatch)


def tasks(place: Place, count: int, *typed: str) -> list[Task]:
    found = []
    for number in range(count):
        run = Run.freeze(place.settings(f"seed={number}", "data_mix=longsafety", "launcher=slurm", *typed))
        found.append(Task(run, f"run {number + 1} of {count}", f"arm{number}", f"title {number}"))
    return found


def executed(given: Sequence[Task], place: Place) -> tuple[int, list[str]]:
    """Status, and titles of the runs that failed without ending the sweep."""
    sweep = place.outputs / "sweeps" / "run-1"
    sweep.mkdir(parents=True, exist_ok=True)
    with Workers(fork=False) as workers:
        code, failed = execute_on_slurm(given, sweep, workers)
    return code, [title for title, _ in failed]


def scripts(place: Place) -> list[str]:
    paths = sorted((place.outputs / "sweeps" / "run-1" / "slurm").glob("[0-9]*_submission.sh"))
    return [path.read_text("utf-8") for path in paths]


def settings_of(place: Place, *typed: str) -> Settings:
    return place.settings("data_mix=longsafety", "launcher=slurm", *typed)


# --- what a job asks for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["trainer=cpu"], Needs(1, 1, 0)),
        (["trainer=auto"], Needs(1, 1, 1)),
        (["trainer=ddp_cpu"], Needs(1, 2, 0)),
        (["trainer=a100_8"], Needs(1, 8, 8)),
        (["trainer=a100_2x8"], Needs(2, 8, 8)),
        (["trainer=ddp", "launcher.slurm.gpus_per_node=4"], Needs(1, 4, 4)),
        (["trainer=gpu", "evaluation.processes=4"], Needs(1, 1, 4)),
        (["trainer=a100_2x8", "data_mix=base"], Needs(1, 1, 1)),
    ],
)
def test_a_training_has_a_task_for_each_device(place: Place, typed: list[str], wanted: Needs) -> None:
    mix = [] if any(one.startswith("data_mix") for one in typed) else ["data_mix=longsafety"]
    assert needs(Run.place(place.settings("launcher=slurm", *mix, *typed))) == wanted


def test_the_script_says_what_the_settings_say(place: Place, slurm: Cluster) -> None:
    typed = [
        *("trainer=a100_2x8", "launcher.slurm.partition=gpu", "launcher.slurm.build_partition=cpu"),
        *("launcher.slurm.account=team", "launcher.slurm.minutes=60", "launcher.slurm.mem_gb=500"),
        *("launcher.slurm.cpus_per_task=6", "launcher.slurm.setup=[module load cuda]", "launcher.slurm.qos=high"),
        *("launcher.slurm.additional={constraint: a100}", "launcher.slurm.array_parallelism=2"),
    ]
    assert executed(tasks(place, 3, *typed), place) == (0, [])
    build, runs = scripts(place)
    lines = {line.removeprefix("#SBATCH --") for line in runs.splitlines()}
    assert {"nodes=2", "ntasks-per-node=8", "gpus-per-node=8", "cpus-per-task=6", "mem=500GB", "time=60"} <= lines
    assert {"partition=gpu", "account=team", "qos=high", "constraint=a100", "array=0-2%2", "requeue"} <= lines
    assert {"signal=USR1@120", "dependency=afterok:10", "kill-on-invalid-dep=yes", "module load cuda"} <= lines
    [step] = [line for line in runs.splitlines() if line.startswith("srun ")]
    assert "--cpus-per-task=6" in step and "--kill-on-bad-exit=1" in step
    asked = {line.removeprefix("#SBATCH --") for line in build.splitlines()}
    assert {"partition=cpu", "nodes=1", "ntasks-per-node=1"} <= asked
    assert not any(line.startswith(("gpus", "dependency", "array")) for line in asked)


def test_variables_of_the_shell_override_no_setting_and_hide_no_job(
    place: Place, slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sbatch", "squeue"):
        file = slurm.folder / name
        seen = f"open({str(slurm.folder / name)!r} + '.seen', 'a').write(' '.join(sorted(os.environ)) + chr(10))\n"
        file.write_text(file.read_text().replace("json.dump(queue", f"{seen}json.dump(queue"))
    names = ["SBATCH_PARTITION", "SBATCH_TIMELIMIT", "SBATCH_WAIT", "SBATCH_NO_REQUEUE", "SBATCH_CONSTRAINT"]
    for name in (*names, "SBATCH_ACCOUNT", "SQUEUE_PARTITION", "SQUEUE_FORMAT"):
        monkeypatch.setenv(name, "debug")
    typed = [
        "launcher.slurm.partition=gpu",
        "launcher.slurm.minutes=60",
        "launcher.slurm.additional={constraint: a100}",
    ]
    assert executed(tasks(place, 1, *typed), place) == (0, [])
    asked = (slurm.folder / "sbatch.seen").read_text().split()
    assert not {*names} & {*asked} and "SBATCH_ACCOUNT" in asked, "no setting gives an account"
    assert not [name for name in (slurm.folder / "squeue.seen").read_text().split() if name.startswith("SQUEUE_")]
    assert os.environ["SBATCH_PARTITION"] == "debug"


def test_an_arm_waits_for_the_training_that_it_is_evaluated_with(place: Place, slurm: Cluster) -> None:
    lengths = ["length.train_tokens=256", "data_mix=longsafety", "launcher=slurm"]
    runs = [Run.freeze(place.settings(*lengths, f"length.max_tokens={tokens}")) for tokens in (256, 512)]
    assert runs[0].addresses.weights == runs[1].addresses.weights and runs[0].folder != runs[1].folder
    given = [Task(run, f"run {number} of 2", "arm", f"title {number}") for number, run in enumerate(runs, 1)]
    assert executed(given, place) == (0, [])
    _, first, second = scripts(place)
    assert "--dependency=afterok:10\n" in first and "--dependency=afterok:10:11\n" in second


def test_what_was_built_is_not_built_by_a_job_again(place: Place, slurm: Cluster) -> None:
    given = tasks(place, 2)
    for task in given:
        (task.run.folder / PREPARED).write_text("{}", "utf-8")
    assert executed(given, place) == (0, [])
    [script] = scripts(place)
    assert "dependency" not in script


# --- what becomes of jobs -------------------------------------------------------------------------------------------


def test_each_line_tells_a_run_and_its_job(place: Place, slurm: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    slurm.tell(ends={"11_1": ["PENDING", "RUNNING", "PENDING", "RUNNING", "COMPLETED"]})
    assert executed(tasks(place, 2), place) == (0, [])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("[2/2]")] == [
        "[2/2] run: title 1: submitted (job 11_1)",
        "[2/2] run: title 1: runs on node1 (job 11_1)",
        "[2/2] run: title 1: waits in the queue again (job 11_1), and goes on from there",
        "[2/2] run: title 1: runs on node1 (job 11_1)",
        "[2/2] run: title 1: done (job 11_1)",
    ]


def test_the_first_failure_stops_the_others(place: Place, slurm: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    slurm.tell(ends={"11_0": ["PENDING", "OUT_OF_MEMORY"], "11_1": ["PENDING"] * 9 + ["RUNNING"] * 90})
    given = tasks(place, 2)
    assert executed(given, place) == (1, [])
    said = capsys.readouterr().err
    assert "run 1 of 2 (title 0) failed (job 11_0, OUT_OF_MEMORY; raise launcher.slurm.mem_gb)" in said
    assert "the other jobs of the sweep are stopped (10 11_1)" in said and "run 2 of 2" not in said
    assert slurm.asked("scancel") == [
        "scancel --state=PENDING 10 11_1",
        "scancel --state=RUNNING --signal=TERM 10 11_1",
    ]


def test_without_fail_fast_the_others_are_made_and_the_reason_is_told(
    place: Place, slurm: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tasks(place, 2, "fail_fast=false")
    slurm.tell(ends={"11_0": ["PENDING", "RUNNING", "RUNNING", "FAILED"]})
    log = place.outputs / "sweeps" / "run-1" / "slurm" / "11_0_0_log.err"
    log.parent.mkdir(parents=True)
    log.write_text("something\nlongsafety: the disk is full\n", "utf-8")
    assert executed(given, place) == (0, ["title 0"])
    out, err = capsys.readouterr()
    assert "[2/2] run: title 1: done (job 11_1)" in out and not slurm.asked("scancel")
    assert f"run 1 of 2 (title 0) failed (job 11_0, FAILED): the disk is full; its messages are in {log}; " in err
    assert "--dependency=afterany:10" in scripts(place)[1]


def test_ctrl_c_leaves_the_jobs_and_the_same_command_finds_them(
    place: Place, slurm: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tasks(place, 2)
    slurm.tell(interrupts=2, moves=False)
    assert executed(given, place) == (128 + signal.SIGINT, [])
    assert "the jobs stay in the queue (10 11_[0,1]): the same command waits for them" in capsys.readouterr().err
    submitted = slurm.asked("sbatch")
    slurm.tell(moves=True)
    assert executed(given, place) == (0, [])
    assert slurm.asked("sbatch") == submitted and not slurm.asked("scancel")
    assert "[2/2] run: title 1: in the queue already (job 11_1)" in capsys.readouterr().out
    (given[0].run.folder / DONE).touch()
    assert executed(given[1:], place) == (0, []), "a job that has ended is submitted again"
    assert len(slurm.asked("sbatch")) == len(submitted) + 1


def test_ctrl_c_cancels_them_where_that_is_asked_for(
    place: Place, slurm: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.tell(interrupts=2, moves=False)
    assert executed(tasks(place, 2, "launcher.slurm.cancel=true"), place)[0] == 128 + signal.SIGINT
    assert "the jobs are cancelled (10 11_[0,1])" in capsys.readouterr().err
    assert slurm.asked("scancel")[0] == "scancel --state=PENDING 10 11_0 11_1"


def test_what_sbatch_refuses_is_told(place: Place, slurm: Cluster) -> None:
    slurm.tell(refuses="invalid partition specified: gpu")
    with pytest.raises(ConfigError, match=r"the job is refused \(sbatch: error: invalid partition specified: gpu\)"):
        executed(tasks(place, 1), place)


def test_without_slurm_nothing_begins(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match=r"sbatch, srun, squeue, scancel not found.*set launcher=local"):
        refuse_without_slurm(settings_of(place))


def test_the_status_is_slurms_while_the_job_is_there(place: Place, slurm: Cluster) -> None:
    settings = settings_of(place)
    run = Run.freeze(settings)
    Job("12", "name", "sweep", "log").keep(run.folder)

    def told(word: str) -> str:
        slurm.tell(jobs=[["12", "name", [word]]])
        [(_, state)] = status([settings])
        return state

    assert told("PENDING") == "queued (job 12, Priority)"
    assert told("RUNNING") == "running on node1 (job 12)"
    assert told("CANCELLED") == "queued (job 12 has ended, CANCELLED)"
    assert told("SPECIAL_EXIT") == "queued (job 12, Priority)", "held until somebody releases it"
    slurm.tell(jobs=[])
    assert status([settings])[0][1] == "queued (job 12 is no longer in Slurm: submit it again)"
    (slurm.folder / "squeue").rename(slurm.folder / "away")
    assert status([settings])[0][1] == "unknown: job 12 was submitted, and squeue does not answer; ask again"
    (slurm.folder / "away").rename(slurm.folder / "squeue")
    with pytest.raises(KeyboardInterrupt), noted(run.folder):
        raise KeyboardInterrupt
    assert told("FAILED") == "stopped; the same command continues it"
    with pytest.raises(ValueError, match="small"), noted(run.folder):
        raise ValueError("the disk is too small")
    assert told("FAILED") == "failed: the disk is too small"
    slurm.tell(jobs=[["12", "another job with its number", ["RUNNING"]]])
    assert status([settings])[0][1] == "failed: the disk is too small"


def test_a_program_that_does_not_answer_counts_as_one_that_fails(
    slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_queue, "_ANSWER_SECONDS", 0.2)
    (slurm.folder / "squeue").write_text("#!/bin/sh\nexec sleep 60\n", "utf-8")
    assert slurm_queue.look() is None


def test_a_queue_that_is_away_is_told_once(
    place: Place, slurm: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([slurm_queue.look, lambda: None, lambda: None])
    monkeypatch.setattr("longsafety.pipeline.slurm.look", lambda: next(answers, slurm_queue.look)())
    executed(tasks(place, 1), place)
    said = capsys.readouterr().err
    assert said.count("squeue does not answer; this command asks again") == 1
    assert said.count("squeue answers again") == 1


def test_ids_of_an_array_are_listed_together() -> None:
    assert listed(["12_0", "13", "12_2", "14_5"]) == "12_[0,2] 13 14_5"


# --- within a job -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_job_is_requeued_before_its_time_limit_if_it_went_on(
    goes_on: bool, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, run = tmp_path / "asked", Run.freeze(settings_of(place))
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {asked}\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    partial = run.store.partial("answers", run.addresses.answers)
    partial.mkdir(parents=True)
    os.utime(partial, (1e9, 1e9))
    monkeypatch.setattr(_State, "raised", float("-inf"))
    monkeypatch.setattr(_State, "received", None)  # afterwards too: no later test is interrupted
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in (*HEARD, signal.SIGALRM)}
    try:
        listen()
        with pytest.raises(KeyboardInterrupt), requeueing([run.folder]):
            if goes_on:
                (partial / "journal.jsonl").touch()
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(5)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert asked.exists() == goes_on and (not goes_on or asked.read_text() == "requeue 17\n")
    assert ("not requeued; raise launcher.slurm.minutes" in capsys.readouterr().err) == (not goes_on)


def test_of_an_array_one_job_alone_is_requeued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    variables = {"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    requeue()
    assert (tmp_path / "asked").read_text() == "requeue 17_2\n"


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["launcher.slurm.partition=gpu"], r"launcher\.slurm\.partition = gpu: launcher = local has no such jobs"),
        (["launcher=slurm", "launcher.slurm.minutes=3"], r"signal_seconds = 120: is more than half of a job's time"),
        (["launcher=slurm", "trainer=ddp"], r"trainer\.devices = auto: .* set launcher\.slurm\.gpus_per_node"),
        (["launcher=slurm", "trainer=a100_8", "launcher.slurm.gpus_per_node=4"], r"fewer than trainer\.devices = 8"),
        (["launcher=skypilot", "trainer=a100_2x8"], r"launcher = skypilot: .*num_nodes = 2; set launcher=slurm"),
    ],
)
def test_settings_that_make_no_job_are_refused(place: Place, typed: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        place.settings("data_mix=longsafety", *typed)
