"""Jobs of a Slurm cluster: which one executes a run, what Slurm says of it, and how it is cancelled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RECORD = "job.json"
"""In the folder of what a job makes: the last job that was submitted for it."""
_WAITS = (
    "PENDING", "CONFIGURING", "SUSPENDED", "STOPPED", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
)  # fmt: skip
"""Also what is held until somebody releases it."""
_ANSWER_SECONDS = 120
"""After which one of Slurm's programs counts as one that fails: a controller that is overloaded may never answer."""
_RUNS = ("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING")


@dataclass(frozen=True)
class Job:
    """A submitted job."""

    id: str
    """``12``, or ``12_3`` in an array."""
    name: str
    """Tells it from a later job with the same number."""
    sweep: str
    """The sweep whose command has submitted it."""
    log: str
    """Its file of errors."""

    @classmethod
    def load(cls, folder: Path) -> Job | None:
        """The last job that was submitted for ``folder``; None where there was none."""
        try:
            return cls(**json.loads((folder / RECORD).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, folder: Path) -> None:
        partial = folder / f"{RECORD}.partial"
        partial.write_text(json.dumps(asdict(self)), "utf-8")
        partial.replace(folder / RECORD)


@dataclass(frozen=True)
class State:
    """What Slurm says of a job."""

    word: str
    """``PENDING``, ``RUNNING``, ``COMPLETED``, ``FAILED``, …"""
    nodes: str = ""
    reason: str = ""
    """Why it waits."""
    name: str = ""

    @property
    def waits(self) -> bool:
        return self.word in _WAITS

    @property
    def runs(self) -> bool:
        return self.word in _RUNS


Queue = Mapping[str, State]
"""Job id → its state, of each job of this user that Slurm still remembers."""


def missing_programs() -> list[str]:
    """Those of Slurm's programs that are not there."""
    return [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]


def look() -> Queue | None:
    """The queue; None where Slurm does not answer."""
    asked = _said("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%N|%r|%j")
    if asked is None:
        return None
    rows = [line.split("|", 4) for line in asked.split("\n") if line.count("|") >= 4]
    return {number: State(word, nodes, reason, name) for number, word, nodes, reason, name in rows}


def state_of(job: Job | None, queue: Queue) -> State | None:
    """The job's state; None where Slurm does not remember it."""
    found = queue.get(job.id) if job is not None else None
    return found if found is not None and job is not None and found.name == job.name else None


def ended_as(job: Job) -> State | None:
    """The state of a job that has left the queue, where the cluster keeps accounts."""
    asked = _said("sacct", "-X", "-n", "-P", "-o", "State", "-j", job.id)
    words = asked.split() if asked else []
    return State(words[0]) if words else None


def cancel(jobs: Iterable[Job]) -> list[str]:
    """Takes waiting jobs out of the queue and has running ones stop with what they have; returns their ids."""
    ids = [job.id for job in jobs]
    if ids:
        _said("scancel", "--state=PENDING", *ids)
        _said("scancel", "--state=RUNNING", "--signal=TERM", *ids)
    return ids


def _said(*command: str) -> str | None:
    """The output of one of Slurm's programs; None where it fails, does not answer or is not there.

    Variables such as ``SQUEUE_PARTITION``, which many set for their own looks at the queue, would hide jobs.
    """
    hiding = ("SQUEUE_", "SACCT_", "SCANCEL_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(hiding)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=variables,
            timeout=_ANSWER_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def listed(ids: Sequence[str]) -> str:
    """The ids in a line, the elements of an array together: ``12_0``, ``12_1`` and ``13`` are ``12_[0,1] 13``."""
    arrays: dict[str, list[str]] = {}
    for number in ids:
        array, _, element = number.partition("_")
        arrays.setdefault(array, []).extend([element] if element else [])
    return " ".join(
        array if not elements else f"{array}_{elements[0]}" if len(elements) == 1 else f"{array}_[{','.join(elements)}]"
        for array, elements in arrays.items()
    )
