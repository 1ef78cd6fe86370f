"""The safety curve of a training: a part of the benchmark, asked every so many steps."""

from __future__ import annotations

from longsafety.evaluation.curve import Curve, curve_evaluation
from longsafety.evaluation.open_replies.rules import rules
from longsafety.pipeline.asked import fitting
from longsafety.pipeline.run import Run
from longsafety.pipeline.samples import bench_encoder


def curve(run: Run) -> Curve:
    """The callback that asks ``training.curve_items`` items with the headline's scorer; open replies, of the tasks that
    the refusal detector decides."""
    settings = run.settings
    evaluation = curve_evaluation(settings.evaluation, settings.training)
    known = rules(settings.scenario.task_files)
    if evaluation.scorers == ["open"] and evaluation.items.path is None:
        tasks = evaluation.select.tasks or [name for name, counts in settings.scenario.tasks.items() if counts.bench]
        decided = [name for name in tasks if known[name].detector_decides]
        evaluation = evaluation.model_copy(update={"select": evaluation.select.model_copy(update={"tasks": decided})})
    items = fitting(run, evaluation).items
    return Curve(items, bench_encoder(run), evaluation, settings.training, settings.length.bench_tokens, known)
