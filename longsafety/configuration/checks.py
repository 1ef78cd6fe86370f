"""Impossible combinations of settings that are each valid alone. No heavy import."""

from __future__ import annotations

from collections.abc import Iterator

from longsafety.configuration.checks_data import length_problems, mix_problems
from longsafety.configuration.checks_evaluation import evaluation_problems
from longsafety.configuration.checks_files import export_problems, reading_problems
from longsafety.configuration.checks_seeds import write_seeds_problems
from longsafety.configuration.checks_training import training_problems
from longsafety.configuration.checks_unread import unread_problems
from longsafety.settings import Settings, Slurm


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
    yield from unread_problems(settings)
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
    yield from _launcher_problems(settings)
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


def _launcher_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    kind, trainer, slurm = settings.launcher.kind, settings.trainer, settings.launcher.slurm
    nodes = f"trainer.num_nodes = {trainer.num_nodes}"
    if kind == "parallel" and trainer.num_nodes > 1:
        yield (
            ("launcher.kind", "trainer.num_nodes"),
            f"launcher = parallel: executes runs side by side on this machine, and {nodes}; set launcher=local or "
            "launcher=slurm",
        )
    if kind == "skypilot" and trainer.num_nodes > 1:
        yield (
            ("launcher.kind", "trainer.num_nodes"),
            f"launcher = skypilot: writes a task for one machine, because several need a folder that all share, and "
            f"{nodes}; set launcher=slurm, or a trainer of one node",
        )
    if kind in ("slurm", "skypilot") and settings.writes_seeds:
        yield (
            ("launcher.kind", "stages"),
            f"launcher = {kind}: executes runs, and stages = [{','.join(settings.stages)}] writes seed items here; set "
            "launcher=local",
        )
    if kind != "slurm":
        asked = [f"launcher.slurm.{name} = {getattr(slurm, name)}" for name in sorted(slurm.model_fields_set)]
        if slurm != Slurm():
            yield (
                ("launcher",),
                f"{asked[0]}: launcher = {kind} has no such jobs; set launcher=slurm, or leave it out",
            )
        return
    if 2 * slurm.signal_seconds > 60 * slurm.minutes:
        yield (
            ("launcher.slurm.signal_seconds", "launcher.slurm.minutes"),
            f"launcher.slurm.signal_seconds = {slurm.signal_seconds}: is more than half of a job's time "
            f"(launcher.slurm.minutes = {slurm.minutes}); give the job more minutes, or less time for its checkpoint",
        )
    gpus = slurm.gpus_per_node
    if not settings.trains or trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and gpus == 0):
        return
    if (
        trainer.accelerator == "gpu"
        and gpus is not None
        and isinstance(trainer.devices, int)
        and gpus < trainer.devices
    ):
        yield (
            ("launcher.slurm.gpus_per_node", "trainer.devices"),
            f"launcher.slurm.gpus_per_node = {gpus}: fewer than trainer.devices = {trainer.devices}; leave it out",
        )
    if trainer.devices == "auto" and not gpus:
        yield (
            ("launcher.slurm.gpus_per_node", "trainer.devices"),
            "trainer.devices = auto: a job sees the GPUs that it asks for; set launcher.slurm.gpus_per_node",
        )
