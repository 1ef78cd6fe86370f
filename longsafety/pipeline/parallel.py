"""``launcher=parallel``: several runs of a sweep at a time, each a process with GPUs of its own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from longsafety.errors import ConfigError, visible
from longsafety.host.gpus import visible_gpus
from longsafety.pipeline.ended import INTERRUPTED, exit_status, told
from longsafety.pipeline.run import Run
from longsafety.pipeline.workers import Workers
from longsafety.settings import Settings

_RANKS = ("RANK", "NODE_RANK", "SLURM_PROCID")
_LINE = threading.Lock()
Slot = Mapping[str, str]
"""Variables of the runs that are executed in one of the places, one after another."""


@dataclass(frozen=True)
class Task:
    """A run that is to be executed."""

    run: Run
    where: str
    """``run 2 of 6``."""
    name: str
    """Stands before each line that the run prints beside others."""
    title: str

    @property
    def heading(self) -> str:
        number, count = self.where.removeprefix("run ").split(" of ")
        return f"[{number}/{count}] {visible(f'{self.run.settings.name}: {self.title}')}"

    def told(self, code: int, stopped: int | None) -> str:
        return told(code, stopped, f"{self.where} ({self.title})", self.run)


def slots(settings: Sequence[Settings], environment: Mapping[str, str] = os.environ) -> list[Slot]:
    """The places in which runs are executed at the same time, at most ``launcher.jobs`` and one for each run.

    Each place has as many GPUs as the run that uses most; without GPUs the processor's cores are shared evenly. Raises
    ConfigError where the machine has too few GPUs for one run, or where another launcher has started this process.
    """
    first = settings[0]
    if started := [f"{name} = {environment[name]}" for name in _RANKS if name in environment]:
        raise ConfigError([
            f"launcher = parallel: the ranks of a training are started from outside ({', '.join(started)}), and only "
            "this machine's runs can be executed side by side; set launcher=local"
        ])  # fmt: skip
    jobs = min(first.launcher.jobs, len(settings))
    on_gpus = [one for one in settings if one.trainer.accelerator != "cpu"]
    gpus = visible_gpus(environment) if on_gpus and first.launcher.gpus != 0 else []
    if not gpus:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        given = "OMP_NUM_THREADS" in environment or first.trainer.num_threads is not None
        return [{} if given or first.launcher.gpus == 0 else {"OMP_NUM_THREADS": str(threads)}] * jobs
    each = first.launcher.gpus or max(map(_gpus, on_gpus))
    if each > len(gpus):
        raise ConfigError([
            f"launcher.gpus = {each}: each run has as many GPUs, and {len(gpus)} are visible ({','.join(gpus)}); lower "
            "trainer.devices, evaluation.processes or launcher.gpus"
        ])  # fmt: skip
    groups = [",".join(gpus[start : start + each]) for start in range(0, len(gpus) - each + 1, each)]
    return [{"CUDA_VISIBLE_DEVICES": group} for group in groups[:jobs]]


def _gpus(settings: Settings) -> int:
    """How many GPUs a run asks for; ``auto`` takes those that it sees."""
    wanted = [settings.evaluation.processes, *([settings.trainer.devices] if settings.trains else [])]
    return max([1, *(count for count in wanted if isinstance(count, int))])


def execute_side_by_side(
    tasks: Sequence[Task], sweep: Path, workers: Workers, places: Sequence[Slot]
) -> tuple[int, list[tuple[str, int]]]:
    """Executes the tasks, as many at a time as there are places.

    Returns the exit status that ends the sweep, or 0; and title and status of the runs that failed without ending it.
    With ``fail_fast`` the first failure stops the others, each with what it has, and a checkpoint of a training.
    """
    waiting, free, failed = list(tasks), list(places), list[tuple[str, int]]()
    width = max((len(task.name) for task in tasks), default=0)
    working: dict[subprocess.Popen[str], tuple[Task, Slot]] = {}
    ended: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
    status = 0
    with workers.beside():
        while working or (waiting and not status):
            while waiting and free and not status and workers.stopped is None:
                task, place = waiting.pop(0), free.pop(0)
                _say(f"{task.heading}{_on(place)}")
                process = workers.start(["run", str(task.run.folder), str(sweep)], place)
                working[process] = task, place
                _follow(process, f"{task.name:<{width}} | ", ended)
            if not working:  # stopped before one was started
                status = status or exit_status(INTERRUPTED, workers.stopped)
                break
            process = ended.get()
            task, place = working.pop(process)
            free.append(place)
            code = process.returncode
            stopped = workers.stopped is not None or code == INTERRUPTED
            if status and stopped and workers.stopped is None:
                continue  # stopped for another that failed
            if stopped:
                status = status or exit_status(code, workers.stopped)
            elif code and task.run.settings.fail_fast and not status:
                status = exit_status(code, None)
                workers.send_beside(signal.SIGTERM)
            elif code:
                failed.append((task.title, code))
            if code or stopped:
                _say(f"longsafety: {task.told(code, workers.stopped)}", sys.stderr)
    return status, failed


def _on(place: Slot) -> str:
    gpus = place.get("CUDA_VISIBLE_DEVICES", "")
    return f" on GPU{'s' if ',' in gpus else ''} {gpus}" if gpus else ""


def _follow(process: subprocess.Popen[str], prefix: str, ended: queue.SimpleQueue[subprocess.Popen[str]]) -> None:
    """Prints the lines of a worker as they come, each after ``prefix``; puts it into ``ended`` once it has ended."""

    def copy(lines: IO[str], to: TextIO) -> None:
        for line in lines:
            _say(prefix + line.rstrip("\n"), to)

    def follow() -> None:
        with process:
            assert process.stdout is not None and process.stderr is not None
            errors = threading.Thread(target=copy, args=(process.stderr, sys.stderr), daemon=True)
            errors.start()
            copy(process.stdout, sys.stdout)
            errors.join()
        ended.put(process)

    threading.Thread(target=follow, daemon=True).start()


def _say(line: str, to: TextIO | None = None) -> None:
    with _LINE:  # a line is never within another
        print(line, file=to, flush=True)
