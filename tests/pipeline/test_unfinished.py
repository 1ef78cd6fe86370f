"""What a training notes of itself, and of those beside it that were stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.pipeline.unfinished import BEGUN, tell_unfinished
from longsafety.settings import Settings


@pytest.fixture(scope="module")
def made() -> Settings:
    [settings] = settle(compose_jobs(["scale=smoke"]))
    return settings


def stopped(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / "checkpoints" / name).mkdir(parents=True)
    return folder


@pytest.mark.parametrize("content", [b"", b'{"seed": ', b"[]", b"\xff"])
def test_an_unreadable_note_is_passed_over(
    content: bytes, made: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_unfinished(made, "old", stopped(tmp_path / "b.partial", "step-00000004.ckpt"))
    (stopped(tmp_path / "a.partial", "step-00000002.ckpt") / BEGUN).write_bytes(content)
    new = stopped(tmp_path / "c.partial", "step-00000001.ckpt")
    tell_unfinished(made, "new", new)
    said = capsys.readouterr().err
    assert "a.partial" not in said
    assert f"stopped at step 4 ({tmp_path / 'b.partial'})" in said
    assert json.loads((new / BEGUN).read_text())["code or libraries"] == "new"


def test_a_note_that_cannot_be_written_leaves_none(
    made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str, *_: object) -> None:
        path.write_bytes(text.encode()[:1])
        raise OSError("no space left on device")

    folder = stopped(tmp_path / "a.partial", "step-00000001.ckpt")
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        tell_unfinished(made, "new", folder)
    assert [path.name for path in folder.iterdir()] == ["checkpoints"]


@pytest.mark.parametrize("name", ["step-00000020-old.ckpt", "step-20.ckpt", "step-.ckpt", "step-00000020.ckpt.ckpt"])
def test_a_copy_of_a_checkpoint_is_none(
    name: str, made: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_unfinished(made, "old", stopped(tmp_path / "a.partial", "step-00000004.ckpt", name))
    tell_unfinished(made, "new", stopped(tmp_path / "b.partial", "step-00000001.ckpt"))
    assert "stopped at step 4 " in capsys.readouterr().err
