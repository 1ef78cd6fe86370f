"""Which rank a process is, and whose error is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from longsafety import ranks
from longsafety.errors import DataError
from longsafety.ranks import Follower, first_rank, leading, together

NAMES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ranks, "_LAST_WORDS_SECONDS", 0)


def test_the_first_rank_is_first_by_every_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_rank()
    for name in NAMES:
        monkeypatch.setenv(name, "0")
    assert first_rank()


@pytest.mark.parametrize("name", NAMES)
def test_another_rank_is_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not first_rank()


def fail(folder: Path) -> None:
    with together(folder):
        raise ValueError("here")


def test_the_first_error_is_told_and_those_after_it_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="here"):
        fail(tmp_path)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit) as ended:
        fail(tmp_path)
    assert ended.value.code == 2


def test_the_next_attempt_tells_its_own_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="here"):
            fail(tmp_path)


def test_threads_are_afterwards_what_they_were(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with together(tmp_path):
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before


def test_a_rank_ends_with_the_first_that_failed_and_not_for_an_earlier_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="seeds"), leading(tmp_path):
        raise ValueError("seeds")
    monkeypatch.setattr(ranks, "_TOLD_SECONDS", -1)
    follower = Follower(tmp_path)
    follower.wait("data")
    assert "which makes data; it failed before: start it again, or end this one\n" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt), leading(tmp_path):
        raise KeyboardInterrupt
    with pytest.raises(DataError, match="the first rank has failed"):
        follower.wait("data")


def test_a_rank_waits_for_a_first_one_that_shows_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "_BEAT_SECONDS", 0.01)
    monkeypatch.setattr(ranks, "_TOLD_SECONDS", -1)
    follower = Follower(tmp_path)
    with leading(tmp_path):
        monkeypatch.setattr(ranks, "_FIRST_SECONDS", 0)
        before = (tmp_path / "alive").stat().st_mtime_ns
        while (tmp_path / "alive").stat().st_mtime_ns == before:
            time.sleep(0.01)
        follower.wait("the rows")
    assert "waiting for the first rank, which makes the rows\n" in capsys.readouterr().err
    monkeypatch.setattr(ranks, "_SILENT_SECONDS", -1)
    with pytest.raises(DataError, match="no sign of the first rank"):
        follower.wait("the rows")
        follower.wait("the rows")
