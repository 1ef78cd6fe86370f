"""Stage ``gate``: what words alone tell of the benchmark's items, which every score is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longsafety.errors import DataError
from longsafety.pipeline.run import Run, read_json, write_json
from longsafety.pipeline.samples import SAMPLES, benchmark
from longsafety.samples.recipe import SampleFile
from longsafety.scenarios.audit.gate import failed, gate_line
from longsafety.scenarios.audit.gate import gate as measured
from longsafety.scenarios.tasks.registry import tasks

GATE = "gate.json"


def gate(run: Run) -> list[dict[str, Any]]:
    """The checks of :func:`longsafety.scenarios.audit.gate.gate`; none where no item has a twin with its options.

    Raises DataError with ``scenario.strict`` where one has failed.
    """

    def make(folder: Path) -> None:
        of_facts = [name for name, task in tasks(run.settings.scenario.task_files).items() if task.asks_facts]
        write_json(folder / GATE, measured(SampleFile(benchmark(run) / SAMPLES), of_facts=of_facts))

    found: list[dict[str, Any]] = read_json(run.stage("gate", make) / GATE)
    if run.settings.scenario.strict and (beyond := failed(found)):
        listed = "\n".join(f"  {gate_line(row)}" for row in beyond)
        raise DataError(
            f"scenario.strict = true: {len(beyond)} of the audit's checks failed; change the seed items "
            f"(scenario.seeds), or set it to false to go on all the same\n{listed}"
        )
    return found
