"""Which checkpoint a training goes on from: the names that count, and the model that it belongs to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import DataError
from longsafety.model import tiny
from longsafety.model.checkpoints import described, newest, written
from longsafety.settings import Settings


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model_folder(tmp_path_factory.mktemp("cache"), 256, 0)


def of(source: Path, cache: Path) -> Settings:
    [made] = settle(compose_jobs(["scale=smoke"]))
    model = made.model.model_copy(update={"source": str(source), "revision": None})
    return made.model_copy(update={"model": model, "paths": made.paths.model_copy(update={"cache": str(cache)})})


def save(folder: Path, said: dict[str, Any], step: int = 4) -> None:
    folder.mkdir(exist_ok=True)
    torch.save({"global_step": step, "longsafety": said}, folder / f"step-{step:08d}.ckpt")


def older(said: dict[str, Any]) -> dict[str, Any]:
    """As it was before checkpoints held the model's identity."""
    return {key: value for key, value in said.items() if key != "identity"}


@pytest.mark.parametrize("cut", [dict, older], ids=["with its identity", "without"])
def test_a_checkpoint_of_the_same_place(base: Path, tmp_path: Path, cut: Callable[..., Any]) -> None:
    settings = of(base, tmp_path)
    save(tmp_path / "checkpoints", cut(described(settings)))
    found = newest(tmp_path / "checkpoints", settings)
    assert found is not None and found.step == 4


def test_a_folder_that_was_moved_is_the_same_model(base: Path, tmp_path: Path) -> None:
    first = Path(shutil.copytree(base, tmp_path / "first"))
    save(tmp_path / "checkpoints", described(of(first, tmp_path)))
    moved = of(first.rename(tmp_path / "moved"), tmp_path)
    assert newest(tmp_path / "checkpoints", moved)


def test_another_content_in_its_place_is_another_model(base: Path, tmp_path: Path) -> None:
    first = Path(shutil.copytree(base, tmp_path / "first"))
    settings = of(first, tmp_path)
    save(tmp_path / "checkpoints", described(settings))
    config = json.loads((first / "config.json").read_text())
    (first / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    with pytest.raises(DataError, match="a checkpoint of another model"):
        newest(tmp_path / "checkpoints", settings)


def test_an_older_checkpoint_of_another_place_is_refused(base: Path, tmp_path: Path) -> None:
    save(tmp_path / "checkpoints", older(described(of(base, tmp_path))))
    moved = of(Path(shutil.copytree(base, tmp_path / "moved")), tmp_path)
    with pytest.raises(DataError, match="a checkpoint of another model"):
        newest(tmp_path / "checkpoints", moved)


def test_a_model_that_is_gone_does_not_keep_a_checkpoint_from_being_written(base: Path, tmp_path: Path) -> None:
    first = Path(shutil.copytree(base, tmp_path / "first"))
    settings = of(first, tmp_path)
    assert newest(tmp_path / "checkpoints", settings) is None
    before = described(settings)
    shutil.rmtree(first)
    assert described(settings) == before


@pytest.mark.parametrize("name", ["step-00000020-old.ckpt", "step-.ckpt", "step-20.ckpt", "step-00000020.ckpt.ckpt"])
def test_other_names_are_left_alone(name: str, base: Path, tmp_path: Path) -> None:
    settings = of(base, tmp_path)
    save(tmp_path / "checkpoints", described(settings))
    (tmp_path / "checkpoints" / name).write_bytes(b"")
    found = newest(tmp_path / "checkpoints", settings)
    assert found is not None and found.step == 4


def test_the_newest_is_first_by_its_number(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000, 7):
        (tmp_path / f"step-{step:08d}.ckpt").touch()
    assert [found.step for found in written(tmp_path)] == [100_000_000, 99_999_999, 7]
