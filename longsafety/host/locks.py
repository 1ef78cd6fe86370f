"""Locks between processes of one or several users, which say for whom they wait and outlive no process."""

from __future__ import annotations

import errno
import getpass
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

_SILENT_SECONDS = 2
_NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
"""What file systems without ``flock`` answer (NFS without its lock service, some of FUSE)."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file ``path``, in one process at a time; the system frees it when that process ends.

    Whoever waits longer than two seconds says for whom, and that ``what`` is made there. Where the file system has no
    locks, the lock is a file that exists: that of a dead process is taken over, on the machine of that process.
    """
    lock: BaseFileLock = FileLock(path)
    try:
        _acquire(lock, path, what)
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        lock = SoftFileLock(path.with_name(f"{path.name}.soft"))
        _acquire(lock, path, what)
    owner = _owner(path)
    try:
        with suppress(OSError):  # who waits is told less
            owner.write_text(f"process {os.getpid()} of {_user()} on {socket.gethostname()}", "utf-8")
        yield
    finally:
        with suppress(OSError):
            owner.unlink()
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now; also where that cannot be known, because the lock is another user's."""
    soft = path.with_name(f"{path.name}.soft")
    if os.path.lexists(soft) and not _free(SoftFileLock(soft)):
        return True
    return os.path.lexists(path) and not _free(FileLock(path))


def _free(lock: BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError) as error:
        return isinstance(error, OSError) and error.errno in _NO_FLOCK  # then the other kind of lock says it
    lock.release()
    return True


def _acquire(lock: BaseFileLock, path: Path, what: str) -> None:
    try:
        lock.acquire(timeout=_SILENT_SECONDS)
    except Timeout:
        try:
            holder = _owner(path).read_text("utf-8")
        except OSError:
            holder = "another process"
        print(f"longsafety: waiting for {holder}, which makes {what}", file=sys.stderr, flush=True)
        lock.acquire()


def _owner(path: Path) -> Path:
    """Beside the lock file: who holds it."""
    return path.with_name(f"{path.name}.owner.lock")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry for this user id
        return f"user {os.getuid()}"
