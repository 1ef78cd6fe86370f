"""The trainings of an arm, in order: its own, and where it is tuned further, that on top of it."""

from __future__ import annotations

from dataclasses import replace

from longsafety.pipeline.addresses import weights
from longsafety.pipeline.run import Run, once


@once
def phases(run: Run) -> list[Run]:
    """One run for each training; the last has the arm's weights."""
    settings, found = run.settings.phases, run.addresses
    if len(settings) == 1:
        return [run]
    stages = (found.samples, found.short_safety, found.long_align, found.benchmark)
    before = replace(found, weights=weights(settings[0], *stages))
    first = replace(run, settings=settings[0], addresses=before, kept={})
    return [first, replace(run, settings=settings[1], kept={})]
