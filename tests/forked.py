"""Runs commands in forks of one process that has imported their libraries: each start costs seconds otherwise.

The commands and their workers are processes as ever, with arguments, environment, output and exit status of their own.
That they also start from nothing is shown by the tests that kill them, by ``test_command`` and by ``test_wheel``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

from longsafety.__main__ import main
from longsafety.host.interrupts import HEARD, listen
from longsafety.pipeline import worker
from longsafety.pipeline.workers import Workers
from longsafety.ranks import end_with_parent


def server() -> ForkServerContext:
    """What starts processes as forks of one that has imported what takes long."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["tests.forked", "tests.preloaded"])
    return found


def command(arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
    """``python -m longsafety`` with its output in files ``stdout`` and ``stderr`` of ``folder``; ends the process."""
    os.setsid()  # a group of its own, that can be ended with its workers
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = open(1, "w", encoding="utf-8"), open(2, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    sys.argv = ["longsafety", *arguments]
    Workers.run = _forked_worker  # type: ignore[method-assign, assignment]
    _end_with(main)


def _forked_worker(workers: Workers, what: str, *folders: Path) -> int:
    """Stands for the start of a worker's process: a fork, whose status is returned."""
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    parent, child = os.getpid(), os.fork()
    if not child:
        end_with_parent(parent)
        listen()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        _end_with(lambda: worker.main([what, *map(str, folders)]))
    workers._relay.send, workers._relay.busy = partial(os.kill, child), True
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    workers._relay.busy = False
    return status


def _end_with(run: Callable[[], int | None]) -> None:
    """Ends this process with the status of ``run``, as an interpreter would."""
    status: object = 1
    try:
        status = run()
    except SystemExit as error:
        status = error.code
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))
