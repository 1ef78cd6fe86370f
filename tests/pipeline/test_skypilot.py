"""``launcher=skypilot``: the task file. No cloud was asked: what SkyPilot makes of it is not run here."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from longsafety.errors import ConfigError
from longsafety.pipeline.skypilot import write_task

if TYPE_CHECKING:
    from tests.conftest import Place


@pytest.mark.slow
def test_the_file_has_the_command_and_the_trainers_gpus(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["data_mix=longsafety", "launcher=skypilot", "trainer=h100_8", "name=a run"]
    command = ["longsafety", "--multirun", f"corpus={place.corpus}", "seed=0,1", "paths.outputs=x", *typed]
    assert write_task([place.settings(*typed)], command) == 0
    [file] = (place.outputs / "skypilot").glob("*.yaml")
    task = yaml.safe_load(file.read_text("utf-8"))
    assert task["resources"]["accelerators"] == "H100:8"
    assert (Path(task["workdir"]) / "Makefile").is_file()
    words = shlex.split(task["run"])
    assert words[:4] == [".venv/bin/python", "-m", "longsafety", "--multirun"]
    assert {"seed=0,1", "trainer=h100_8", "name=a run"} <= {*words}
    assert not any(word.startswith(("launcher", "paths.outputs")) for word in words)
    assert task["setup"].splitlines() == ["make .venv/.run", ".venv/bin/python -m pip install -e '.[deepspeed]'"]
    shown = capsys.readouterr().out
    assert f"start    sky launch -c {task['name']} {file}" in shown
    assert f"note     corpus={place.corpus}: the machine does not have it" in shown


@pytest.mark.slow
def test_without_a_gpu_a_processor_is_asked_for(place: Place) -> None:
    write_task([place.settings("data_mix=base", "launcher=skypilot")], ["longsafety"])
    [file] = (place.outputs / "skypilot").glob("*.yaml")
    assert "accelerators" not in yaml.safe_load(file.read_text("utf-8"))["resources"]


def test_arms_for_two_kinds_of_gpu_are_refused(place: Place) -> None:
    jobs = [place.settings("data_mix=longsafety", f"trainer={name}") for name in ("a100_8", "h100_8")]
    with pytest.raises(ConfigError, match=r"2 kinds \(trainer.gpu = A100-80G, H100-80G\), and a machine has one"):
        write_task(jobs, ["longsafety"])


def test_places_of_this_machine_are_named_and_a_files_launcher_is_not_taken_along(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("mine", "docs"):
        (tmp_path / name).mkdir()
    typed = [
        "+experiment=mine",
        "--config-dir",
        "mine",
        "corpus.source=~/docs",
        "corpus.files=[x,/else/docs]",
        "seed=0",
    ]
    write_task([place.settings("data_mix=base")], ["longsafety", *typed])
    said = capsys.readouterr().out
    noted = [line.removeprefix("note     ").split(":")[0] for line in said.splitlines() if line.startswith("note")]
    assert noted == ["mine", "corpus.source=~/docs", "corpus.files=[x,/else/docs]"]
    [file] = (place.outputs / "skypilot").glob("*.yaml")
    assert shlex.split(yaml.safe_load(file.read_text("utf-8"))["run"])[-1] == "launcher=local"
