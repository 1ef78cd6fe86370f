"""``report.runs=[…]``: finished sweeps, compared as if they had been one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from longsafety.errors import ConfigError, DataError
from longsafety.pipeline.addresses import sweep as sweep_address
from longsafety.pipeline.recorded_runs import runs_of
from longsafety.pipeline.run import SWEEP
from longsafety.settings import Settings
from longsafety.stages import folder_name

if TYPE_CHECKING:
    from longsafety.reporting.record import RunRecord

_RECORD = "record.json"


def join(settings: Settings, command: Sequence[str]) -> Path:
    """Freezes a sweep of the runs of all sweeps in ``report.runs``; its folder.

    Raises ConfigError for a folder that is no sweep's, and for runs that are gone or not finished.
    """
    problems, runs = [], list[str]()
    for place in settings.report.runs:
        frozen = Path(place) / SWEEP
        if not frozen.is_file():
            problems.append(
                f"report.runs = {place}: is no folder of a sweep; give one of {settings.paths.outputs}/sweeps"
            )
            continue
        try:
            of_sweep = [str(run) for _, run in runs_of(frozen.parent)]
        except DataError as error:
            problems.append(f"report.runs = {place}: {error}")
            continue
        gone = [run for run in of_sweep if not Path(run).exists()]
        if gone:
            problems.append(
                f"report.runs = {place}: its run {gone[0]} is gone, and not in {frozen.resolve().parents[2] / 'runs'} "
                "either; restore its folder, or give its command again first"
            )
            continue
        waiting = [Path(run).name for run in of_sweep if not (Path(run) / _RECORD).is_file()]
        if waiting:
            problems.append(
                f"report.runs = {place}: {', '.join(waiting)} is not finished; give its command again first"
            )
        runs += of_sweep
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
    (folder / SWEEP).write_text(yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True), "utf-8")
    return folder


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
