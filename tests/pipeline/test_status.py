"""What is told of runs and kept stages without starting anything: state, listing, clearing up."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from filelock import FileLock

from longsafety.configuration.listing import listing
from longsafety.pipeline.clean import clean, unused
from longsafety.pipeline.run import Run
from longsafety.pipeline.status import STATE, noted, status
from tests.conftest import Place


def test_what_became_of_a_run(place: Place) -> None:
    settings = place.settings("data_mix=base")
    run = Run.freeze(settings)

    def told() -> str:
        [(name, state)] = status([settings])
        assert name == "base at 256"
        return state

    assert told() == "queued"
    with noted(run.folder):
        assert told() == "running"
        run.store.partial("answers", run.address("answers")).mkdir(parents=True)
        assert told() == "running: evaluating"
    with pytest.raises(ValueError, match="too small"), noted(run.folder):
        raise ValueError("first line\nthe disk is too small")
    assert told() == "failed: the disk is too small"
    ended = {"host": socket.gethostname(), "pid": 2**22 + 1, "began": 0.0}
    (run.folder / STATE).write_text(json.dumps(ended), "utf-8")
    assert told().startswith("ended without a word")
    (run.folder / STATE).write_text(json.dumps(ended | {"host": "elsewhere", "pid": os.getpid()}), "utf-8")
    assert told().startswith("running on elsewhere")


@pytest.mark.parametrize("stages", [[], ["stages=[build,train]"]])
def test_the_status_is_that_of_the_run_whatever_its_stages(place: Place, stages: list[str]) -> None:
    run = Run.freeze(place.settings("data_mix=longsafety", *stages))
    asked = place.settings("data_mix=longsafety", "stages=[status]")
    with noted(run.folder):
        assert status([asked]) == [("longsafety at 256", "running")]
    assert status([place.settings("data_mix=longsafety", "seed=1", "stages=[status]")])[0][1] == "queued"


def test_only_what_no_run_uses_is_cleared(tmp_path: Path) -> None:
    kept, gone, half = (tmp_path / "stages" / "weights" / name for name in ("aaa", "bbb", "ccc.partial"))
    made = tmp_path / "stages" / "answers" / "ddd.partial"
    for folder in (kept, gone, half, made):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 2000)
    run = tmp_path / "runs" / "name" / "arm-1"
    run.mkdir(parents=True)
    (run / "addresses.json").write_text('{"weights": "aaa", "answers": ""}', "utf-8")
    with FileLock(made.with_name("ddd.lock")):
        assert {one.folder for one in unused(tmp_path)} == {gone, half}
        assert "4 kB in 2 folders that no run uses" in list(clean(tmp_path, remove=False))[-1]
        assert gone.is_dir()
        list(clean(tmp_path, remove=True))
    assert kept.is_dir() and made.is_dir() and not gone.exists() and not half.exists()


def test_everything_that_can_be_named_is_listed_in_a_line() -> None:
    lines = list(listing())
    assert any(line.split()[:1] == ["cross_lingual"] and line.endswith("?") for line in lines)
    assert not any("_shared" in line for line in lines)
    assert all(len(line.split()) > 1 for line in lines)
