"""``report.runs=[…]``: finished sweeps, compared as if they had been one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from longsafety.errors import ConfigError, DataError
from longsafety.files import write_text
from longsafety.pipeline.addresses import sweep as sweep_address
from longsafety.pipeline.recorded_runs import record_of, runs_of
from longsafety.pipeline.run import SWEEP
from longsafety.reporting.record import RECORD, RunRecord
from longsafety.settings import Settings
from longsafety.stages import Store, folder_name

_JUDGED = "verdicts.parquet"
"""In a run's folder: its answers with the verdicts on them (``evaluation.open_replies``, which needs pandas)."""


def join(settings: Settings, command: Sequence[str]) -> Path:
    """Freezes a sweep of the runs of all sweeps in ``report.runs``; its folder.

    Raises ConfigError for a folder that is no sweep's, and for runs that are gone or not finished.
    """
    problems, runs = [], list[str]()
    for place in settings.report.runs:
        try:
            runs += _finished(Path(place), settings)
        except DataError as error:
            problems.append(f"report.runs = {place}: {error}")
    if problems:
        raise ConfigError(problems)
    runs = list(dict.fromkeys(runs))
    key = sweep_address([Path(run).name for run in runs], settings.baseline)
    folder = Path(settings.paths.outputs) / "sweeps" / f"{folder_name(settings.name)}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    sweep = {
        "name": settings.name,
        "key": key,
        "command": shlex.join(command),
        "runs": runs,
        "tracking": settings.tracking.model_dump(),
        "sheet": settings.evaluation.sheet,
    }
    write_text(folder / SWEEP, yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True))
    return folder


def _finished(place: Path, settings: Settings) -> list[str]:
    """The runs of the sweep in ``place``. Raises DataError where they cannot be compared, without the key."""
    frozen = place / SWEEP
    if not frozen.is_file():
        raise DataError(f"is no folder of a sweep; give one of {settings.paths.outputs}/sweeps")
    runs = [run for _, run in runs_of(place)]
    if gone := [run for run in runs if not run.exists()]:
        raise DataError(
            f"its run {gone[0]} is gone, and not in {frozen.resolve().parents[2] / 'runs'} either; restore its folder, "
            "or give its command again first"
        )
    if waiting := [run.name for run in runs if not (run / RECORD).is_file()]:
        raise DataError(f"{', '.join(waiting)} is not finished; give its command again first")
    if missing := [folder for run in runs if (folder := _missing_answers(run))]:
        raise DataError(
            f"{missing[0]} is gone, which holds the answers of one of its runs; restore the folder, or give the "
            "sweep's command again first"
        )
    return [str(run) for run in runs]


def _missing_answers(run: Path) -> Path | None:
    """Where a finished run's answers should be and are not; None where they are there."""
    record = record_of(run)
    if "answers" not in record.stages or (run / _JUDGED).is_file():
        return None
    folder = Store(Path(record.resolved().paths.outputs)).folder("answers", record.stages["answers"])
    return None if folder.is_dir() else folder


def distinct(records: Sequence[RunRecord]) -> list[RunRecord]:
    """With the experiment's name in the labels of arms that are called alike and answered differently."""
    answers: dict[tuple[object, ...], set[str]] = {}
    for record in records:
        place = (record.label, record.settings["length"]["max_tokens"] * record.settings["length"].get("factor", 1))
        answers.setdefault((*place, record.settings["seed"]), set()).add(record.stages.get("answers", record.key))
    alike = {place[0] for place, found in answers.items() if len(found) > 1}
    return [_renamed(record) if record.label in alike else record for record in records]


def _renamed(record: RunRecord) -> RunRecord:
    label = f"{record.label} experiment={record.name}"
    varied = {**record.varied, "experiment": record.name}
    return replace(record, label=label, varied=varied, settings=record.settings | {"label": label, "varied": varied})
