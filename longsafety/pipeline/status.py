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
_CLOCK = 60.0
"""Seconds by which the clock may have been set between the start of a process and now."""


@contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Around the execution of a run: who executes it, and the error that ended it."""
    about = {"host": socket.gethostname(), "pid": os.getpid(), "began": time.time()}
    _write(folder, about)
    try:
        yield
    except BaseException as error:
        lines = str(error).strip().split("\n")
        stopped = isinstance(error, KeyboardInterrupt)
        reason = _STOPPED if stopped else lines[-1].strip() or type(error).__name__
        _write(folder, about | {"failed": reason})
        raise
    (folder / STATE).unlink(missing_ok=True)


def _write(folder: Path, state: dict[str, object]) -> None:
    (folder / STATE).write_text(json.dumps(state), "utf-8")


def failure(folder: Path) -> str:
    """Why the run in ``folder`` failed the last time, ``stopped`` where a signal ended it; empty where it did not, or
    where the file is damaged."""
    return str((_state(folder) or {}).get("failed", ""))


def status(jobs: Sequence[Settings]) -> list[tuple[str, str]]:
    """(Arm and length, what became of it) of every job, in order."""
    runs = [_placed(settings) for settings in jobs]
    queue = look() if any(Job.load(run.folder) for run, _ in runs) else {}
    return [
        (f"{run.settings.label} at {run.settings.length.bench_lengths}", _of(run, queue) + note) for run, note in runs
    ]


def _placed(settings: Settings) -> tuple[Run, str]:
    """The run of the same settings, with its own stages instead of ``status``: the usual ones, or what was executed.

    And a note where none was found but a run of this arm has settings that cannot be read.
    """
    usual = Run.place(settings.model_copy(update={"stages": Settings.model_fields["stages"].default}))
    mine = settings.model_dump(exclude={*SHOWN, "stages"})
    beside = usual.folder.parent.glob(f"*-{'?' * 12}/{SETTINGS}") if not usual.folder.exists() else ()
    arm, note = usual.folder.name.rpartition("-")[0], ""
    for file in sorted(beside, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found = Settings.model_validate(yaml.safe_load(file.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            if file.parent.name.rpartition("-")[0] == arm:
                note = f"; {file} cannot be read, and may be this run's: restore it, or remove its folder"
            continue
        except ValueError:  # of another version
            continue
        if found.model_dump(exclude={*SHOWN, "stages"}) == mine:
            return Run.place(found), ""
    return usual, note


def _of(run: Run, asked: Queue | None) -> str:
    """``asked``: what Slurm says; None where it does not answer."""
    if run.done:
        return "done"
    job, queue = Job.load(run.folder), asked or {}
    here = state_of(job, queue)
    if job is not None and here is not None and here.waits:
        return f"queued (job {job.id}, {here.reason})"
    if job is not None and here is not None and here.runs:
        return f"running on {here.nodes} (job {job.id}){_progress(run)}"
    state = _state(run.folder)
    if state is None:
        if job is None:
            return "queued"
        if asked is None:
            return f"unknown: job {job.id} was submitted, and squeue does not answer; ask again"
        return (
            f"queued (job {job.id} {f'has ended, {here.word}' if here else 'is no longer in Slurm: submit it again'})"
        )
    if not state:
        return f"unknown: {run.folder / STATE} is damaged; the same command continues the run"
    if state.get("failed") == _STOPPED:
        return "stopped; the same command continues it"
    if "failed" in state:
        return f"failed: {state['failed']}"
    mine = state["host"] == socket.gethostname()
    if mine and _lives(int(str(state["pid"])), float(str(state["began"]))):
        return f"running{_progress(run)}"
    if mine or here is not None:
        word = f" (job {job.id}, {here.word})" if job is not None and here is not None else ""
        return f"ended without a word{word}; the same command continues it"
    return f"running on {state['host']}{_progress(run)}"


def _state(folder: Path) -> dict[str, object] | None:
    """What the file says; None where there is none, and empty where it is damaged."""
    try:
        found = json.loads((folder / STATE).read_text("utf-8"))
        whole = isinstance(found, dict) and isinstance(found["host"], str)
        return found if whole and isinstance(found["pid"], int) and isinstance(found["began"], int | float) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError):
        return {}


def _lives(pid: int, began: float) -> bool:
    """Whether the process that began a run is still there. One that has started since has only its number."""
    import psutil  # type: ignore[import-untyped]

    try:
        return bool(psutil.Process(pid).create_time() < began + _CLOCK)
    except psutil.AccessDenied:
        return True
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False


def _progress(run: Run) -> str:
    """How far the stage is that is being made, and how long it still takes at that speed."""
    partial = run.store.partial("weights", run.address("weights"))
    history = partial / "history.jsonl"
    if run.address("weights") and history.is_file():
        lines = [line for line in history.read_text("utf-8", "replace").split("\n") if line.endswith("}")]
        rows = [row for row in map(_step, lines) if row is not None]
        note = f" ({len(lines) - len(rows)} damaged lines in {history})" if len(rows) < len(lines) else ""
        steps = plan(run.settings).steps
        if rows and steps:
            done, seconds = rows[-1]
            left = max(steps - done, 0) * seconds / max(done, 1)
            return f": training, step {done} of about {steps}, {_duration(left)} left{note}"
        return f": training{note}"
    if run.store.partial("answers", run.address("answers")).is_dir():
        return ": evaluating"
    return ""


def _step(line: str) -> tuple[int, float] | None:
    """Step and seconds of a line of the history; None where it is damaged."""
    try:
        row = json.loads(line)
        return int(row["step"]), float(row["seconds"])
    except (ValueError, TypeError, KeyError):
        return None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
