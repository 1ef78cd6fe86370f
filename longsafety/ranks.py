"""The processes (ranks) of one training: which of them this is, and how they end together."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from longsafety.errors import DataError

_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""What torchrun, Lightning and Slurm set; all are 0 or missing in the first rank, and in no other."""
PARENT = "LONGSAFETY_PARENT"
"""In the environment of a worker: the process with which it ends."""
_FAILED, _ALIVE = "failed", "alive"
_LAST_WORDS_SECONDS = 3
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG of Linux' prctl
_BEAT_SECONDS, _SILENT_SECONDS, _FIRST_SECONDS, _TOLD_SECONDS = 5, 120, 600, 10
"""How often the first rank shows that it lives, how long it may be silent, and how long the others wait for its
first sign; when they say that they wait."""


def first_rank() -> bool:
    """Whether this is the rank that makes the data, asks, scores and records; the others only train."""
    return all(os.environ.get(name, "0") == "0" for name in _VARIABLES)


def end_with_parent(parent: int | None = None) -> None:
    """Has Linux kill this process when the one that started it ends, even by SIGKILL or within a collective call.

    Exits at once where that was ``parent`` (a process id), and it has ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        raise SystemExit(1)


@contextmanager
def leading(folder: Path) -> Iterator[None]:
    """Around the work of the first rank: shows in ``folder`` that it lives, and that it failed."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT_SECONDS):
            with suppress(OSError):  # a full disk ends the work itself
                os.utime(folder / _ALIVE)

    thread = threading.Thread(target=beat, daemon=True)
    (folder / _ALIVE).touch()
    thread.start()
    try:
        yield
    except BaseException:
        with suppress(OSError):
            (folder / _FAILED).touch()
            os.utime(folder / _FAILED)
        raise
    finally:
        ended.set()
        thread.join()


class Follower:
    """A rank that waits for the first one, whose signs are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._began = self._changed = time.monotonic()
        self._failed, self._alive = _stamp(folder / _FAILED), _stamp(folder / _ALIVE)
        self._seen = self._told = False

    def wait(self, what: str) -> None:
        """Is called again and again while ``what`` is missing. Raises DataError where the first rank will not make it.

        Signs count by their change: the clocks of two machines differ.
        """
        now = time.monotonic()
        if _stamp(self.folder / _FAILED) != self._failed:
            raise DataError(f"{self.folder}: the first rank has failed, see its messages; this rank ends too")
        if (alive := _stamp(self.folder / _ALIVE)) != self._alive:
            self._alive, self._changed, self._seen = alive, now, True
        if not self._told and now - self._began > _TOLD_SECONDS:
            self._told = True
            failed = "; it failed before: start it again, or end this one" if self._failed and not self._seen else ""
            print(f"longsafety: waiting for the first rank, which makes {what}{failed}", file=sys.stderr, flush=True)
        silent = _SILENT_SECONDS if self._seen else _FIRST_SECONDS
        if now - self._changed > silent:
            raise DataError(
                f"{self.folder}: no sign of the first rank for {silent} s, this rank ends; start all ranks again"
            )


def _stamp(path: Path) -> int:
    """The time of a file's last change, 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@contextmanager
def together(folder: Path) -> Iterator[None]:
    """Around the training in ``folder``, in every rank of it.

    The error of the rank that fails first is raised there; the others, which then fail for its absence, exit without
    a word. After the training no process group is left and torch's threads are as they were.
    """
    import torch

    threads = torch.get_num_threads()
    if first_rank():
        (folder / _FAILED).unlink(missing_ok=True)
    try:
        yield
    except Exception:
        try:
            (folder / _FAILED).touch(exist_ok=False)
        except FileExistsError:
            time.sleep(_LAST_WORDS_SECONDS)  # our end may be the end of the rank that is telling
            raise SystemExit(2) from None
        raise
    torch.set_num_threads(threads)  # Lightning has divided them among the ranks
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
