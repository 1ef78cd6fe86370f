"""Locks: who waits says for whom; dead processes and file systems without locks."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from longsafety.host import locks
from longsafety.host.locks import is_held, locked


def hold(path: Path, seconds: float) -> None:
    with locked(path, "weights abc"):
        time.sleep(seconds)


def holding(path: Path, seconds: float) -> Any:
    process = multiprocessing.get_context("fork").Process(target=hold, args=(path, seconds))
    process.start()
    while not path.with_name(f"{path.name}.owner.lock").exists():
        time.sleep(0.01)
    return process


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_SILENT_SECONDS", 0.05)


def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)


@pytest.mark.parametrize("flock", [True, False])
def test_who_waits_says_for_whom(
    flock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not flock:
        no_flock(monkeypatch)
    other = holding(tmp_path / "k.lock", 0.5)
    hold(tmp_path / "k.lock", 0)
    said = capsys.readouterr().err
    assert said.startswith(f"longsafety: waiting for process {other.pid} of ")
    assert said.endswith(", which makes weights abc\n")
    other.join()
    assert not (tmp_path / "k.lock.owner.lock").exists()


@pytest.mark.parametrize("flock", [True, False])
def test_the_lock_of_a_killed_process_is_free(flock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not flock:
        no_flock(monkeypatch)
    other = holding(tmp_path / "k.lock", 600)
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    hold(tmp_path / "k.lock", 0)


def test_lock_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        hold(tmp_path / "k.lock", 0)
    finally:
        os.umask(before)
    assert (tmp_path / "k.lock").stat().st_mode & 0o060 == 0o060, "the group's other users can lock it too"


def test_other_errors_are_raised(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        hold(tmp_path / "file" / "k.lock", 0)


def test_whether_a_lock_is_held_is_known_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert not is_held(path)
    with locked(path, "weights"):
        assert is_held(path)
    assert not is_held(path)


@pytest.mark.parametrize("flock", [True, False])
def test_a_lock_is_held_whatever_the_file_system_has(
    flock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not flock:
        no_flock(monkeypatch)
    path = tmp_path / "k.lock"
    assert not is_held(path)
    other = holding(path, 600)
    assert is_held(path)
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert not is_held(path), "its process is dead"


def test_a_lock_that_cannot_be_asked_counts_as_held(tmp_path: Path) -> None:
    (tmp_path / "k.lock").mkdir()
    assert is_held(tmp_path / "k.lock")
