"""The processes (ranks) of one training: which of them this is, and how they end together."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""What torchrun, Lightning and Slurm set; all are 0 or missing in the first rank, and in no other."""
_FAILED = "failed"
_LAST_WORDS_SECONDS = 3
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG of Linux' prctl


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
