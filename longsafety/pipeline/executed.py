"""Has frozen runs executed: what they share first, then each run, one after another or several at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from longsafety.errors import visible
from longsafety.formats.export import folder_problem
from longsafety.pipeline.ended import INTERRUPTED, exit_status, told
from longsafety.pipeline.parallel import Task, execute_side_by_side, slots
from longsafety.pipeline.run import Run
from longsafety.pipeline.slurm import execute_on_slurm
from longsafety.pipeline.workers import Workers
from longsafety.settings import Settings


def execute_all(earlier: Sequence[Run], runs: Sequence[Run], sweep: Path, workers: Workers) -> int:
    """Executes the runs that are not finished, ``earlier`` ones first, because the others need their weights.

    Returns the exit status of the first that fails, or 0; with ``fail_fast`` the others are not begun then.
    """
    launcher, everything = runs[0].settings.launcher, [*earlier, *runs]
    ahead = [run for run in everything if not finished(run)]
    tasks = [
        Task(run, f"run {number} of {len(everything)}", _name(run, everything), title(run.settings))
        for number, run in enumerate(everything, 1)
        if run in ahead
    ]
    if launcher.kind == "slurm":
        code, failed = execute_on_slurm(tasks, sweep, workers)
        return code or _told_failed(failed, runs)
    places = slots([run.settings for run in ahead]) if launcher.kind == "parallel" and ahead else []
    if code := _prepare([run for run in ahead if not run.settings.rescores], workers):
        return code
    failed = []
    for wave in (earlier, runs):
        now = [task for task in tasks if task.run in wave and not finished(task.run)]
        if launcher.kind == "parallel":
            code, ended = execute_side_by_side(now, sweep, workers, places)
        else:
            code, ended = _one_by_one(now, sweep, workers)
        failed += ended
        if code:
            return code
    return _told_failed(failed, runs)


def _told_failed(failed: Sequence[tuple[str, int]], runs: Sequence[Run]) -> int:
    """Names the runs that failed without ending the sweep. Returns the first one's exit status, or 0."""
    if failed:
        names = "; ".join(name for name, _ in failed)
        print(f"longsafety: {len(failed)} of {len(runs)} runs failed, the others are kept: {names}", file=sys.stderr)
    return exit_status(failed[0][1], None) if failed else 0


def _prepare(ahead: Sequence[Run], workers: Workers) -> int:
    """Makes once what the trainings share. Returns an exit status where no run may begin."""
    if len(ahead) < 2 or not any(run.settings.trains for run in ahead):
        return 0
    print(f"preparing {len(ahead)} runs", flush=True)
    code = workers.run("prepare", *(run.folder for run in ahead))
    stopped = workers.stopped is not None or code == INTERRUPTED
    if stopped or code < 0:
        print(f"longsafety: {told(code, workers.stopped, 'the preparation')}", file=sys.stderr)
    if stopped or (code and (code != 2 or ahead[0].settings.fail_fast)):
        return exit_status(code, workers.stopped)
    return 0


def _one_by_one(tasks: Sequence[Task], sweep: Path, workers: Workers) -> tuple[int, list[tuple[str, int]]]:
    """The exit status that ends the sweep, or 0; and title and status of the runs that failed without ending it."""
    failed = []
    for task in tasks:
        print(task.heading, flush=True)
        code = workers.run("run", task.run.folder, sweep)
        stopped = workers.stopped is not None or code == INTERRUPTED
        if code and not task.run.settings.fail_fast and not stopped:
            failed.append((task.title, code))
        elif code or stopped:
            print(f"longsafety: {task.told(code, workers.stopped)}", file=sys.stderr)
            return exit_status(code, workers.stopped), failed
    return 0, failed


def _name(run: Run, runs: Sequence[Run]) -> str:
    """The run's label; with the length where another run has it too."""
    settings = run.settings
    several = sum(other.settings.label == settings.label for other in runs) > 1
    return visible(f"{settings.label} at {settings.length.bench_lengths}" if several else settings.label)


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


def finished(run: Run) -> bool:
    """Whether nothing is left to do: an export is written again, but of a sweep's models those that are there."""
    if not run.done or "export" not in run.settings.stages:
        return run.done
    return run.settings.exports_weights and (not run.settings.data_mix.sources or bool(export_problem(run)))


def export_problem(run: Run) -> str:
    """Why the trained model cannot be written, empty where it can."""
    if not run.settings.exports_weights or not run.settings.data_mix.sources:
        return ""
    return folder_problem(Path(str(run.settings.export.path)), "weights")
