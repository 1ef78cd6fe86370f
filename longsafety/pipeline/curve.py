"""The safety curve of a training: a part of the benchmark, asked every so many steps."""

from __future__ import annotations

from longsafety.evaluation.curve import Curve, curve_evaluation
from longsafety.pipeline.asked import fitting
from longsafety.pipeline.run import Run
from longsafety.pipeline.samples import bench_encoder


def curve(run: Run) -> Curve:
    """The callback that asks ``training.curve_items`` items with the headline's scorer."""
    settings = run.settings
    evaluation = curve_evaluation(settings.evaluation, settings.training)
    items = fitting(run, evaluation).items
    return Curve(items, bench_encoder(run), evaluation, settings.training, settings.length.bench_tokens)
