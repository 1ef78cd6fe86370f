"""Runs commands in forks of one process that has imported their libraries: each start costs seconds otherwise.

The commands and their workers are processes as ever, with arguments, environment, output and exit status of their own.
That they also start from nothing is shown by the tests that kill them, by ``test_command`` and by ``test_wheel``; of
several ranks, by the tests marked ``soak``.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace
from typing import IO

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
    _begin(environment, folder)
    sys.argv = ["longsafety", *arguments]
    Workers.run = _forked_worker  # type: ignore[method-assign, assignment]
    _end_with(main)


def ranks(script: str, arguments: Sequence[str], environment: Mapping[str, str], folder: str, number: int) -> None:
    """``python script`` as the first of ``number`` ranks, the others forks of it, as torchrun would start them."""
    _begin(environment, folder)
    sys.argv = [script, *arguments]
    if number > 1:
        import deepspeed  # type: ignore[import-untyped]  # noqa: F401  # once for all ranks

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        os.environ |= {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        first = os.getpid()
        for rank in range(1, number):
            if not os.fork():
                end_with_parent(first)
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                break
        else:
            os.environ |= {"RANK": "0", "LOCAL_RANK": "0"}

    def run() -> None:
        runpy.run_path(script, run_name="__main__")

    _end_with(run)


def to_their_end(folder: Path, arguments: Sequence[str], number: int) -> subprocess.CompletedProcess[str]:
    """:func:`ranks` of the ``script.py`` in ``folder``, which is also given their output."""
    given = (str(folder / "script.py"), arguments, os.environ | {"OMP_NUM_THREADS": "1"}, str(folder), number)
    process = server().Process(target=ranks, args=given)
    process.start()
    process.join(300)
    if process.is_alive():
        process.kill()
        raise subprocess.TimeoutExpired([*arguments], 300)
    said = [(folder / name).read_text("utf-8", "replace") for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess([*arguments], process.exitcode or 0, *said)


def _begin(environment: Mapping[str, str], folder: str) -> None:
    """Makes this fork a process of its own: group, environment, and files for what it prints."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = open(1, "w", encoding="utf-8"), open(2, "w", encoding="utf-8", buffering=1)  # noqa: SIM115


def _forked_worker(workers: Workers, what: str, *folders: Path) -> int:
    """Stands for the start of a worker's process: a fork, whose status is returned."""
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    parent, child = os.getpid(), os.fork()
    if not child:
        end_with_parent(parent)
        listen()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        from longsafety.evaluation.backends import processes

        processes.subprocess = SimpleNamespace(Popen=_ForkedPopen)  # type: ignore[assignment, attr-defined]
        _end_with(lambda: worker.main([what, *map(str, folders)]))
    workers._relay.send, workers._relay.busy = partial(os.kill, child), True
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    workers._relay.busy = False
    return status


class _ForkedPopen:
    """Stands for the start of one of several processes that ask: a fork of the worker."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.returncode: int | None = None
        parent = os.getpid()
        sys.stdout.flush()
        self._child = os.fork()
        if not self._child:
            end_with_parent(parent)
            os.environ.clear()
            os.environ.update(env)
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            _end_with(lambda: worker.main(list(command[3:])))

    def poll(self) -> int | None:
        if self.returncode is None and (ended := os.waitpid(self._child, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self._child, signal.SIGKILL)

    def wait(self) -> None:
        while self.poll() is None:
            time.sleep(0.01)


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
