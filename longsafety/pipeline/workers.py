"""Starts workers, each a process of its own.

On a processor they are forks of one process that has imported torch and Lightning, which takes longer than a small run.
Elsewhere, and where a training starts processes itself, each worker is a fresh interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TextIO

from longsafety.environment import worker_environment
from longsafety.host.interrupts import HEARD, Relay, listen
from longsafety.pipeline.addresses import code
from longsafety.ranks import PARENT, end_with_parent
from longsafety.settings import Settings

_WORKER = (sys.executable, "-m", "longsafety.pipeline.worker")
_SLOW_IMPORTS = ("longsafety.pipeline.weights", "longsafety.pipeline.answers", "longsafety.pipeline.compare")
LAST = "compare"
"""The worker after which none is started: imports for others would be waited for in vain."""
_WHERE_INSTALLED = "deepspeed"
"""Imported by transformers whenever a model is saved, in 3 to 4 seconds, where it is installed."""


def can_fork(settings: Settings) -> bool:
    """Whether runs like this one may be forks: they compute on this machine's processor, in one process each."""
    trainer = settings.trainer
    computes = bool({"train", "evaluate"} & {*settings.stages})
    one_process = trainer.devices in (1, "auto") and trainer.num_nodes == 1 and trainer.strategy == "auto"
    no_gpu = trainer.accelerator == "cpu" or not Path("/dev/nvidiactl").exists()
    return sys.platform == "linux" and computes and one_process and no_gpu


class Workers:
    """Runs workers one after another; with ``fork`` from one process that is started for the first of them.

    Several at a time are started within :meth:`beside`. Signals to this process are passed on to every worker, which
    ends by itself; ``stopped`` is the first of them.
    """

    def __init__(self, *, fork: bool) -> None:
        self.fork = fork
        self._relay = Relay(self._send)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: tuple[TextIO, TextIO] | None = None
        self._beside: list[subprocess.Popen[str]] = []

    @property
    def stopped(self) -> int | None:
        return self._relay.received

    def __enter__(self) -> Workers:
        self._relay.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
        self._relay.__exit__()

    def run(self, what: str, *folders: Path) -> int:
        """Executes ``python -m longsafety.pipeline.worker what folders`` to its end; returns its exit status.

        That of a worker which a signal has ended is the signal's number below 0.
        """
        arguments = [what, *map(str, folders)]
        self._relay.busy = True
        try:
            if self.fork:
                return self._fork(arguments)
            self._process = subprocess.Popen([*_WORKER, *arguments], env=_environment())
            if self.stopped is not None:
                self._send(self.stopped)  # it came while the process was started
            return self._process.wait()
        finally:
            self._relay.busy = False

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Around workers that are started by :meth:`start`; none is left behind."""
        self._relay.busy = True
        try:
            yield
        finally:
            self._relay.busy = False
            for process in self._beside:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            self._beside.clear()

    def start(self, arguments: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
        """Starts a worker in an interpreter of its own, with further ``variables``; its output comes through pipes.

        Call it in the thread that lives until the worker ends: on Linux the worker ends with it.
        """
        process = subprocess.Popen(
            [*_WORKER, *arguments],
            env={**_environment(), "PYTHONUNBUFFERED": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self._beside.append(process)
        if self.stopped is not None:
            process.send_signal(self.stopped)  # it came while the process was started
        return process

    def send_beside(self, number: int) -> None:
        """Sends a signal to the workers that :meth:`start` has started and that still work."""
        for process in self._beside:
            process.send_signal(number)  # to one that has ended it sends nothing

    def _fork(self, arguments: list[str]) -> int:
        if self._pipes is None:
            self._start()
        assert self._pipes is not None and self._process is not None
        commands, statuses = self._pipes
        try:
            commands.write(json.dumps(arguments) + "\n")
            commands.flush()
            status = statuses.readline()
        except BrokenPipeError:
            status = ""
        if status:
            return int(status)
        code = self._process.wait()  # the process that forks was ended from outside, and its fork with it
        self._end()
        return code or 1

    def _start(self) -> None:
        their_commands, commands = os.pipe()
        statuses, their_statuses = os.pipe()
        self._process = subprocess.Popen(
            [*_WORKER, "serve", str(their_commands), str(their_statuses)],
            env=_environment(),
            pass_fds=(their_commands, their_statuses),
        )
        os.close(their_commands)
        os.close(their_statuses)
        self._pipes = os.fdopen(commands, "w"), os.fdopen(statuses)
        if self.stopped is not None:
            self._send(self.stopped)

    def _end(self) -> None:
        pipes, self._pipes = self._pipes, None
        if pipes is not None and self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                pipes[0].close()
            self._process.wait()
            pipes[1].close()

    def _send(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
        self.send_beside(number)


def _environment() -> dict[str, str]:
    return {**worker_environment(), PARENT: str(os.getpid())}


def serve(commands: int, statuses: int, execute: Callable[[list[str]], int]) -> None:
    """Forks a process for each line of ``commands`` (JSON: its arguments) and writes its exit status to ``statuses``.

    Both are file descriptors. In the fork ``execute`` is called with the arguments, and its result ends the process.
    Signals go on to the fork; without one they end this process.
    """
    child, imported = 0, False

    def pass_on(number: int, _: object) -> None:
        if not child:
            os._exit(128 + number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in HEARD:
        signal.signal(number, pass_on)
    with os.fdopen(commands) as lines, os.fdopen(statuses, "w") as found:
        for line in lines:
            arguments = json.loads(line)
            signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)  # until it is known to whom they go
            parent, child = os.getpid(), os.fork()
            if not child:
                end_with_parent(parent)
                listen()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
                sys.argv = [sys.argv[0], *arguments]
                _end_with(execute, arguments)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
            if not imported and arguments[0] != LAST:  # beside the first fork, which prepares, on another core
                import_slow()
                gc.freeze()  # what is imported is never collected, so that a fork does not copy its pages to look at it
                imported = True
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            child = 0
            print(status, file=found, flush=True)


def import_slow() -> None:
    """Imports what takes seconds, and reads the source code that trainings depend on, once for all forks."""
    for module in _SLOW_IMPORTS:
        importlib.import_module(module)
    if importlib.util.find_spec(_WHERE_INSTALLED):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # forks compute on a processor; DeepSpeed warns of its own guess
        with contextlib.suppress(Exception):  # a broken installation is the matter of whoever needs it
            importlib.import_module(_WHERE_INSTALLED)
    code("weights")


def _end_with(execute: Callable[[list[str]], int], arguments: list[str]) -> NoReturn:
    """Ends this fork with the status of ``execute``, without taking its modules apart, which takes seconds."""
    status: object = 1
    try:
        status = execute(arguments)
    except SystemExit as error:
        status = error.code or 0
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)
