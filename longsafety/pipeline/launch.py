"""Freezes every job to a file and executes each in its own process, then the comparison; what is done is not redone."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from longsafety.errors import ConfigError
from longsafety.formats.export import folder_problem
from longsafety.model.kernels import missing_packages
from longsafety.pipeline.addresses import sweep as sweep_address
from longsafety.pipeline.run import DONE, SWEEP, TABLE, Run
from longsafety.pipeline.workers import Workers, can_fork
from longsafety.planning.tables import plan_tables
from longsafety.planning.training import plan
from longsafety.ranks import first_rank
from longsafety.settings import Settings
from longsafety.stages import address, folder_name, writable
from longsafety.tracking.uri import check as check_tracker
from longsafety.tracking.uri import tracking_uri


def launch(jobs: Sequence[Settings], command: Sequence[str]) -> int:
    """Runs what is missing and shows the comparison. Returns the exit status.

    Stops at the first job that fails; what was complete is kept, and the same command goes on from there. Where the
    ranks of a training are started from outside, all but the first only train.
    """
    first = jobs[0]
    if first.stages == ["plan"]:
        return _show_plans(jobs)
    if first.writes_seeds:
        return _write_seeds(jobs)
    if not first_rank():
        with Workers(fork=False) as workers:
            return next((code for code in (workers.run("run", Run.freeze(job).folder) for job in jobs) if code), 0)
    writable(Path(first.paths.outputs))
    if first.tracking.enabled and not first.only_builds and ("report" in first.stages or not first.rescores):
        check_tracker(first.tracking, Path(first.paths.outputs))
    runs = [Run.freeze(settings) for settings in jobs]
    _refuse_missing_packages(runs)
    if problems := [problem for run in runs if not run.done and (problem := _export_problem(run))]:
        raise ConfigError(problems)
    sweep = _freeze_sweep(runs, command)
    with Workers(fork=all(can_fork(run.settings) for run in runs)) as workers:
        return _execute(runs, sweep, workers) or _show(runs, sweep, workers)


def _execute(runs: Sequence[Run], sweep: Path, workers: Workers) -> int:
    """Executes the runs that are not finished, up to the first that fails. Returns its exit status, or 0."""
    for number, run in enumerate(runs, 1):
        if _finished(run):
            continue
        print(f"[{number}/{len(runs)}] {run.settings.name}: {title(run.settings)}", flush=True)
        code = workers.run("run", run.folder, sweep)
        if code:
            done = sum(item.done for item in runs)
            print(
                f"longsafety: run {number} of {len(runs)} ({title(run.settings)}) failed; {done} finished runs are "
                "kept, the same command goes on from there",
                file=sys.stderr,
            )
            return code
    return 0


def title(settings: Settings) -> str:
    """What a run does, in a line."""
    if settings.read.path:
        return f"reading {settings.read.path}"
    if settings.rescores:
        return f"scoring {settings.evaluation.answers}"
    training, bench = str(settings.length.training_lengths), str(settings.length.bench_lengths)
    if settings.only_builds:
        lengths = training if training == bench else f"{training} (benchmark {bench})"
        return f"building scenario {settings.scenario.name}, {lengths} tokens"
    trained = f"trained at {training} tokens, " if settings.data_mix.sources else ""
    return f"{settings.label} ({trained}evaluated at {bench})"


def _finished(run: Run) -> bool:
    """Whether nothing is left to do: an export is written again, but of a sweep's models those that are there."""
    if not run.done or "export" not in run.settings.stages:
        return run.done
    return run.settings.exports_weights and (not run.settings.data_mix.sources or bool(_export_problem(run)))


def _export_problem(run: Run) -> str:
    """Why the trained model cannot be written, empty where it can."""
    if not run.settings.exports_weights or not run.settings.data_mix.sources:
        return ""
    return folder_problem(Path(str(run.settings.export.path)), "weights")


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
    }
    (folder / SWEEP).write_text(yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True), "utf-8")
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
    return _compare(runs, sweep, workers) if "score" in first.stages else 0


def _compare(runs: Sequence[Run], folder: Path, workers: Workers) -> int:
    first = runs[0].settings
    done = folder / f"{DONE}-{address(first.tracking.enabled, first.tracking.uri)}"
    if not done.exists():
        code = workers.run("compare", folder)
        if code:
            return code
        if all(run.done for run in runs):  # else answers are missing, and the same command asks for them
            done.touch()
    print((folder / TABLE).read_text("utf-8"))
    print(f"scores   {folder / 'comparison.csv'}")
    if "report" not in first.stages:
        return 0
    print(f"report   {folder / 'report.html'}")
    if first.tracking.enabled:
        print(f"mlflow   mlflow ui --backend-store-uri {tracking_uri(first.tracking, Path(first.paths.outputs))}")
    return 0


def _write_seeds(jobs: Sequence[Settings]) -> int:
    from longsafety.pipeline.write_seeds import write_seed_file

    for settings in jobs:
        write_seed_file(settings)
    return 0


def _show_plans(jobs: Sequence[Settings]) -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for part in plan_tables([plan(settings) for settings in jobs]):
        console.print(part)
        console.print()
    return 0
