"""Freezes every job to a file and executes each in its own process, then the comparison; what is done is not redone."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from longsafety.errors import ConfigError
from longsafety.model.kernels import missing_packages
from longsafety.pipeline.addresses import Keys, keys
from longsafety.ranks import first_rank
from longsafety.settings import Settings
from longsafety.stages import Store, address, slug, writable

SETTINGS, DONE, TABLE, SWEEP = "settings.yaml", "done", "table.txt", "sweep.yaml"


@dataclass(frozen=True)
class Run:
    """A frozen run: its folder holds ``settings.yaml``, and ``done`` once it is finished."""

    settings: Settings
    keys: Keys
    folder: Path

    @property
    def done(self) -> bool:
        return (self.folder / DONE).exists()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: an export is written again, but of a sweep's models those that are there."""
        if not self.done or "export" not in self.settings.stages:
            return self.done
        return self.settings.exports_weights and (not self.settings.data_mix.sources or bool(self.export_problem))

    @property
    def export_problem(self) -> str:
        """Why the trained model cannot be written, empty where it can."""
        from longsafety.formats.export import folder_problem

        if not self.settings.exports_weights or not self.settings.data_mix.sources:
            return ""
        return folder_problem(Path(str(self.settings.export.path)), "weights")


def freeze(settings: Settings) -> Run:
    """Writes the resolved settings to the run's folder, which is named by the arm and the run's address."""
    addresses = keys(settings)
    folder = Path(settings.paths.outputs) / "runs" / settings.name / f"{slug(settings.label)}-{addresses.run}"
    writable(folder)
    text = yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True)
    # Ranks that are started one by one each freeze the same; none may find the file half written.
    written = folder / f"{SETTINGS}.{socket.gethostname()}-{os.getpid()}"
    written.write_text(f"# Frozen. Execute it with: python -m longsafety.pipeline.worker run {folder}\n{text}", "utf-8")
    written.replace(folder / SETTINGS)
    return Run(settings, addresses, folder)


def launch(jobs: Sequence[Settings], command: Sequence[str]) -> int:
    """Runs what is missing and shows the comparison. Returns the exit status.

    Stops at the first job that fails; what was complete is kept, and the same command goes on from there. Where the
    ranks of a training are started from outside, all but the first only train.
    """
    first = jobs[0]
    if first.stages == ["plan"]:
        return _show_plans(jobs)
    if not first_rank():
        return next((code for code in (_worker("run", freeze(settings).folder) for settings in jobs) if code), 0)
    writable(Path(first.paths.outputs))
    if not first.only_builds and ("report" in first.stages or not first.rescores):
        _answering_tracker(first)
    runs = [freeze(settings) for settings in jobs]
    _refuse_missing(runs)
    if problems := [run.export_problem for run in runs if not run.done and run.export_problem]:
        raise ConfigError(problems)
    sweep = _freeze_sweep(runs, command)
    for number, run in enumerate(runs, 1):
        if run.finished:
            continue
        print(f"[{number}/{len(runs)}] {run.settings.name}: {_title(run.settings)}", flush=True)
        code = _worker("run", run.folder, sweep)
        if code:
            done = sum(item.done for item in runs)
            print(
                f"longsafety: run {number} of {len(runs)} ({_title(run.settings)}) failed; {done} finished runs are "
                "kept, the same command goes on from there",
                file=sys.stderr,
            )
            return code
    if first.only_builds:
        for run in runs:
            _show_built(run)
        return 0
    if first.rescores:
        for run in runs:
            print((run.folder / TABLE).read_text("utf-8"))
            print(f"scores   {run.folder / 'scores.csv'}")
        if len(runs) == 1 and "report" not in first.stages:
            return 0
    return _compare(first, sweep) if "score" in first.stages else 0


def _refuse_missing(runs: Sequence[Run]) -> None:
    """Raises ConfigError where a run lies ahead that needs a package which is not here."""

    def trained(run: Run) -> bool:
        kept = Store(Path(run.settings.paths.outputs)).folder("weights", run.keys.weights)
        return bool(run.keys.weights) and kept.is_dir()

    ahead = [run.settings for run in runs if not run.done and not trained(run)]
    missing = sorted({line for settings in ahead for line in missing_packages(settings)})
    if missing:
        raise ConfigError(missing)


def _show_plans(jobs: Sequence[Settings]) -> int:
    from rich.console import Console

    from longsafety.planning.tables import plan_tables
    from longsafety.planning.training import plan

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for part in plan_tables([plan(settings) for settings in jobs]):
        console.print(part)
        console.print()
    return 0


def _show_built(run: Run) -> None:
    if (run.folder / TABLE).exists():
        print((run.folder / TABLE).read_text("utf-8"))
        print(f"gallery  {run.folder / 'gallery.html'}")


def _freeze_sweep(runs: Sequence[Run], command: Sequence[str]) -> Path:
    """Writes ``sweep.yaml``: the sweep's name, address, command and the folders of its runs."""
    first = runs[0].settings
    key = address([run.keys.run for run in runs], first.baseline)
    folder = Path(first.paths.outputs) / "sweeps" / f"{first.name}-{key}"
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


def _compare(first: Settings, folder: Path) -> int:
    told = folder / f"{DONE}-{address(first.tracking.enabled, first.tracking.uri)}"
    if not told.exists():
        code = _worker("compare", folder)
        if code:
            return code
        told.touch()
    print((folder / TABLE).read_text("utf-8"))
    print(f"scores   {folder / 'comparison.csv'}")
    if "report" not in first.stages:
        return 0
    print(f"report   {folder / 'report.html'}")
    if first.tracking.enabled:
        from longsafety.tracking.store import tracking_uri

        print(f"mlflow   mlflow ui --backend-store-uri {tracking_uri(first.tracking, Path(first.paths.outputs))}")
    return 0


def _worker(what: str, *folders: Path) -> int:
    command = [sys.executable, "-m", "longsafety.pipeline.worker", what, *map(str, folders)]
    return subprocess.run(command, check=False).returncode


def _title(settings: Settings) -> str:
    length = settings.length
    if settings.read.path:
        return f"reading {settings.read.path}"
    if settings.rescores:
        return f"scoring {settings.evaluation.answers}"
    if settings.only_builds:
        return f"building scenario {settings.scenario.name}, {_lengths(settings)}"
    trained = "" if not settings.data_mix.sources else f"trained at {length.training_tokens} tokens, "
    return f"{settings.label} ({trained}evaluated at {length.bench_tokens})"


def _lengths(settings: Settings) -> str:
    length = settings.length
    if length.lengths:
        return ", ".join(map(str, length.lengths)) + " tokens"
    if length.mean_tokens:
        bench = f" (benchmark {length.bench_mean_tokens:,})" if length.bench_mean_tokens else ""
        return f"{length.mean_tokens:,} tokens on average{bench}, at most {length.max_tokens:,}"
    return f"{length.max_tokens:,} tokens"


def _answering_tracker(settings: Settings) -> None:
    if settings.tracking.enabled:
        from longsafety.tracking.store import check

        check(settings.tracking, Path(settings.paths.outputs))
