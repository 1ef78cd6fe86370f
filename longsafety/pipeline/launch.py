"""Freezes every job to a file and executes each in its own process, then the comparison; what is done is not redone."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from longsafety.code import CODE
from longsafety.environment import loopback
from longsafety.errors import ConfigError
from longsafety.evaluation.open_replies.sheet import SHEET
from longsafety.files import write_text
from longsafety.host.locks import locked
from longsafety.launched import forget_other_jobs
from longsafety.model.kernels import missing_packages
from longsafety.model.shape import shape_of
from longsafety.pipeline.addresses import addresses
from longsafety.pipeline.addresses import sweep as sweep_address
from longsafety.pipeline.clean import clean
from longsafety.pipeline.ended import exit_status, told
from longsafety.pipeline.executed import execute_all, export_problem
from longsafety.pipeline.joined import join
from longsafety.pipeline.release import FAILED_GATE, Row, gate_problem, rows, table
from longsafety.pipeline.run import DONE, NOT_LOGGED, SWEEP, TABLE, Run
from longsafety.pipeline.skypilot import write_task
from longsafety.pipeline.slurm import refuse_without_slurm
from longsafety.pipeline.status import status
from longsafety.pipeline.workers import LAST, Workers, can_fork
from longsafety.planning.tables import plan_tables, simulated_table
from longsafety.planning.training import plan
from longsafety.ranks import first_rank
from longsafety.settings import Gate, Settings
from longsafety.stages import address, folder_name, writable
from longsafety.tracking.uri import check as check_tracker
from longsafety.tracking.uri import hide_password, is_logged, tracking_uri, unread, without_password


def launch(jobs: Sequence[Settings], command: Sequence[str]) -> int:
    """Runs what is missing and shows the comparison. Returns the exit status.

    Stops at the first job that fails; what was complete is kept, and the same command goes on from there. Where the
    ranks of a training are started from outside, all but the first only train.
    """
    first = jobs[0]
    if first.stages == ["plan"]:
        return _show_plans(jobs)
    if first.stages == ["status"]:
        return _show_status(jobs)
    if first.stages == ["clean"]:
        print("\n".join(clean(Path(first.paths.outputs), remove=first.clean.remove)))
        return 0
    if first.writes_seeds:
        return _write_seeds(jobs)
    _forget_other_jobs(jobs)
    jobs, command = _without_password(jobs, command)
    first = jobs[0]
    if first.launcher.kind == "skypilot":
        return write_task(jobs, command)
    if first.launcher.kind == "slurm" and not first.report.runs:
        refuse_without_slurm(first)
    if first.report.runs:
        with Workers(fork=False) as workers:
            return _compare(first, join(first, command), workers)
    if not first_rank():
        with Workers(fork=False) as workers:
            codes = (workers.run("run", Run.freeze(job).folder) for job in [*_earlier(jobs), *jobs])
            return exit_status(next((code for code in codes if code), 0), workers.stopped)
    writable(Path(first.paths.outputs))
    if first.tracking.enabled and not first.only_builds and ("report" in first.stages or not first.rescores):
        for line in unread(first.tracking, Path(first.paths.outputs)):
            print(f"longsafety: {line}", file=sys.stderr)
        if away := check_tracker(first.tracking, Path(first.paths.outputs)):
            print(f"longsafety: {away}", file=sys.stderr)
    source = CODE.digest()
    runs = [Run.freeze(settings, source) for settings in jobs]
    _refuse_missing_packages(runs)
    if problems := [problem for run in runs if not run.done and (problem := export_problem(run))]:
        raise ConfigError(problems)
    sweep = _freeze_sweep(runs, command)
    earlier = [Run.freeze(settings) for settings in _earlier(jobs)]
    with Workers(fork=all(can_fork(run.settings) for run in runs)) as workers:
        return execute_all(earlier, runs, sweep, workers) or _show(runs, sweep, workers)


def _earlier(jobs: Sequence[Settings]) -> list[Settings]:
    """The trainings that jobs tune further: each is a run of its own, because a process trains once."""
    found: dict[str, Settings] = {}
    for settings in jobs:
        if len(settings.phases) > 1 and settings.trains and settings.reuse.weights is None:
            first = settings.phases[0].model_copy(update={"stages": ["build", "train"], "varied": {}})
            label = f"{settings.data_mix.name} before it is tuned further"
            found.setdefault(addresses(first).weights, first.model_copy(update={"label": label}))
    return list(found.values())


def _without_password(jobs: Sequence[Settings], command: Sequence[str]) -> tuple[list[Settings], list[str]]:
    """Jobs and command as files may hold them: a password in ``tracking.uri`` stays in the environment."""
    hidden = [hide_password(job.tracking) for job in jobs]
    passwords = {password for _, password in hidden if password}
    for password in passwords:
        command = [argument.replace(f":{password}@", ":***@") for argument in command]
    return [job.model_copy(update={"tracking": found}) for job, (found, _) in zip(jobs, hidden, strict=True)], [
        *command
    ]


def _forget_other_jobs(jobs: Sequence[Settings]) -> None:
    """Removes variables that would make a run a rank of a training that it is not; says which."""
    trains = any(job.trains for job in jobs) and jobs[0].launcher.kind in ("local", "parallel")
    alone = {"devices": 1, "num_nodes": 1}
    gone, told_of = forget_other_jobs(jobs[0].trainer.model_copy(update={} if trains else alone))
    for name in gone:
        del os.environ[name]
    if trains and jobs[0].trainer.num_nodes == 1:
        os.environ.update({name: value for name, value in loopback().items() if name not in os.environ})
    if told_of:
        print(
            f"longsafety: {', '.join(told_of)}: set by another job or launcher, and not read: this command starts all "
            "processes of its training itself",
            file=sys.stderr,
        )


def _refuse_missing_packages(runs: Sequence[Run]) -> None:
    """Raises ConfigError where a run lies ahead that needs a package which is not installed."""
    ahead = [run.settings for run in runs if not run.done and run.find("weights") is None]
    missing = sorted({line for settings in ahead for line in missing_packages(settings)})
    if missing:
        raise ConfigError(missing)


def _freeze_sweep(runs: Sequence[Run], command: Sequence[str]) -> Path:
    """Writes ``sweep.yaml``: the sweep's name, address, command and the folders of its runs."""
    first = runs[0].settings
    key = sweep_address([run.addresses.run for run in runs], first.baseline)
    folder = Path(first.paths.outputs) / "sweeps" / f"{folder_name(first.name)}-{key}"
    writable(folder)
    sweep = {
        "name": first.name,
        "key": key,
        "command": shlex.join(command),
        "runs": [str(run.folder) for run in runs],
        "tracking": first.tracking.model_dump(),
        "sheet": first.evaluation.sheet,
    }
    write_text(folder / SWEEP, yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True))
    return folder


