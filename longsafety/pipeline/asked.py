"""Which benchmark items the model is asked, each made to fit the length."""

from __future__ import annotations

from longsafety.evaluation.asking.selection import select_and_fit
from longsafety.evaluation.asking.truncation import FittedItems
from longsafety.pipeline.run import Run, once
from longsafety.pipeline.samples import SAMPLES, bench_encoder, benchmark
from longsafety.samples.recipe import read_samples
from longsafety.settings import Evaluation


@once
def asked(run: Run) -> FittedItems:
    """The items of the evaluation, with what was cut of them, and the counts of what was cut or left out."""
    found = fitting(run, run.settings.evaluation)
    for reason, count in found.counts.items():
        print(f"  {count} of the benchmark's items {reason}", flush=True)
    return found


def fitting(run: Run, evaluation: Evaluation) -> FittedItems:
    """Like :func:`asked`, for other settings of the evaluation, and without printing."""
    return select_and_fit(
        read_samples(benchmark(run) / SAMPLES),
        bench_encoder(run),
        evaluation,
        max_tokens=run.settings.length.bench_tokens,
        window=run.settings.model.window,
        fold_system=run.settings.model.fold_system,
    )
