"""Stages ``short_safety`` and ``long_align``: the samples of the arms that LongSafety is compared with."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from longsafety.pipeline.run import Run, write_json
from longsafety.pipeline.samples import SAMPLES, builder
from longsafety.pipeline.seeds import COUNTS, teacher
from longsafety.samples.recipe import write_samples
from longsafety.scenarios.baselines import baseline_samples
from longsafety.scenarios.teacher.complete import context_questions


def baseline(run: Run, kind: str) -> Path:
    """The samples of ``short_safety`` or ``long_align``: as many as the tasks' together."""

    def make(folder: Path) -> None:
        drawn = builder(run, "train")
        model, language = teacher(run), run.settings.scenario.language
        write_questions = partial(context_questions, teacher=model, language=language) if model else None
        made = baseline_samples(drawn, kind, sum(drawn.counts.values()), write_questions)
        write_json(folder / COUNTS, {f"train: {kind}": write_samples(made, folder / SAMPLES)})

    return run.stage(kind, make)