def _show(runs: Sequence[Run], sweep: Path, workers: Workers) -> int:
    """Prints what the finished runs have made, after their comparison where they are scored."""
    first = runs[0].settings
    if first.only_builds:
        for run in runs:
            if (run.folder / TABLE).exists():
                print((run.folder / TABLE).read_text("utf-8"))
                print(f"gallery  {run.folder / 'gallery.html'}")
        return 0
    if first.rescores:
        for run in runs:
            print((run.folder / TABLE).read_text("utf-8"))
            print(f"scores   {run.folder / 'scores.csv'}")
        if len(runs) == 1 and "report" not in first.stages:
            return 0
    return _compare(first, sweep, workers, runs) if "score" in first.stages else 0


def _compare(first: Settings, folder: Path, workers: Workers, runs: Sequence[Run] = ()) -> int:
    tracking = first.tracking
    done = folder / f"{DONE}-{address(tracking.enabled, tracking.uri, tracking.registered_model)}"
    with locked(folder / "comparison.lock", "this comparison"):  # the same command may run twice
        if not (done.exists() and _whole(first, folder)):
            code = workers.run(LAST, folder)
            if code or workers.stopped is not None:
                print(f"longsafety: {told(code, workers.stopped, 'the comparison')}", file=sys.stderr)
                return exit_status(code, workers.stopped)
            # Else answers are missing or MLflow's server was away, and the same command asks and logs again.
            if all(run.done for run in runs) and not (folder / NOT_LOGGED).exists():
                done.touch()
    print((folder / TABLE).read_text("utf-8"))
    scores = rows(folder / "comparison.csv", first.evaluation.scorers)
    if first.report.table is not None:
        print(f"{table(scores, first.report.table)}\n")
    print(f"scores   {folder / 'comparison.csv'}")
    if first.evaluation.sheet and (folder / SHEET).exists():
        print(f"sheet    {folder / SHEET}")
    if "report" in first.stages:
        print(f"report   {folder / 'report.html'}")
        if first.tracking.enabled:
            uri = without_password(tracking_uri(first.tracking, Path(first.paths.outputs)))
            print(f"mlflow   mlflow ui --backend-store-uri {shlex.quote(uri)}")
    return _gated(first, folder, scores)


def _gated(first: Settings, folder: Path, scores: Sequence[Row]) -> int:
    if first.gate == Gate():
        return 0
    baselines = json.loads((folder / "comparison.json").read_text("utf-8"))["baselines"]
    problem = gate_problem(scores, first.gate, baselines)
    print(f"gate     {'not passed' if problem else 'passed'}" + (f"; {problem}" if problem else ""))
    return FAILED_GATE if problem else 0


def _show_status(jobs: Sequence[Settings]) -> int:
    found = status(jobs)
    width = max(len(name) for name, _ in found)
    print("\n".join(f"{name:<{width}}  {state}" for name, state in found))
    done = sum(state == "done" for _, state in found)
    print(f"{done} of {len(found)} done")
    return 0


def _whole(first: Settings, folder: Path) -> bool:
    """Whether all that the comparison had made is still there, in the folder and in MLflow's store."""
    reports = "report" in first.stages
    sheet = (SHEET,) if first.evaluation.sheet else ()
    files = (TABLE, "comparison.csv", *sheet, *(("report.html",) if reports else ()))
    if not all((folder / name).exists() for name in files):
        return False
    if not reports or not first.tracking.enabled or first.report.runs:
        return True
    sweep = yaml.safe_load((folder / SWEEP).read_text("utf-8"))
    keys = [sweep["key"], *(Path(run).name.rpartition("-")[2] for run in sweep["runs"])]
    return is_logged(first.tracking, Path(first.paths.outputs), first.name, keys)


def _write_seeds(jobs: Sequence[Settings]) -> int:
    from longsafety.pipeline.write_seeds import write_seed_file

    for settings in jobs:
        write_seed_file(settings)
    return 0


def _show_plans(jobs: Sequence[Settings]) -> int:
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
    plans = [plan(settings) for settings in jobs]
    for part in plan_tables(plans):
        console.print(part)
        console.print()
    if jobs[0].plan.simulate:
        from longsafety.planning.simulate import simulated_memory  # torch, which no other plan needs

        simulated = [
            (made, simulated_memory(settings, shape, made))
            for settings, made in zip(jobs, plans, strict=True)
            if made.memory is not None and (shape := shape_of(settings.model)) is not None
        ]
        console.print(simulated_table(simulated))
    return 0
