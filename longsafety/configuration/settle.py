"""From composed jobs to typed settings: arm names, absolute paths, one training for several lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longsafety.configuration.compose import Job, _plain
from longsafety.configuration.explain import check
from longsafety.errors import ConfigError
from longsafety.evaluation.suites.names import absolute_suites
from longsafety.scenarios.seeds.shipped import SHIPPED
from longsafety.settings import Settings
from longsafety.stages import slug

_LENGTH_KEYS = ("length", "length.max_tokens", "length.factor")


def settle(jobs: Sequence[Job]) -> list[Settings]:
    """Typed settings of every job, or one ConfigError with all mistakes of all jobs."""
    problems: dict[str, None] = {}
    settled: list[Settings] = []
    for job in jobs:
        settings, wrong = check({**_plain(job.config), "varied": dict(job.varied)})
        problems.update(dict.fromkeys(wrong))
        if settings:
            settled.append(settings)
    if problems:
        raise ConfigError(list(problems))
    labels = [_label(settings, job) for settings, job in zip(settled, jobs, strict=True)]
    baseline = settled[0].baseline
    if baseline is not None and baseline not in labels:
        names = ", ".join(dict.fromkeys(labels))
        raise ConfigError([f"baseline = {baseline}: no arm of this command; choose one of {names}"])
    settled = _own_export_folders(settled, labels)
    lengths: dict[str, set[int]] = {}
    for label, settings in zip(labels, settled, strict=True):
        lengths.setdefault(label, set()).add(settings.length.max_tokens)
    return [
        _finish(settings, job, label, lengths[label])
        for settings, job, label in zip(settled, jobs, labels, strict=True)
    ]


def _own_export_folders(settled: Sequence[Settings], labels: Sequence[str]) -> list[Settings]:
    """Trained models for which one folder is given go into its subfolders, by arm, and by length where an arm has
    several; data does not."""
    paths = [settings.export.path for settings in settled]
    if settled[0].exports_weights and not any(settings.data_mix.sources for settings in settled):
        raise ConfigError(
            [f"export.format = weights: no arm of {', '.join(labels)} is trained; choose another data_mix"]
        )
    own = list(paths)
    for number, (settings, label, path) in enumerate(zip(settled, labels, paths, strict=True)):
        if path is not None and settings.exports_weights and paths.count(path) > 1:
            length = f"-{settings.length.bench_tokens}" if labels.count(label) > 1 else ""
            own[number] = str(Path(path) / f"{slug(label)}{length}")
    for path in dict.fromkeys(path for path in own if path is not None):
        if own.count(path) > 1:
            raise ConfigError([
                f"export.path = {path}: {own.count(path)} runs of this command would write into it; give each its "
                "own, with what varies in the path: FOLDER/${length.name}"
            ])  # fmt: skip
    return [
        settings.model_copy(update={"export": settings.export.model_copy(update={"path": path})})
        for settings, path in zip(settled, own, strict=True)
    ]


def _label(settings: Settings, job: Job) -> str:
    others = {
        key: value for key, value in job.varied.items() if key not in (*_LENGTH_KEYS, "data_mix", "evaluation.answers")
    }
    first = Path(settings.evaluation.answers).name if settings.evaluation.answers else settings.data_mix.name
    return " ".join([first, *(f"{key}={value}" for key, value in others.items())])


def _finish(settings: Settings, job: Job, label: str, lengths: set[int]) -> Settings:
    """Names the arm, shares one training among its lengths, and makes the paths absolute."""
    length = settings.length
    if len(lengths) > 1 and length.train_tokens is None and not settings.only_builds:
        length = length.model_copy(update={"train_tokens": min(lengths)})
    scenario, limits = settings.scenario, settings.limits
    if not settings.only_builds:
        scenario = scenario.model_copy(
            update={
                "train_samples": scenario.train_samples or limits.train_samples,
                "bench_items": scenario.bench_items or limits.bench_items,
            }
        )
    if scenario.seeds != SHIPPED:
        scenario = scenario.model_copy(update={"seeds": _absolute(scenario.seeds)})
    scenario = scenario.model_copy(update={"task_files": [_absolute(file) for file in scenario.task_files]})
    judge = settings.evaluation.judge
    update: dict[str, Any] = {
        "corpus": _with_path(settings.corpus, "source") if settings.corpus.source != "embedded" else settings.corpus,
        "data_mix": settings.data_mix.model_copy(
            update={
                "sources": {
                    name: _with_path(source, "path")
                    for name, source in settings.data_mix.sources.items()
                    if not settings.rescores  # what answered was not trained here
                }
            }
        ),
        "read": _with_path(_with_path(settings.read, "path"), "documents"),
        "evaluation": settings.evaluation.model_copy(
            update={
                "items": _with_path(_with_path(settings.evaluation.items, "path"), "documents"),
                "capability": absolute_suites(settings.evaluation.capability),
                **({"answers": _absolute(str(settings.evaluation.answers))} if settings.rescores else {}),
                "judge": judge if judge is None else _with_path(judge, "labelled"),
            }
        ),
        "export": _with_path(settings.export, "path", missing=True),
        "paths": settings.paths.model_copy(
            update={"outputs": _absolute(settings.paths.outputs), "cache": _absolute(settings.paths.cache)}
        ),
    }
    return settings.model_copy(
        update={"label": label, "varied": dict(job.varied), "length": length, "scenario": scenario, **update}
    )


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _with_path(section: Any, key: str, *, missing: bool = False) -> Any:
    """The section with an absolute path where ``key`` names something local (or is yet to be made)."""
    value = getattr(section, key)
    if value is None or not (missing or Path(value).expanduser().exists()):
        return section
    return section.model_copy(update={key: _absolute(value)})
