"""``stages=[status]``: what became of every job of a command, read from files; starts nothing and loads no library."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longsafety.pipeline.run import Run
from longsafety.planning.training import plan
from longsafety.settings import Settings

STATE = "state.json"
"""In a run's folder: the process that executes it, or why it failed."""


@contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Around the execution of a run: who executes it, and the error that ended it."""
    about = {"host": socket.gethostname(), "pid": os.getpid(), "began": time.time()}
    _write(folder, about)
    try:
        yield
    except BaseException as error:
        lines = str(error).strip().splitlines()
        _write(folder, about | {"failed": lines[-1].strip() if lines else type(error).__name__})
        raise
    (folder / STATE).unlink(missing_ok=True)


def _write(folder: Path, state: dict[str, object]) -> None:
    (folder / STATE).write_text(json.dumps(state), "utf-8")


def status(jobs: Sequence[Settings]) -> list[tuple[str, str]]:
    """(Arm and length, what became of it) of every job, in order."""
    found = []
    for settings in jobs:
        run = Run.place(settings)
        found.append((f"{settings.label} at {settings.length.bench_lengths}", _of(run)))
    return found


def _of(run: Run) -> str:
    if run.done:
        return "done"
    state = _state(run.folder)
    if state is None:
        return "queued"
    if "failed" in state:
        return f"failed: {state['failed']}"
    if state["host"] != socket.gethostname():
        return f"running on {state['host']}{_progress(run)}"
    if not Path(f"/proc/{state['pid']}").exists() and Path("/proc").exists():
        return "ended without a word; the same command continues it"
    return f"running{_progress(run)}"


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
