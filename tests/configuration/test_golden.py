"""Golden files: the default run whole, every declared experiment at every scale as its differences from it.

Renew them after a deliberate change, and read the difference before committing it:
``LONGSAFETY_RENEW_GOLDEN=1 python -m pytest tests/configuration/test_golden.py``. The same command makes those of a new
experiment, which without them is not compared.
"""

from __future__ import annotations

import os
import warnings
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.places import CONF, SWEEPS
from longsafety.configuration.settle import settle

GOLDEN = Path(__file__).parents[1] / "golden"
RENEW = bool(os.environ.get("LONGSAFETY_RENEW_GOLDEN"))
COMMAND = "LONGSAFETY_RENEW_GOLDEN=1 python -m pytest tests/configuration/test_golden.py"
SCALES = ("smoke", "nano", "paper")
EXPERIMENTS = sorted(path.stem for path in chain(*(root.glob("experiment/*.yaml") for root in (CONF, SWEEPS))))
BASE = GOLDEN / "run.yaml"
FILES = sorted(f"{name}-{scale}" for name in ("run", *EXPERIMENTS) for scale in SCALES)
KEPT = FILES if RENEW else [name for name in FILES if (GOLDEN / f"{name}.yaml").exists()]


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        result |= flat(item, f"{prefix}{key}.") if isinstance(item, dict) and item else {f"{prefix}{key}": item}
    return result


def resolved(*arguments: str) -> list[dict[str, Any]]:
    """Every job's settings, without the machine's paths."""
    return [flat(job.model_dump(exclude={"paths"})) for job in settle(compose_jobs(arguments))]


def difference(base: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """What a job has other than the base; ``~key`` where it has no such key."""
    changed = {key: item for key, item in job.items() if base.get(key, ...) != item}
    return changed | {f"~{key}": None for key in base if key not in job}


def compared(path: Path, found: object) -> None:
    if RENEW:
        path.parent.mkdir(exist_ok=True)
        text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120)
        path.write_text(f"# Renew: {COMMAND}\n{text}", "utf-8")
    assert yaml.safe_load(path.read_text("utf-8")) == found


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    [job] = resolved()
    return job


def test_the_default_run_is_as_in_its_golden_file(base: dict[str, Any]) -> None:
    compared(BASE, base)


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_resolved_jobs_are_as_in_the_golden_file(name: str, base: dict[str, Any]) -> None:
    experiment, scale = name.rsplit("-", 1)
    jobs = resolved(*([] if experiment == "run" else [f"+experiment={experiment}"]), f"scale={scale}")
    own = [difference(base, job) for job in jobs]
    common = {key: item for key, item in own[0].items() if all(other.get(key, ...) == item for other in own)}
    compared(
        GOLDEN / f"{name}.yaml",
        {"common": common, "jobs": [{key: item for key, item in job.items() if key not in common} for job in own]},
    )


def test_a_golden_file_belongs_to_an_experiment() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} - {BASE.stem} <= set(FILES)
    if missing := sorted(set(FILES) - set(KEPT)):
        warnings.warn(f"no golden file for {', '.join(missing)}; make them with: {COMMAND}", stacklevel=1)
