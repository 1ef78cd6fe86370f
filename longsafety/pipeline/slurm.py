"""``launcher=slurm``: each run of a sweep is a job of its frozen file, and this command waits for all of them.

It may end before they do: the same command finds those that wait or run, submits what is missing, and goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from longsafety.errors import ConfigError, visible
from longsafety.host.locks import locked
from longsafety.pipeline.ended import exit_status, goes_on
from longsafety.pipeline.parallel import Task
from longsafety.pipeline.run import Run
from longsafety.pipeline.slurm_queue import (
    Job,
    Queue,
    State,
    cancel,
    ended_as,
    listed,
    look,
    missing_programs,
    state_of,
)
from longsafety.pipeline.slurm_submit import outputs_note, submit
from longsafety.pipeline.status import failure
from longsafety.pipeline.workers import Workers
from longsafety.settings import Settings

FAILED = 1
"""The command's status where a job has failed."""
_LONGEST_WAIT_SECONDS = 30
"""Between two looks at the queue, where nothing happens; Slurm's controller serves the whole cluster."""


@dataclass
class _Followed:
    """A job that the command waits for."""

    job: Job
    heading: str
    """Begins a line about it."""
    where: str
    """Within a sentence: ``run 2 of 4 (base)``."""
    run: Run | None = None
    title: str = ""
    ran: bool = False


def refuse_without_slurm(settings: Settings) -> None:
    """Raises ConfigError where no job can be submitted here; says what may keep one from its files."""
    problems = []
    if find_spec("submitit") is None:
        problems.append("launcher = slurm: submitit is not installed; pip install 'longsafety[slurm]'")
    if missing := missing_programs():
        problems.append(
            f"launcher = slurm: {', '.join(missing)} not found: this is no machine of a Slurm cluster; give the "
            "command on its login node, or set launcher=local"
        )
    if problems:
        raise ConfigError(problems)
    if note := outputs_note(settings):
        _say(note, sys.stderr)


def execute_on_slurm(tasks: Sequence[Task], sweep: Path, workers: Workers) -> tuple[int, list[tuple[str, int]]]:
    """Submits the tasks that are not in the queue, and waits for all.

    Returns the exit status that ends the sweep, or 0; and title and status of the runs that failed without ending it.
    With ``fail_fast`` the first failure cancels the others, a training with a checkpoint.
    """
    if not tasks:
        return 0, []
    followed: list[_Followed] = []
    try:
        with locked(sweep / "slurm.lock", "the jobs of this sweep"):
            made = submit(tasks, sweep)
        if made.build is not None:
            heading = f"[build] {visible(sweep.name)}: what the runs share"
            followed.append(_Followed(made.build, heading, "building what the runs share"))
        for task, job in zip(tasks, made.runs, strict=True):
            followed.append(_Followed(job, task.heading, f"{task.where} ({task.title})", task.run, task.title))
        for one in followed:
            new = "submitted" if one.job.id in made.new else "in the queue already"
            _say(f"{one.heading}: {new} (job {one.job.id})")
        return _wait(followed, sweep, fail_fast=tasks[0].run.settings.fail_fast)
    except KeyboardInterrupt:
        _leave(followed, cancels=tasks[0].run.settings.launcher.slurm.cancel)
        return exit_status(FAILED, workers.stopped), []


def _wait(followed: Sequence[_Followed], sweep: Path, *, fail_fast: bool) -> tuple[int, list[tuple[str, int]]]:
    waiting, failed, status, changed = list(followed), list[tuple[str, int]](), 0, time.monotonic()
    silent = False
    while waiting:
        queue = look()
        if silent != (silent := queue is None):
            _say("squeue does not answer; this command asks again" if silent else "squeue answers again", sys.stderr)
        for one in list(waiting) if queue is not None else []:
            state, new = _told(one, queue or {})
            changed = time.monotonic() if new else changed
            if state is None:
                continue
            waiting.remove(one)
            if state.word == "COMPLETED":
                _say(f"{one.heading}: done (job {one.job.id})")
                continue
            if (status and state.word == "CANCELLED") or _stopped(one, status):
                continue  # for another that failed
            _say(_failure(one, state), sys.stderr)
            if fail_fast and not status:
                status = FAILED
                ids = cancel(other.job for other in waiting if other.job.sweep == sweep.name)
                if ids:
                    _say(f"the other jobs of the sweep are stopped ({listed(ids)})", sys.stderr)
            elif one.run is not None:
                failed.append((one.title, FAILED))
        if waiting:
            time.sleep(min(_LONGEST_WAIT_SECONDS, 1 + (time.monotonic() - changed) / 10))
    return status, failed


def _told(one: _Followed, queue: Queue) -> tuple[State | None, bool]:
    """The state that the job has ended in, None before that; and whether something was told."""
    state = state_of(one.job, queue)
    if state is None:
        done = one.run is not None and one.run.done
        left = State("COMPLETED") if done else ended_as(one.job) or State("GONE")
        return (None, False) if left.waits or left.runs else (left, True)
    if state.waits and one.ran:
        one.ran = False
        _say(f"{one.heading}: waits in the queue again (job {one.job.id}), and goes on from there")
        return None, True
    if state.runs and not one.ran:
        one.ran = True
        _say(f"{one.heading}: runs on {state.nodes} (job {one.job.id})")
        return None, True
    return (None, False) if state.waits or state.runs else (state, True)


def _stopped(one: _Followed, status: int) -> bool:
    """Whether a job ended because this command has stopped it for another that failed."""
    return bool(status) and one.run is not None and failure(one.run.folder) == "stopped"


def _failure(one: _Followed, state: State) -> str:
    words = {
        "GONE": "Slurm no longer knows it",
        "OUT_OF_MEMORY": "OUT_OF_MEMORY; raise launcher.slurm.mem_gb",
        "TIMEOUT": "TIMEOUT; raise launcher.slurm.minutes or launcher.slurm.signal_seconds",
    }
    reason = (failure(one.run.folder) if one.run is not None else "") or _last_word(Path(one.job.log))
    said = f": {reason}" if reason and reason != "stopped" and state.word != "CANCELLED" else ""
    became = f"was cancelled (job {one.job.id})"
    if state.word != "CANCELLED":
        became = f"failed (job {one.job.id}, {words.get(state.word, state.word)})"
    return f"{one.where} {became}{said}; its messages are in {one.job.log}; {goes_on(one.run)}"


def _last_word(log: Path) -> str:
    """The last line that the program has written of an error."""
    try:
        lines = log.read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    said = [line.removeprefix("longsafety: ") for line in lines if line.startswith("longsafety: ")]
    return said[-1] if said else ""


def _leave(followed: Sequence[_Followed], *, cancels: bool) -> None:
    queue = look() or {}
    states = [(one.job, state_of(one.job, queue)) for one in followed]
    jobs = [job for job, state in states if state is not None and (state.waits or state.runs)]
    if cancels and jobs:
        _say(f"stopped, and the jobs are cancelled ({listed(cancel(jobs))}); the same command goes on", sys.stderr)
    elif jobs:
        ids = listed([job.id for job in jobs])
        _say(
            f"stopped waiting; the jobs stay in the queue ({ids}): the same command waits for them again, scancel "
            f"{ids} ends them",
            sys.stderr,
        )
    else:
        _say("stopped; what is complete is kept, and the same command goes on from there", sys.stderr)


def _say(line: str, to: TextIO | None = None) -> None:
    print(f"longsafety: {line}" if to is not None else line, file=to, flush=True)
