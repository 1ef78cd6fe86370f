"""The runs of a sweep as its record names them, and where they are now: outputs may have been copied or moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from longsafety.errors import DataError, first_line
from longsafety.pipeline.run import SWEEP
from longsafety.reporting.record import RECORD, RunRecord


def runs_of(folder: Path) -> list[tuple[str, Path]]:
    """The runs of the sweep in ``folder``: each one's recorded place, and where it is now.

    One that is not at its recorded place, or not finished there, is looked for in ``../../runs``, as outputs may have
    been copied or moved, and begun anew where they were.

    Raises DataError where ``sweep.yaml`` cannot be read.
    """
    file = folder / SWEEP
    try:
        held = yaml.safe_load(file.read_text("utf-8"))
        recorded = held["runs"]
        if not isinstance(recorded, list) or not all(isinstance(run, str) for run in recorded):
            raise ValueError("runs is no list of folders")
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DataError(
            f"{file}: is no readable record of a sweep ({first_line(error, typed=True)}); restore it, or give the "
            "sweep's command again"
        ) from error
    return [(run, _now(folder, Path(run))) for run in recorded]


def _now(sweep: Path, run: Path) -> Path:
    beside = sweep.resolve().parent.parent.joinpath("runs", *run.parts[-2:])
    return beside if not (run / RECORD).exists() and beside.is_dir() else run


def record_of(folder: Path) -> RunRecord:
    """The run's record, with the outputs that its folder lies in now: others may be where they were.

    Raises DataError where it cannot be read.
    """
    file = folder / RECORD
    try:
        record = RunRecord.load(folder)
        recorded, here = Path(record.settings["paths"]["outputs"]), folder.resolve().parents[2]
        if recorded.resolve() != here and ((here / "stages").is_dir() or not recorded.exists()):
            paths = {**record.settings["paths"], "outputs": str(here)}
            record = replace(record, settings={**record.settings, "paths": paths})
        record.resolved()
    except FileNotFoundError as error:
        raise DataError(
            f"{file}: there is no such file; restore the run's folder, or give the sweep's command again"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file}: is no readable record of a run ({first_line(error, typed=True)}); restore it, or give the "
            "sweep's command again"
        ) from error
    return record
