"""``python -m longsafety`` where nothing is run: help, a composed config, and refusals, all without torch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import longsafety

HEAVY = ("torch", "lightning", "transformers", "datasets", "mlflow", "pandas", "matplotlib")
PROBE = f"""
import atexit, json, os, runpy, sys
sys.argv[0] = "longsafety"
place = os.environ["PROBE"]
atexit.register(lambda: open(place, "w").write(json.dumps([name for name in {HEAVY!r} if name in sys.modules])))
runpy.run_module("longsafety", run_name="__main__")
"""


def command(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """``python -m longsafety`` in an empty folder, and the heavy modules that it imported."""
    place = tmp_path / "modules.json"
    root = str(Path(longsafety.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PROBE": str(place), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, json.loads(place.read_text("utf-8"))


def test_help_answers_without_torch(tmp_path: Path) -> None:
    done, heavy = command(tmp_path, "--help")
    assert (done.returncode, heavy) == (0, [])
    assert re.search(r"(?m)^experiment: .*mix_ablation", done.stdout)
    assert re.search(r"(?m)^  python -m longsafety ", done.stdout)


def test_help_and_the_list_show_the_files(tmp_path: Path) -> None:
    own = tmp_path / "mine" / "data_mix"
    own.mkdir(parents=True)
    (own / "my_mix.yaml").write_text("name: my_mix\n", "utf-8")
    for typed, shown in (
        (["--help"], r"(?m)^training:\n  epochs: 1\n(.*\n)*?  lr_peak: 2.0e-5$"),
        (["--help"], r"(?m)^  timeout_seconds: 10$"),
        (["scale=smoke", "-h", "--config-dir", str(tmp_path / "mine")], r"(?m)^data_mix: .*my_mix"),
        (["stages=[list]"], r"(?m)^  mix_ablation +Is LongSafety"),
    ):
        done, heavy = command(tmp_path, *typed)
        assert (done.returncode, heavy) == (0, []), done.stderr
        assert re.search(shown, done.stdout), typed


@pytest.mark.slow
def test_cfg_job_answers_without_torch(tmp_path: Path) -> None:
    done, heavy = command(tmp_path, "+experiment=mix_ablation", "scale=paper", "length=64k", "--cfg", "job")
    assert (done.returncode, heavy) == (0, [])
    shown = yaml.safe_load(done.stdout)
    assert (shown["name"], shown["scale"], shown["length"]["max_tokens"]) == ("mix_ablation", "paper", 65536)


@pytest.mark.slow
def test_a_wrong_config_is_refused_without_torch(tmp_path: Path) -> None:
    wrong = ("training.epoch=2", "training.lr_peak=fast", "length=128k")
    done, heavy = command(tmp_path, "+experiment=mix_ablation", "scale=smoke", *wrong)
    assert (done.returncode, heavy, done.stdout) == (2, [], "")
    assert re.match(r"longsafety: 3 settings are wrong:\n", done.stderr)
    assert len(done.stderr.splitlines()) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["modules.json"], "nothing is written"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("model=nope", r"\n  model = nope: no such option; choose from .*smollm2"),
        ("+experiment=nope", r"\n  experiment = nope: no such option; choose from .*mix_ablation"),
        ("model=null", r"\n  model = null: no such option"),
        ("foo", r"\n  foo: is no KEY=VALUE"),
        ("--config-name=other", r"\n  --config-name = other: there is one primary config"),
        ("-cp=elsewhere", r"\n  --config-path = elsewhere: "),
        ("--experimental-rerun=job.pickle", r"\n  --experimental-rerun = job\.pickle: "),
        ("--resolve", r"\n  --resolve: no such flag"),
        ("--config-dir=", r"\n  --config-dir = '': no such folder"),
    ],
)
def test_what_hydra_refuses_has_no_traceback(tmp_path: Path, argument: str, message: str) -> None:
    done, heavy = command(tmp_path, "scale=smoke", argument)
    assert (done.returncode, heavy) == (2, [])
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--run"], ["--config-name", "config"]])
def test_flags_that_change_nothing_run_the_command(tmp_path: Path, flags: list[str]) -> None:
    done, _ = command(tmp_path, *flags, "scale=smoke", "stages=[plan]", "model=smollm2", "name=實驗")
    assert done.returncode == 0, done.stderr
    assert "longsafety" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.soak)])
def test_letters_that_the_terminal_lacks_are_substituted(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done, _ = command(tmp_path, "scale=smoke", "seed=七")
    assert done.returncode == 2 and "seed = '?': should be a valid integer" in done.stderr
    done, _ = command(tmp_path, "scale=smoke", "stages=[plan]", "model=smollm2")
    assert done.returncode == 0, done.stderr
