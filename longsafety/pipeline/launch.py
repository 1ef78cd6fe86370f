"""Freezes every job to a file and executes each in its own process, then the comparison; what is done is not redone."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from longsafety.errors import ConfigError
from longsafety.formats.export import folder_problem
from longsafety.model.kernels import missing_packages
from longsafety.model.shape import shape_of
from longsafety.pipeline.addresses import addresses
from longsafety.pipeline.addresses import sweep as sweep_address
from longsafety.pipeline.clean import clean
from longsafety.pipeline.joined import join
from longsafety.pipeline.release import FAILED_GATE, Row, gate_problem, rows, table
from longsafety.pipeline.run import DONE, SWEEP, TABLE, Run
from longsafety.pipeline.status import status
from longsafety.pipeline.workers import Workers, can_fork
from longsafety.planning.tables import plan_tables, simulated_table
from longsafety.planning.training import plan
from longsafety.ranks import first_rank
from longsafety.settings import Gate, Settings
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
    if first.stages == ["status"]:
        return _show_status(jobs)
    if first.stages == ["clean"]:
        print("\n".join(clean(Path(first.paths.outputs), remove=first.clean.remove)))
        return 0
    if first.report.runs:
        with Workers(fork=False) as workers:
            return _compare(first, join(first, command), workers)
    if first.writes_seeds:
        return _write_seeds(jobs)
    if not first_rank():
        with Workers(fork=False) as workers:
            every = [*_earlier(jobs), *jobs]
            return next((code for code in (workers.run("run", Run.freeze(job).folder) for job in every) if code), 0)
    writable(Path(first.paths.outputs))
    if first.tracking.enabled and not first.only_builds and ("report" in first.stages or not first.rescores):
        check_tracker(first.tracking, Path(first.paths.outputs))
    runs = [Run.freeze(settings) for settings in jobs]
    _refuse_missing_packages(runs)
    if problems := [problem for run in runs if not run.done and (problem := _export_problem(run))]:
        raise ConfigError(problems)
    sweep = _freeze_sweep(runs, command)
    earlier = [Run.freeze(settings) for settings in _earlier(jobs)]
    with Workers(fork=all(can_fork(run.settings) for run in runs)) as workers:
        return _execute([*earlier, *runs], sweep, workers) or _show(runs, sweep, workers)


def _earlier(jobs: Sequence[Settings]) -> list[Settings]:
    """The trainings that jobs tune further: each is a run of its own, because a process trains once."""
    found: dict[str, Settings] = {}
    for settings in jobs:
        if len(settings.phases) > 1 and settings.trains and settings.reuse.weights is None:
            first = settings.phases[0].model_copy(update={"stages": ["build", "train"], "varied": {}})
            label = f"{settings.data_mix.name} before it is tuned further"
            found.setdefault(addresses(first).weights, first.model_copy(update={"label": label}))
    return list(found.values())


def _execute(runs: Sequence[Run], sweep: Path, workers: Workers) -> int:
    """Executes the runs that are not finished. Returns the exit status of the first that fails, or 0; with
    ``fail_fast`` it is the last."""
    failed: list[tuple[str, int]] = []
    ahead = [run for run in runs if not _finished(run) and not run.settings.rescores]
    if len(ahead) > 1 and any(run.settings.trains for run in ahead):
        print(f"preparing {len(ahead)} runs", flush=True)
        code = workers.run("prepare", *(run.folder for run in ahead))
        if code and (code != 2 or ahead[0].settings.fail_fast):
            return code
    for number, run in enumerate(runs, 1):
        if _finished(run):
            continue
        print(f"[{number}/{len(runs)}] {run.settings.name}: {title(run.settings)}", flush=True)
        code = workers.run("run", run.folder, sweep)
        if code and not run.settings.fail_fast and code != 130:
            failed.append((title(run.settings), code))
        elif code:
            done = sum(item.done for item in runs)
            print(
                f"longsafety: run {number} of {len(runs)} ({title(run.settings)}) failed; {done} finished runs are "
                "kept, the same command goes on from there",
                file=sys.stderr,
            )
            return code
    if failed:
        names = "; ".join(name for name, _ in failed)
        print(f"longsafety: {len(failed)} of {len(runs)} runs failed, the others are kept: {names}", file=sys.stderr)
    return failed[0][1] if failed else 0


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
    return _compare(first, sweep, workers) if "score" in first.stages else 0


def _compare(first: Settings, folder: Path, workers: Workers) -> int:
    done = folder / f"{DONE}-{address(first.tracking.enabled, first.tracking.uri)}"
    if not done.exists():
        code = workers.run("compare", folder)
        if code:
            return code
        done.touch()
    print((folder / TABLE).read_text("utf-8"))
    scores = rows(folder / "comparison.csv", first.evaluation.scorers)
    if first.report.table is not None:
        print(f"{table(scores, first.report.table)}\n")
    print(f"scores   {folder / 'comparison.csv'}")
    if "report" in first.stages:
        print(f"report   {folder / 'report.html'}")
        if first.tracking.enabled:
            print(f"mlflow   mlflow ui --backend-store-uri {tracking_uri(first.tracking, Path(first.paths.outputs))}")
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


def _write_seeds(jobs: Sequence[Settings]) -> int:
    from longsafety.pipeline.write_seeds import write_seed_file

    for settings in jobs:
        write_seed_file(settings)
    return 0


def _show_plans(jobs: Sequence[Settings]) -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
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
