"""From composed jobs to typed settings: arm names, absolute paths, one training for several lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from longsafety.configuration.checks import combination_problems
from longsafety.configuration.compose import Job
from longsafety.configuration.explain import check
from longsafety.configuration.fields import with_absolute_paths
from longsafety.configuration.labels import arms_of, labels_of
from longsafety.errors import ConfigError
from longsafety.evaluation.suites.names import absolute_suites
from longsafety.scenarios.tasks.registry import tasks
from longsafety.settings import Settings, arm_of, mix_of, only_trains
from longsafety.stages import folder_name


def settle(jobs: Sequence[Job], note: Callable[[str], None] = lambda line: None) -> list[Settings]:
    """Typed settings of every job, or one ConfigError with all mistakes of all jobs.

    ``note`` takes what the user should know: tasks and contrasts that are left out, values that could
    be read in two ways.
    """
    problems: dict[str, None] = {}
    settled: list[Settings] = []
    for job in jobs:
        settings, wrong = check({**job.config, "varied": dict(job.varied)})
        problems.update(dict.fromkeys(wrong))
        if settings:
            settled.append(settings)
    if problems:
        raise ConfigError(list(problems))
    if swept := [key for key in settled[0].varied if key.split(".")[0] == "launcher"]:
        raise ConfigError([f"{key}: is swept, and no result depends on it; give one value" for key in swept])
    _refuse_twice(settled)
    settled = [_trained_on(_limited(settings)) for settings in _without_repeats(settled)]
    settled, lines = _without_unfit_tasks(settled)
    left = dict.fromkeys(line for settings in settled for line in combination_problems(settings)) if lines else {}
    if left:
        raise ConfigError([f"{line} ({lines[0].partition(';')[0]})" for line in left])
    for line in dict.fromkeys([*(line for job in jobs for line in job.notes), *lines]):
        note(line)
    settled = _one_training_each(settled, arms_of(settled))
    labels = labels_of(settled)
    settled = [_finished(settings, label) for settings, label in zip(settled, labels, strict=True)]
    _check_compared(settled, note)
    return _with_own_export_folders(settled)


def _check_compared(settled: Sequence[Settings], note: Callable[[str], None]) -> None:
    """Refuses a baseline that is no arm or mix of the command, and tells contrasts that lack one."""
    settings, arms = settled[0], list(dict.fromkeys(arm_of(job.label) for job in settled))
    if settings.baseline is not None and settings.baseline not in {*arms, *map(mix_of, settled)}:
        raise ConfigError([
            f"baseline = {settings.baseline}: no arm of this command; choose one of {', '.join(arms)}"
        ])  # fmt: skip
    for pair in settings.contrasts:
        if missing := [arm for arm in pair if arm not in arms]:
            note(
                f"contrasts: {' against '.join(pair)} is left out, because this command has no arm "
                f"{' and no arm '.join(missing)}; its arms are {', '.join(arms)}"
            )


def _refuse_twice(settled: Sequence[Settings]) -> None:
    """Refuses a sweep that names one value twice, in whatever spelling: its runs would be one."""
    first: dict[str, Settings] = {}
    twice: dict[str, None] = {}
    for settings in settled:
        same = first.setdefault(settings.model_dump_json(exclude={"varied", "label"}), settings)
        if same is not settings:
            pairs = ((key, same.varied.get(key), value) for key, value in settings.varied.items())
            spelled = [f"{key} = {one} and {other}" for key, one, other in pairs if one != other]
            names = spelled or [f"{key} = {value}" for key, value in settings.varied.items()]
            twice[f"{', '.join(names)}: twice in this sweep; give each value once"] = None
    if twice:
        raise ConfigError(list(twice))


def _without_repeats(settled: Sequence[Settings]) -> list[Settings]:
    """An untrained arm once, however often what only trains is swept."""
    found: dict[object, Settings] = {}
    for number, settings in enumerate(settled):
        key: object = number
        if not settings.data_mix.sources and not settings.only_builds:
            kept = {name: value for name, value in settings.varied.items() if name in ("data_mix", "seed")}
            kept |= {name: value for name, value in settings.varied.items() if not only_trains(name)}
            if kept != settings.varied:
                settings, key = settings.model_copy(update={"varied": kept}), tuple(kept.items())
        found.setdefault(key, settings)
    return list(found.values())


def _trained_on(settings: Settings) -> Settings:
    """Without training samples of the tasks that are left out."""
    scenario = settings.scenario
    if not scenario.leave_out:
        return settings
    known = tasks(scenario.task_files)
    counts = {
        name: count.model_copy(update={"train": 0}) if {name, known[name].scenario} & {*scenario.leave_out} else count
        for name, count in scenario.tasks.items()
    }
    return settings.model_copy(update={"scenario": scenario.model_copy(update={"tasks": counts})})


def _limited(settings: Settings) -> Settings:
    """With the scale's limits as the scenario's totals, where they apply."""
    scenario, limits = settings.scenario, settings.limits
    if settings.only_builds and not limits.builds:
        return settings
    update = {
        "train_samples": scenario.train_samples or limits.train_samples,
        "bench_items": scenario.bench_items or limits.bench_items,
    }
    return settings.model_copy(update={"scenario": scenario.model_copy(update=update)})


def _without_unfit_tasks(settled: Sequence[Settings]) -> tuple[list[Settings], list[str]]:
    """Leaves tasks out whose needles do not fit the shortest length of the command, in all runs; says so where a run
    trains on their samples or answers their items."""
    first = settled[0]
    if first.rescores or first.read.path is not None:
        return list(settled), []
    shortest = {
        "train": min(settings.length.training_lengths.shortest for settings in settled),
        "bench": min(settings.length.bench_lengths.shortest for settings in settled),
    }
    matters = {
        "train": any(settings.trains or settings.only_builds for settings in settled),
        "bench": not all(settings.reads_items for settings in settled),
    }
    result, lines, told = [], [], []
    for settings in settled:
        tasks = dict(settings.scenario.tasks)
        for name, needed in settings.limits.min_tokens.items():
            unfit = [split for split, tokens in shortest.items() if name in tasks and tokens < needed]
            lost = {split: getattr(tasks[name], split) for split in unfit if getattr(tasks[name], split)}
            if lost:
                tasks[name] = tasks[name].model_copy(update=dict.fromkeys(lost, 0))
                counts = " and ".join(f"{count:,} {_SAMPLES[split]}" for split, count in lost.items())
                tokens = min(shortest[split] for split in lost)
                lines.append(
                    f"{name} is left out ({counts}): its needles need {needed} tokens (limits.min_tokens), and the "
                    f"shortest length is {tokens}; give a longer one to include it"
                )
                told += lines[-1:] if any(matters[split] for split in lost) else []
        if settings.scenario.tasks and not any(count.train or count.bench for count in tasks.values()):
            raise ConfigError([f"scenario = {settings.scenario.name}: has no task that fits; {line}" for line in lines])
        scenario = settings.scenario.model_copy(update={"tasks": tasks})
        result.append(settings.model_copy(update={"scenario": scenario}))
    return result, told


_SAMPLES = {"train": "training samples", "bench": "benchmark items"}


def _one_training_each(settled: Sequence[Settings], labels: Sequence[str]) -> list[Settings]:
    """An arm that is evaluated at several lengths is trained once, at the shortest."""
    result = []
    for settings, label in zip(settled, labels, strict=True):
        arms = [other.length for other, name in zip(settled, labels, strict=True) if name == label]
        length = settings.length
        if len({arm.training_lengths for arm in arms}) > 1 and length.train_tokens is None and not settings.only_builds:
            length = length.model_copy(update={"train_tokens": min(arm.max_tokens for arm in arms)})
        result.append(settings.model_copy(update={"length": length}))
    return result


def _finished(settings: Settings, label: str) -> Settings:
    """Names the arm, multiplies its epochs and makes all paths absolute."""
    evaluation = settings.evaluation.model_copy(update={"capability": absolute_suites(settings.evaluation.capability)})
    epochs = settings.training.epochs * settings.data_mix.epoch_factor
    training = settings.training.model_copy(update={"epochs": epochs})
    update: dict[str, object] = {"label": label, "evaluation": evaluation, "training": training}
    if settings.rescores:  # the model that answered was not trained here
        update["data_mix"] = settings.data_mix.model_copy(update={"sources": {}})
    return with_absolute_paths(settings.model_copy(update=update))


def _with_own_export_folders(settled: Sequence[Settings]) -> list[Settings]:
    """Trained models that share a folder go into its subfolders, named by arm, and by length where an arm has
    several; data may not share one."""
    labels = [settings.label for settings in settled]
    paths = [settings.export.path for settings in settled]
    if settled[0].exports_weights and not any(settings.data_mix.sources for settings in settled):
        raise ConfigError(
            [f"export.format = weights: no arm of {', '.join(labels)} is trained; choose another data_mix"]
        )
    own = list(paths)
    for number, (settings, label, path) in enumerate(zip(settled, labels, paths, strict=True)):
        if path is not None and settings.exports_weights and paths.count(path) > 1:
            length = f"-{settings.length.bench_tokens}" if labels.count(label) > 1 else ""
            own[number] = str(Path(path) / f"{folder_name(label)}{length}")
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
