"""Stage ``audit``: what was built, checked and counted."""

from __future__ import annotations

from pathlib import Path

from longsafety.errors import DataError
from longsafety.pipeline.corpus import encoder, facts
from longsafety.pipeline.run import Run
from longsafety.pipeline.samples import SAMPLES, benchmark, samples, splits
from longsafety.samples.recipe import SampleFile
from longsafety.scenarios.audit.audit import Audit
from longsafety.scenarios.audit.audit import audit as checked
from longsafety.scenarios.audit.gate import failed, gate_line
from longsafety.scenarios.tasks.registry import tasks

AUDIT = "audit.json"


def audit(run: Run) -> Audit:
    """The audit of training samples and benchmark items."""

    def make(folder: Path) -> None:
        there = splits(run)
        train = SampleFile(samples(run) / SAMPLES) if there["train"] else []
        bench = SampleFile(benchmark(run) / SAMPLES) if there["bench"] else []
        of_facts = [name for name, task in tasks(run.settings.scenario.task_files).items() if task.asks_facts]
        found = checked(train, bench, encoder(run), corpus_licence=facts(run)["licence"], of_facts=of_facts)
        found.save(folder / AUDIT)

    found = Audit.load(run.stage("audit", make) / AUDIT)
    if run.settings.scenario.strict and (beyond := failed(found.gate)):
        listed = "\n".join(f"  {gate_line(row)}" for row in beyond)
        raise DataError(
            f"scenario.strict = true: {len(beyond)} of the audit's checks failed; change the seed items "
            f"(scenario.seeds), or set it to false to build all the same\n{listed}"
        )
    return found
