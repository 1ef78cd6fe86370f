"""Stages ``short_safety`` and ``long_align``: the samples of the arms that LongSafety is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from longsafety.pipeline.corpus import control
from longsafety.pipeline.run import Run, write_json
from longsafety.pipeline.samples import SAMPLES, builder
from longsafety.pipeline.seeds import COUNTS, teacher
from longsafety.samples.recipe import write_samples
from longsafety.scenarios.baselines import baseline_samples
from longsafety.scenarios.teacher.complete import context_questions

_SPECIAL = "teacher: context_question left out: holds a special token of the model"


def baseline(run: Run, kind: str) -> Path:
    """The samples of ``short_safety`` or ``long_align``: as many as the tasks' together."""

    def make(folder: Path) -> None:
        drawn = builder(run, "train")
        model, language = teacher(run), run.settings.scenario.language
        counts: Counter[str] = Counter()

        def write_questions(passages: Sequence[str]) -> list[tuple[str, str, str] | None]:
            written = context_questions(passages, model, language, counts)
            kept = [None if reply is None or control(run).found(*reply[:2]) else reply for reply in written]
            counts[_SPECIAL] += sum(map(bool, written)) - sum(map(bool, kept))
            return kept

        made = baseline_samples(drawn, kind, sum(drawn.counts.values()), write_questions if model else None)
        counts[f"train: {kind}"] = write_samples(made, folder / SAMPLES)
        write_json(folder / COUNTS, +counts)

    return run.stage(kind, make)
