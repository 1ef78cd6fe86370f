"""What the machine refuses, as one line; a mistake of the program keeps its traceback."""

from __future__ import annotations

import errno
import re
import resource
from pathlib import Path

import pytest

from longsafety.host import machine
from longsafety.host.machine import problem


def within(inner: BaseException) -> Exception:
    """An error that was raised while ``inner`` was handled, as libraries do."""
    try:
        try:
            raise inner
        except BaseException as error:
            raise RuntimeError("could not be saved") from error
    except RuntimeError as error:
        return error


TOLD = {
    "full": (
        OSError(errno.ENOSPC, "No space left on device", "{out}/a"),
        r"{out}/a: the disk is full \(.* free\); free",
    ),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), r"{out}: the disk is full"),
    "sqlite": (Exception("database or disk is full"), r"{out}: the disk is full"),
    "safetensors": (Exception("Error while serializing: I/O error: No space left on device"), r"the disk is full"),
    "large": (
        OSError(errno.EFBIG, "File too large", "{out}/x"),
        r"{out}/x: the file would exceed the file-size limit; raise it \(ulimit -f unlimited\)",
    ),
    "large safetensors": (Exception("I/O error: File too large (os error 27)"), r"{out}: the file would exceed"),
    "memory": (MemoryError(), r"memory ran out \(MemoryError\); lower training\.micro_batch_size"),
    "torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "memory ran"),
    "cuda": (RuntimeError("CUDA out of memory. Tried to allocate"), "memory ran out"),
    "fork": (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory ran out"),
    "peer": (
        RuntimeError("[../gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:1"),
        "another process of the tr",
    ),
    "files": (
        OSError(errno.EMFILE, "Too many open files", "{out}/x"),
        r"{out}/x: too many open files; raise .* -n 1024",
    ),
    "read-only": (OSError(errno.EROFS, "Read-only file system", "{out}/x"), r"{out}/x: cannot be written or read"),
    "rights": (PermissionError(errno.EACCES, "Permission denied", "{out}/x"), r"{out}/x: cannot .* umask 002"),
    "mount": (OSError(errno.ESTALE, "Stale file handle", "{out}/x"), r"{out}/x: the file system failed \(Stale"),
    "name": (OSError(errno.ENAMETOOLONG, "File name too long", "{out}/x"), r"the name is too long"),
}


@pytest.mark.parametrize("name", TOLD)
def test_one_line_with_the_place_and_the_fix(name: str, tmp_path: Path) -> None:
    error, rule = TOLD[name]
    if isinstance(error, OSError) and error.filename:
        error.filename = str(error.filename).replace("{out}", str(tmp_path))
    for found in (problem(error, tmp_path), problem(within(error), tmp_path)):
        assert found is not None and "\n" not in found
        assert re.search(rule.replace("{out}", re.escape(str(tmp_path))), found)


def test_what_takes_most_is_named(tmp_path: Path) -> None:
    for name, size in (("weights", 50_000), ("answers", 9_000), ("corpus", 0)):
        (tmp_path / "stages" / name).mkdir(parents=True)
        (tmp_path / "stages" / name / "file").write_bytes(b"x" * size)
    told = problem(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert told is not None
    assert re.search(r"\(in \S+/stages: weights \d+ KiB, answers \d+ KiB; what is deleted there is made again", told)


def test_the_output_may_be_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as output, pytest.raises(OSError, match="No space") as caught:
        output.write(b"x")
    said = "or that of the file to which the command's output goes; free space"
    monkeypatch.setattr(machine, "_ROOM_BYTES", 0)
    assert said in str(problem(caught.value, tmp_path))
    monkeypatch.setattr(machine, "_ROOM_BYTES", 1 << 62)
    assert said not in str(problem(caught.value, tmp_path)), "the disk has no room either"


def test_a_write_that_failed_for_no_stated_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    assert problem(error, tmp_path) is None, "the disk has room"
    with monkeypatch.context() as limited:
        limited.setattr(resource, "getrlimit", lambda _: (5 << 20, 5 << 20))
        assert "exceed the file-size limit (5 MiB)" in str(problem(error, tmp_path))
    monkeypatch.setattr(machine, "_ALMOST_FULL_BYTES", 1 << 62)
    assert "the disk is full" in str(problem(error, tmp_path))


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("memory"), FileNotFoundError(errno.ENOENT, "no", "x")])
def test_other_errors_are_the_programs(error: Exception, tmp_path: Path) -> None:
    assert problem(error, tmp_path) is None
