"""What the machine refuses (a full disk, memory, open files, rights) as one line that names the place and the fix."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from longsafety.errors import first_line

_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_LARGE_WORDS = ("file too large",)
_FULL_WORDS = ("no space left on device", "disk quota exceeded", "disk is full")
_UNCLEAR_WORDS = ("failed writing file", "unexpected pos", "file write failed", "write error", "error writing")
"""What torch says of a write that failed: whether the disk is full, or files are limited, decides what it was."""
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "unable to allocate", "bad_alloc")
_PEER_WORDS = ("connection closed by peer", "connection reset by peer", "remote process exited")
"""What gloo and NCCL say in the ranks that are left."""
_ALMOST_FULL_BYTES = 1 << 20
_ROOM_BYTES = 1 << 30
_LARGEST = 3


def problem(error: BaseException, outputs: Path) -> str | None:
    """The line for an error that the machine caused; None for every other. ``outputs``: where results are written."""
    chain = list(_chain(error))
    if any(_full(link, outputs) for link in chain):
        place = next((_place(link, outputs) for link in chain if isinstance(link, OSError) and link.filename), None)
        elsewhere = place is None and _free(outputs) >= _ROOM_BYTES
        other = ", or that of the file to which the command's output goes" if elsewhere else ""
        place = place or outputs
        free = f"free space{_largest(outputs)}"
        return f"{place}: the disk is full{_room(place)}{other}; {free}, and give the same command again"
    if any(_too_large(link) for link in chain):
        place = next((_place(link, outputs) for link in chain if isinstance(link, OSError) and link.filename), outputs)
        return (
            f"{place}: the file would exceed the file-size limit{_limit()}; raise it (ulimit -f unlimited), or set "
            "paths.outputs and paths.cache to a file system that holds larger files, and give the same command again"
        )
    for link in chain:
        if isinstance(link, MemoryError) or any(word in str(link).lower() for word in _MEMORY_WORDS):
            return (
                f"memory ran out ({first_line(link, typed=True)}); lower training.micro_batch_size or "
                "training.pack_tokens, set model.gradient_checkpointing=full, or take a shorter length; stages=[plan] "
                "estimates the memory"
            )
        if isinstance(link, RuntimeError) and any(word in str(link).lower() for word in _PEER_WORDS):
            return (
                f"another process of the training ended ({first_line(link)}); its messages are above. If it said "
                "nothing, the kernel has killed it because memory ran out: lower training.micro_batch_size"
            )
        if not isinstance(link, OSError):
            continue
        place = _place(link, outputs)
        if link.errno in (errno.EMFILE, errno.ENFILE):
            return f"{place}: too many open files; raise the limit (ulimit -n 1024), and give the same command again"
        if link.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return (
                f"{place}: cannot be written or read ({link.strerror}); give this user the right (in a shared folder: "
                "umask 002 and a common group), or another paths.outputs or paths.cache"
            )
        if link.errno in (errno.EIO, errno.ESTALE, errno.ENOTCONN):
            return f"{place}: the file system failed ({link.strerror}); give the same command again once it answers"
        if link.errno == errno.ENAMETOOLONG:
            return f"{str(place)[:80]}…: the name is too long for the file system; give a shorter name or paths.outputs"
    return None


def _place(error: OSError, outputs: Path) -> Path:
    """The file that the error names."""
    return Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else outputs


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what it was raised within."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _full(error: BaseException, outputs: Path) -> bool:
    text = str(error).lower()
    if isinstance(error, OSError) and error.errno in _FULL_NUMBERS:
        return True
    if any(word in text for word in _FULL_WORDS):
        return True
    return any(word in text for word in _UNCLEAR_WORDS) and _free(outputs) < _ALMOST_FULL_BYTES


def _too_large(error: BaseException) -> bool:
    text = str(error).lower()
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return True
    words = (*_LARGE_WORDS, *_UNCLEAR_WORDS) if _limit() else _LARGE_WORDS
    return any(word in text for word in words)


def _limit() -> str:
    """The shell's limit on a file's size; empty if there is none."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return "" if most == resource.RLIM_INFINITY else f" ({_size(most)})"


def _existing(place: Path) -> Path:
    return next((folder for folder in (place, *place.absolute().parents) if folder.exists()), Path("/"))


def _free(place: Path) -> int:
    try:
        return shutil.disk_usage(_existing(place)).free
    except OSError:
        return 0


def _room(place: Path) -> str:
    return f" ({_size(_free(place))} free)"


def _largest(outputs: Path) -> str:
    """The stages that take most, to choose from: each is made again when it is needed."""
    stages = outputs / "stages"
    if not stages.is_dir():
        return ""
    sizes = sorted(((_bytes(folder), folder.name) for folder in stages.iterdir() if folder.is_dir()), reverse=True)
    named = ", ".join(f"{name} {_size(size)}" for size, name in sizes[:_LARGEST] if size)
    return f" (in {stages}: {named}; what is deleted there is made again when it is needed)" if named else ""


def _bytes(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(root, name).lstat().st_blocks * 512
            except OSError:
                continue
    return total


def _size(number: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
