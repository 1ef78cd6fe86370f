"""Impossible combinations of settings that are each valid alone. No heavy import."""

from __future__ import annotations

from collections.abc import Iterator

from longsafety.configuration.checks_data import length_problems, mix_problems
from longsafety.configuration.checks_evaluation import evaluation_problems
from longsafety.configuration.checks_files import export_problems, reading_problems
from longsafety.configuration.checks_seeds import write_seeds_problems
from longsafety.configuration.checks_training import training_problems
from longsafety.settings import Settings


def combination_problems(settings: Settings, broken: frozenset[str] = frozenset()) -> list[str]:
    """Every violated rule as ``key = value: rule; fix``; rules over a ``broken`` key are left out."""
    return [
        line
        for keys, line in _rules(settings)
        if not any(key == wrong or key.startswith(f"{wrong}.") for key in keys for wrong in broken)
    ]


def _rules(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    yield from length_problems(settings)
    yield from mix_problems(settings)
    yield from export_problems(settings)
    yield from reading_problems(settings)
    yield from write_seeds_problems(settings)
    yield from training_problems(settings)
    yield from evaluation_problems(settings)
    yield from _run_problems(settings)


def _run_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    for stage, what in (("plan", "only estimates"), ("status", "only tells"), ("clean", "only clears up")):
        if stage in settings.stages and len(settings.stages) > 1:
            yield (
                ("stages",),
                f"stages = [{','.join(settings.stages)}]: {stage} {what}, and must be the only stage; set "
                f"stages=[{stage}] first, then give the command without it",
            )
    if settings.report.runs and settings.stages != ["report"]:
        yield (
            ("report.runs", "stages"),
            f"report.runs = [{', '.join(settings.report.runs)}]: finished sweeps are only compared, and stages = "
            f"[{','.join(settings.stages)}]; set stages=[report]",
        )
    if settings.launcher.kind == "parallel" and settings.trainer.num_nodes > 1:
        yield (
            ("launcher.kind", "trainer.num_nodes"),
            f"launcher = parallel: executes runs side by side on this machine, and trainer.num_nodes = "
            f"{settings.trainer.num_nodes}; set launcher=local",
        )
    if settings.tracking.registered_model and not (settings.exports_weights and settings.tracks):
        yield (
            ("tracking.registered_model", "stages", "export.format"),
            f"tracking.registered_model = {settings.tracking.registered_model}: registers exported weights, and this "
            "command exports or logs none; add export to stages, with export.format=weights export.path=FOLDER",
        )
    uri = settings.tracking.uri
    if settings.tracking.enabled and uri and "://" not in uri:
        yield (
            ("tracking.uri",),
            f"tracking.uri = {uri!r}: is a plain path, which MLflow refuses; give sqlite:///PATH.db or http://HOST:PORT",
        )
