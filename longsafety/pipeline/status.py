"""``stages=[status]``: what became of every job of a command, read from files; starts nothing and loads no library."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from longsafety.pipeline.addresses import SHOWN
from longsafety.pipeline.run import SETTINGS, Run
from longsafety.pipeline.slurm_queue import Job, Queue, look, state_of
from longsafety.planning.training import plan
from longsafety.settings import Settings

STATE = "state.json"
"""In a run's folder: the process that executes it, or why it failed."""
_STOPPED = "stopped"


@contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Around the execution of a run: who executes it, and the error that ended it."""
    about = {"host": socket.gethostname(), "pid": os.getpid(), "began": time.time()}
    _write(folder, about)
    try:
        yield
    except BaseException as error:
        lines = str(error).strip().splitlines()
        stopped = isinstance(error, KeyboardInterrupt)
        reason = _STOPPED if stopped else lines[-1].strip() if lines else type(error).__name__
        _write(folder, about | {"failed": reason})
        raise
    (folder / STATE).unlink(missing_ok=True)


def _write(folder: Path, state: dict[str, object]) -> None:
    (folder / STATE).write_text(json.dumps(state), "utf-8")


def failure(folder: Path) -> str:
    """Why the run in ``folder`` failed the last time, ``stopped`` where a signal ended it; empty where it did not."""
    return str((_state(folder) or {}).get("failed", ""))


def status(jobs: Sequence[Settings]) -> list[tuple[str, str]]:
    """(Arm and length, what became of it) of every job, in order."""
    runs = [_placed(settings) for settings in jobs]
    queue = (look() or {}) if any(Job.load(run.folder) for run in runs) else {}
    return [(f"{run.settings.label} at {run.settings.length.bench_lengths}", _of(run, queue)) for run in runs]


def _placed(settings: Settings) -> Run:
    """The run of the same settings, with its own stages instead of ``status``: the usual ones, or what was executed."""
    usual = Run.place(settings.model_copy(update={"stages": Settings.model_fields["stages"].default}))
    mine = settings.model_dump(exclude={*SHOWN, "stages"})
    beside = usual.folder.parent.glob(f"*-{'?' * 12}/{SETTINGS}") if not usual.folder.exists() else ()
    for file in sorted(beside, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found = Settings.model_validate(yaml.safe_load(file.read_text("utf-8")))
        except (OSError, ValueError):  # of another version
            continue
        if found.model_dump(exclude={*SHOWN, "stages"}) == mine:
            return Run.place(found)
    return usual


def _of(run: Run, queue: Queue) -> str:
    if run.done:
        return "done"
    job = Job.load(run.folder)
    here = state_of(job, queue)
    if job is not None and here is not None and here.waits:
        return f"queued (job {job.id}, {here.reason})"
    if job is not None and here is not None and here.runs:
        return f"running on {here.nodes} (job {job.id}){_progress(run)}"
    state = _state(run.folder)
    if state is None:
        return f"queued (job {job.id} has ended, {here.word})" if job is not None and here is not None else "queued"
    if state.get("failed") == _STOPPED:
        return "stopped; the same command continues it"
    if "failed" in state:
        return f"failed: {state['failed']}"
    mine = state["host"] == socket.gethostname()
    if mine and (Path(f"/proc/{state['pid']}").exists() or not Path("/proc").exists()):
        return f"running{_progress(run)}"
    if mine or here is not None:
        word = f" (job {job.id}, {here.word})" if job is not None and here is not None else ""
        return f"ended without a word{word}; the same command continues it"
    return f"running on {state['host']}{_progress(run)}"


def _state(folder: Path) -> dict[str, object] | None:
    try:
        found: dict[str, object] = json.loads((folder / STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _progress(run: Run) -> str:
    """How far the stage is that is being made, and how long it still takes at that speed."""
    partial = run.store.partial("weights", run.address("weights"))
    history = partial / "history.jsonl"
    if run.address("weights") and history.is_file():
        rows = [json.loads(line) for line in history.read_text("utf-8").splitlines() if line.endswith("}")]
        steps = plan(run.settings).steps
        if rows and steps:
            done = int(rows[-1]["step"])
            left = max(steps - done, 0) * float(rows[-1]["seconds"]) / max(done, 1)
            return f": training, step {done} of about {steps}, {_duration(left)} left"
        return ": training"
    if run.store.partial("answers", run.address("answers")).is_dir():
        return ": evaluating"
    return ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
