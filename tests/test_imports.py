"""What answers at once imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "lightning", "transformers", "datasets", "mlflow", "pandas", "matplotlib")
COMPOSES = """
from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
settle(compose_jobs(["+experiment=mix_ablation", "scale=smoke"]))
"""
PLANS = """
import sys
from longsafety.__main__ import main
sys.argv = ["longsafety", "scale=smoke", "stages=[plan]", "tracking=none", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    ["import longsafety.__main__", "import longsafety.configuration.checks", COMPOSES, PLANS],
    ids=["the command", "the checks", "composing", "the plan"],
)
def test_nothing_heavy_is_imported(program: str, tmp_path: Path) -> None:
    probe = f"{program}\nimport sys\nprint('heavy:', *[name for name in {HEAVY!r} if name in sys.modules])"
    places = [f"paths.outputs={tmp_path / 'outputs'}", f"paths.cache={tmp_path / 'cache'}"]
    done = subprocess.run([sys.executable, "-c", probe, *places], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "heavy:"
