"""What is told of runs and kept stages without starting anything: state, listing, clearing up."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, SoftFileLock

from longsafety.configuration.listing import listing
from longsafety.errors import ConfigError, DataError
from longsafety.pipeline.clean import clean, unused
from longsafety.pipeline.reuse import ARM, arm
from longsafety.pipeline.run import Run
from longsafety.pipeline.status import STATE, failure, noted, status
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


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A run that uses the weights ``aaa``, beside weights ``bbb`` that none uses."""
    for name in ("aaa", "bbb"):
        (tmp_path / "stages" / "weights" / name).mkdir(parents=True)
    run = tmp_path / "runs" / "name" / "arm-1"
    run.mkdir(parents=True)
    (run / "addresses.json").write_text('{"weights": "aaa", "answers": ""}', "utf-8")
    return tmp_path


@pytest.mark.parametrize("text", ['{"weights": "aa', "[]", "{}", '{"weights": ["aaa"]}', None])
def test_addresses_that_cannot_be_read_stop_the_removal(text: str | None, outputs: Path) -> None:
    file = outputs / "runs" / "name" / "arm-1" / "addresses.json"
    if text is None:
        file.rename(file.with_name("record.json"))
    else:
        file.write_text(text, "utf-8")
    with pytest.raises(DataError, match=rf"^{re.escape(str(file))}: cannot be read .* restore the file, or remove"):
        list(clean(outputs, remove=True))
    assert len(list((outputs / "stages" / "weights").iterdir())) == 2


@pytest.mark.parametrize("closed", [".", "name"])
def test_runs_that_cannot_be_read_stop_the_removal(closed: str, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, scan = outputs / "runs" / closed, os.scandir

    def refuse(path: Any = ".") -> Any:
        if Path(path) == place:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", lambda path: [entry.name for entry in refuse(path)])
    with pytest.raises(DataError, match=rf"^{re.escape(str(place))}: cannot be read .* nothing is removed; give this"):
        list(clean(outputs, remove=True))
    assert len(list((outputs / "stages" / "weights").iterdir())) == 2


def test_what_is_made_where_the_file_system_has_no_locks_stays(outputs: Path) -> None:
    made = outputs / "stages" / "weights" / "ccc.partial"
    made.mkdir()
    with SoftFileLock(made.with_name("ccc.lock.soft")):
        list(clean(outputs, remove=True))
    assert made.is_dir() and not (outputs / "stages" / "weights" / "bbb").exists()


def test_weights_that_a_run_has_adopted_stay(place: Place) -> None:
    first = Run.freeze(place.settings("data_mix=longsafety"))
    [kept, other] = [first.store.folder("weights", name) for name in ("0123456789ab", "ba9876543210")]
    for folder in (kept, other):
        folder.mkdir(parents=True)
        (folder / "training.json").write_text("{}", "utf-8")
    (kept / ARM).write_text(json.dumps(arm(first.settings)), "utf-8")
    taking = Run.freeze(place.settings("data_mix=longsafety", f"reuse.weights={kept}"))
    assert Run.load(taking.folder).find("weights") == kept
    list(clean(place.outputs, remove=True))
    assert kept.is_dir() and not other.exists()


def test_a_link_is_removed_and_not_what_it_names(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "file").write_bytes(b"x" * 2000)
    link = outputs / "stages" / "weights" / "ccc"
    link.symlink_to(elsewhere)
    lines = list(clean(outputs, remove=True))
    assert [path.name for path in (outputs / "stages" / "weights").iterdir()] == ["aaa"]
    assert (elsewhere / "file").is_file() and "kB" not in lines[-1]


def test_a_folder_that_is_not_there_is_not_cleared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"paths.outputs = .*nowhere: is no folder; give the one"):
        list(clean(tmp_path / "nowhere", remove=False))


@pytest.mark.parametrize("text", ["{}", "[]", '{"pid": 1', '{"host": "h", "pid": "x", "began": 1.0}'])
def test_a_damaged_state_is_said(text: str, place: Place) -> None:
    settings = place.settings("data_mix=base")
    run = Run.freeze(settings)
    (run.folder / STATE).write_text(text, "utf-8")
    assert status([settings])[0][1] == f"unknown: {run.folder / STATE} is damaged; the same command continues the run"
    assert not failure(run.folder)


def test_another_process_with_the_number_of_an_ended_one_is_not_the_run(place: Place) -> None:
    settings = place.settings("data_mix=base")
    run = Run.freeze(settings)
    state = {"host": socket.gethostname(), "pid": os.getpid(), "began": time.time()}
    for began, told in ((time.time(), "running"), (1000.0, "ended without a word")):
        (run.folder / STATE).write_text(json.dumps(state | {"began": began}), "utf-8")
        assert status([settings])[0][1].startswith(told)


def test_damaged_lines_of_a_training_are_left_out_and_said(place: Place) -> None:
    settings = place.settings("data_mix=longsafety")
    run = Run.freeze(settings)
    partial = run.store.partial("weights", run.address("weights"))
    partial.mkdir(parents=True)
    lines = ['{"step": 1, "seconds": 1.0}', '\x00{"step"}', '{"step": 2, "seconds": null}', '{"step": 3, "sec']
    (partial / "history.jsonl").write_text("\n".join(lines), "utf-8")
    with noted(run.folder):
        [(_, told)] = status([settings])
    assert told.startswith("running: training, step 1 of about") and "(2 damaged lines in " in told


@pytest.mark.parametrize(("arm", "said"), [("longsafety", True), ("base", False)])
def test_damaged_settings_of_a_run_are_said_where_they_may_be_the_one_asked_for(
    arm: str, said: bool, place: Place
) -> None:
    file = Run.freeze(place.settings(f"data_mix={arm}", "stages=[build,train]")).folder / "settings.yaml"
    file.write_text("a: [b\n\tc", "utf-8")
    [(_, told)] = status([place.settings("data_mix=longsafety", "stages=[status]")])
    assert told.startswith("queued") and (f"{file} cannot be read" in told) == said


def test_everything_that_can_be_named_is_listed_in_a_line() -> None:
    lines = list(listing())
    assert any(line.split()[:1] == ["cross_lingual"] and line.endswith("?") for line in lines)
    assert not any("_shared" in line for line in lines)
    assert all(len(line.split()) > 1 for line in lines)
