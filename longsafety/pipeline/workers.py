"""Starts workers, each a process of its own.

On a processor they are forks of one process that has imported torch and Lightning, which takes longer than a small run.
Elsewhere, and where a training starts processes itself, each worker is a fresh interpreter.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from longsafety.environment import worker_environment
from longsafety.ranks import end_with_parent
from longsafety.settings import Settings

_WORKER = (sys.executable, "-m", "longsafety.pipeline.worker")
_SLOW_IMPORTS = ("longsafety.pipeline.weights", "longsafety.pipeline.answers", "longsafety.pipeline.compare")


def can_fork(settings: Settings) -> bool:
    """Whether runs like this one may be forks: they compute on this machine's processor, in one process each."""
    trainer = settings.trainer
    computes = bool({"train", "evaluate"} & {*settings.stages})
    one_process = trainer.devices in (1, "auto") and trainer.num_nodes == 1 and trainer.strategy == "auto"
    no_gpu = trainer.accelerator == "cpu" or not Path("/dev/nvidiactl").exists()
    return sys.platform == "linux" and computes and one_process and no_gpu


class Workers:
    """Runs workers one after another; with ``fork`` from one process that is started for the first of them."""

    def __init__(self, *, fork: bool) -> None:
        self.fork = fork
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._server is not None:
            self._commands.close()
            self._server.wait()
            self._statuses.close()

    def run(self, what: str, *folders: Path) -> int:
        """Executes ``python -m longsafety.pipeline.worker what folders`` to its end; returns its exit status."""
        arguments = [what, *map(str, folders)]
        if not self.fork:
            return subprocess.run([*_WORKER, *arguments], env=worker_environment(), check=False).returncode
        if self._server is None:
            self._start()
        self._commands.write(json.dumps(arguments) + "\n")
        self._commands.flush()
        status = self._statuses.readline()
        return int(status) if status else 1  # the process that forks was ended from outside

    def _start(self) -> None:
        their_commands, commands = os.pipe()
        statuses, their_statuses = os.pipe()
        self._server = subprocess.Popen(
            [*_WORKER, "serve", str(their_commands), str(their_statuses), str(os.getpid())],
            env=worker_environment(),
            pass_fds=(their_commands, their_statuses),
        )
        os.close(their_commands)
        os.close(their_statuses)
        self._commands, self._statuses = os.fdopen(commands, "w"), os.fdopen(statuses)


def serve(commands: int, statuses: int, execute: Callable[[list[str]], int]) -> None:
    """Forks a process for each line of ``commands`` (JSON: its arguments) and writes its exit status to ``statuses``.

    Both are file descriptors. In the fork ``execute`` is called with the arguments, and its result ends the process.
    """
    for module in _SLOW_IMPORTS:
        importlib.import_module(module)
    gc.freeze()  # what is imported is never collected, so that a fork does not copy its pages to look at it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the fork, which ends by itself
    with os.fdopen(commands) as lines, os.fdopen(statuses, "w") as found:
        for line in lines:
            arguments = json.loads(line)
            parent, child = os.getpid(), os.fork()
            if not child:
                end_with_parent(parent)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                sys.argv = [sys.argv[0], *arguments]
                _end_with(execute, arguments)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=found, flush=True)


def _end_with(execute: Callable[[list[str]], int], arguments: list[str]) -> NoReturn:
    """Ends this fork with the status of ``execute``, without taking its modules apart, which takes seconds."""
    status: object = 1
    try:
        status = execute(arguments)
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)
