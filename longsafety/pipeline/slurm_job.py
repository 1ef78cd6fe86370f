"""What a job of Slurm executes: a worker in the place of the process that srun has started."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from longsafety.environment import loopback, worker_environment
from longsafety.errors import LongSafetyError
from longsafety.launched import forget_other_jobs
from longsafety.pipeline.run import Run
from longsafety.ranks import first_rank
from longsafety.settings import Trainer

_CLOCK_SECONDS = 1
"""Files are dated by a coarser clock than ``time.time``."""


def execute(what: str, folders: Sequence[str]) -> None:
    """Becomes ``python -m longsafety.pipeline.worker what folders``, to which Slurm's signals then go.

    A worker that is a task of its own is no rank, whatever variables Slurm has set.
    """
    several = what == "run" and int(os.environ.get("SLURM_NTASKS", "1")) > 1
    trainer = Run.load(Path(folders[0])).settings.trainer if several else Trainer(name="alone", accelerator="cpu")
    for name in forget_other_jobs(trainer)[0]:
        del os.environ[name]
    alone = {name: value for name, value in loopback().items() if name not in os.environ}
    os.environ.update(alone if trainer.num_nodes == 1 else {})
    command = [sys.executable, "-m", "longsafety.pipeline.worker", what, *folders]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**worker_environment(), "PYTHONUNBUFFERED": "1"})


@contextmanager
def requeueing(folders: Sequence[Path]) -> Iterator[None]:
    """Around the work of a job of Slurm: SIGUSR1, which comes before its time limit, requeues the job.

    A training asks for that itself. A job that has made nothing in its time would do so for ever, and ends.
    """
    before, asked, began = signal.getsignal(signal.SIGUSR1), False, time.time() - _CLOCK_SECONDS

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        if callable(before):
            before(number, frame)

    if "SLURM_JOB_ID" not in os.environ or before is signal.SIG_IGN or not first_rank():
        yield
        return
    signal.signal(signal.SIGUSR1, note)
    try:
        yield
    except KeyboardInterrupt:
        if asked and _went_on(folders, began):
            from longsafety.model.checkpoints import requeue  # torch

            requeue()
        elif asked:
            print(
                f"longsafety: no stage went on in the {(time.time() - began) / 60:.0f} minutes of this job, which is "
                "not requeued; raise launcher.slurm.minutes",
                file=sys.stderr,
            )
        raise
    finally:
        signal.signal(signal.SIGUSR1, before)


def _went_on(folders: Sequence[Path], began: float) -> bool:
    """Whether a stage of the runs has been written to since ``began``."""
    for folder in folders:
        try:
            run = Run.load(folder)
        except LongSafetyError:
            continue
        for stage, key in asdict(run.addresses).items():
            for place in (run.store.folder(stage, key), run.store.partial(stage, key)) if key else ():
                if place.is_dir() and any(path.stat().st_mtime > began for path in (place, *place.iterdir())):
                    return True
    return False
