"""The built wheel, used from another folder than the checkout's."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from tests.conftest import Place

ROOT = Path(__file__).parents[1]
DATA = [
    *(ROOT / "longsafety").rglob("*"),
    *(ROOT / "conf").rglob("*"),
    *(ROOT / "sweeps").rglob("*"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the environment's own hatchling: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(installed: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_wheel_holds_every_file_of_package_and_configuration(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in DATA:
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".png":  # a picture of a README
            inside = path.relative_to(ROOT)
            expected = inside if inside.parts[0] == "longsafety" else Path("longsafety") / inside
            assert expected.as_posix() in names


@pytest.mark.slow
def test_configuration_is_composed_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    from_wheel = python(installed, tmp_path, "-c", "import longsafety; print(longsafety.__file__)").strip()
    assert Path(from_wheel).is_relative_to(installed)
    shown = yaml.safe_load(python(installed, tmp_path, "-m", "longsafety", "+experiment=mix_ablation", "--cfg", "job"))
    assert shown["name"] == "mix_ablation"


@pytest.mark.slow
def test_plan_and_build_outside_the_checkout(installed: Path, tmp_path: Path, place: Place) -> None:
    plan = python(installed, tmp_path, "-m", "longsafety", "scale=paper", "stages=[plan]", "tracking=none")
    assert "peak" in plan
    small = ["scenario=harmful_niah", "scenario.train_samples=20", "scenario.bench_items=8"]
    common = ["scale=smoke", "stages=[build]", "trainer=cpu", "tracking=none", *small]
    python(installed, tmp_path, "-m", "longsafety", *common, f"corpus={place.corpus}", f"paths.cache={place.cache}")
    assert list((tmp_path / "outputs" / "stages" / "samples").glob("*/*.parquet"))
