"""A sweep's frames and joined sweeps, where files are damaged or the outputs have been moved."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from longsafety.errors import ConfigError, DataError
from longsafety.pipeline.joined import join
from longsafety.pipeline.results import results
from longsafety.pipeline.run import Run
from longsafety.reporting.record import RunRecord
from tests.conftest import Place


@pytest.fixture
def sweep(place: Place) -> Path:
    """The folder of a sweep with one finished run."""
    run = Run.freeze(place.settings("data_mix=base"))
    settings = run.settings.model_dump()
    RunRecord("name", "base", "key", varied={}, settings=settings, stages={"answers": "aaa"}, seconds={}).save(
        run.folder
    )
    folder = place.outputs / "sweeps" / "name-1"
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"runs": [str(run.folder)]}), "utf-8")
    for name in ("scores", "paired"):
        pd.DataFrame({"arm": ["base"] * 99}).to_parquet(folder / f"{name}.parquet")
    return folder


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


DAMAGE: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "an empty sweep": ("runs", "sweep.yaml", lambda file: file.write_text("", "utf-8")),
    "a list for a sweep": ("runs", "sweep.yaml", lambda file: file.write_text("[a]", "utf-8")),
    "no YAML": ("runs", "sweep.yaml", lambda file: file.write_text("a: [b\n\tc", "utf-8")),
    "runs that are no folders": ("answers", "sweep.yaml", lambda file: file.write_text("runs: [1]", "utf-8")),
    "a cut table": ("scores", "scores.parquet", cut),
    "no table": ("pairs", "paired.parquet", Path.unlink),
    "a cut record": ("runs", "record.json", cut),
    "a record of nothing": ("answers", "record.json", lambda file: file.write_text("[]", "utf-8")),
    "a record of other settings": ("runs", "record.json", lambda file: file.write_text('{"examples": []}', "utf-8")),
    "no record": ("runs", "record.json", Path.unlink),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_file_that_cannot_be_read_is_named(how: str, sweep: Path) -> None:
    frame, name, harm = DAMAGE[how]
    [file] = sweep.parents[1].rglob(name)
    harm(file)
    with pytest.raises(DataError, match=rf"^{re.escape(str(file.resolve()))}: .*(again|restore)"):
        getattr(results(sweep), frame)


def test_the_runs_of_moved_outputs_are_found(sweep: Path, tmp_path: Path) -> None:
    moved = sweep.parents[1].rename(tmp_path / "moved")
    found = results(moved)
    [folder] = found.runs["folder"]
    assert Path(folder).is_relative_to(moved.resolve())
    with pytest.raises(DataError, match=rf"^{re.escape(str(moved.resolve()))}/stages/answers/aaa/"):
        _ = found.answers


def test_outputs_that_were_begun_anew_where_they_were_hide_no_moved_ones(sweep: Path, tmp_path: Path) -> None:
    outputs = sweep.parents[1]
    [run] = outputs.glob("runs/*/*")
    moved = outputs.rename(tmp_path / "moved")
    run.mkdir(parents=True)
    (outputs / "stages").mkdir()
    (moved / "stages").mkdir()
    found = results(moved)
    assert Path(found.runs["folder"][0]).is_relative_to(moved.resolve())
    with pytest.raises(DataError, match=rf"^{re.escape(str(moved.resolve()))}/stages/answers/aaa/"):
        _ = found.answers


def joined(place: Place, folder: Path) -> list[str]:
    settings = place.settings("data_mix=base")
    settings = settings.model_copy(update={"report": settings.report.model_copy(update={"runs": [str(folder)]})})
    return list(yaml.safe_load((join(settings, ["longsafety"]) / "sweep.yaml").read_text("utf-8"))["runs"])


def test_the_runs_of_moved_outputs_are_joined(sweep: Path, tmp_path: Path, place: Place) -> None:
    (sweep.parents[1] / "stages" / "answers" / "aaa").mkdir(parents=True)
    moved = sweep.parents[1].rename(tmp_path / "moved")
    [run] = joined(place, moved / "sweeps" / sweep.name)
    assert Path(run).is_relative_to(moved.resolve()) and (Path(run) / "record.json").is_file()


LOST: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "a run that is gone": (
        r"its run .* is gone, and not in .*/runs either",
        lambda _, run: run.rename(run.parent / "x"),
    ),
    "a run that is not finished": ("is not finished; give its", lambda _, run: (run / "record.json").unlink()),
    "answers that were not copied": (r"stages/answers/aaa is gone, which holds the answers", lambda _, run: run),
    "a damaged sweep": (
        "sweep.yaml: is no readable",
        lambda folder, _: (folder / "sweep.yaml").write_text("", "utf-8"),
    ),
}


@pytest.mark.parametrize("how", LOST)
def test_what_cannot_be_joined_is_said(how: str, sweep: Path, place: Place) -> None:
    rule, harm = LOST[how]
    [record] = sweep.parents[1].rglob("record.json")
    harm(sweep, record.parent)
    with pytest.raises(ConfigError, match=rf"report.runs = {re.escape(str(sweep))}: .*{rule}"):
        joined(place, sweep)
