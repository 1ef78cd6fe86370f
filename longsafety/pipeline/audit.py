"""Stage ``audit``: what was built, checked and counted."""

from __future__ import annotations

from pathlib import Path

from longsafety.pipeline.corpus import encoder, facts
from longsafety.pipeline.gate import gate
from longsafety.pipeline.run import Run
from longsafety.pipeline.samples import SAMPLES, benchmark, samples, splits
from longsafety.samples.recipe import SampleFile
from longsafety.scenarios.audit.audit import Audit
from longsafety.scenarios.audit.audit import audit as checked

AUDIT = "audit.json"


def audit(run: Run) -> Audit:
    """The audit of training samples and benchmark items."""
    there = splits(run)
    words = gate(run) if there["bench"] else []

    def make(folder: Path) -> None:
        train = SampleFile(samples(run) / SAMPLES) if there["train"] else []
        bench = SampleFile(benchmark(run) / SAMPLES) if there["bench"] else []
        found = checked(train, bench, encoder(run), corpus_licence=facts(run)["licence"], gate=words)
        found.save(folder / AUDIT)

    return Audit.load(run.stage("audit", make) / AUDIT)
