"""``launcher=skypilot``: the task file. No cloud was asked: what SkyPilot makes of it is not run here."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

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
