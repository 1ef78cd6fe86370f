"""Checks of lengths, tasks and files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from longsafety.configuration.checks_tasks import task_problems
from longsafety.model.rope import rope_problems
from longsafety.scenarios.teacher.teacher import teacher_problems
from longsafety.settings import OPTION_ROOM_TOKENS, Settings


def _lengths(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    length, window = settings.length, settings.model.window
    for index, tokens in enumerate(length.lengths):
        if tokens > length.max_tokens:
            yield (
                ("length.lengths", "length.max_tokens"),
                f"length.lengths.{index} = {tokens}: above length.max_tokens = {length.max_tokens}; raise it",
            )
    for key in ("mean_tokens", "bench_mean_tokens"):
        mean = getattr(length, key)
        if mean is not None and mean >= length.max_tokens:
            yield (
                (f"length.{key}", "length.max_tokens"),
                f"length.{key} = {mean}: lengths spread up to length.max_tokens = {length.max_tokens}, which must be "
                "larger; raise it",
            )
        if mean is not None and length.lengths:
            yield (
                (f"length.{key}", "length.lengths"),
                f"length.{key} = {mean}: length.lengths = {length.lengths} gives the lengths already; leave one out",
            )
    if settings.only_builds:
        return  # no model sees what is built
    for problem in rope_problems(length.rope):
        yield (("length.rope",), problem)
    if length.rope.kind == "dynamic" and settings.training.packing != "none":
        yield (
            ("length.rope", "training.packing"),
            f"length.rope.kind = dynamic: it depends on the longest chat of a pass, and training.packing = "
            f"{settings.training.packing} puts chats together; choose yarn, or training.packing=none",
        )
    wanted = {
        "length.max_tokens": (length.bench_tokens, f"{length.max_tokens} × length.factor {length.factor}"),
        "length.train_tokens": (length.training_tokens, "the training samples"),
    }
    for key, (tokens, what) in wanted.items():
        if key == "length.train_tokens" and length.train_tokens is None:
            continue
        if tokens + OPTION_ROOM_TOKENS > window:
            longest = (window - OPTION_ROOM_TOKENS) // (length.factor if key == "length.max_tokens" else 1)
            shown = length.max_tokens if key == "length.max_tokens" else tokens
            yield (
                (key, "model.window", "length.factor"),
                f"{key} = {shown}: {what} and {OPTION_ROOM_TOKENS} tokens for the options do not fit the "
                f"{window}-token window of model {settings.model.name}; give at most {longest} or another model",
            )


def _data(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    scenario, mix = settings.scenario, settings.data_mix
    yield from task_problems(settings)
    if not any(counts.train or counts.bench for counts in scenario.tasks.values()):
        yield (("scenario.tasks",), "scenario.tasks = {}: at least one task is needed; choose from the tasks' names")
    total = sum(source.share for source in mix.sources.values())
    if mix.sources and abs(total - 1) > 1e-6:
        yield (
            ("data_mix.sources",),
            f"data_mix.sources = {{{', '.join(f'{key}: {item.share}' for key, item in mix.sources.items())}}}: "
            f"the shares sum to {total:g}; make them sum to 1",
        )
    if settings.only_builds:
        return
    built = sum(counts.train for counts in scenario.tasks.values())
    built = built and (scenario.train_samples or settings.limits.train_samples or built)
    own = any(source.kind != "chats" for source in mix.sources.values())
    if own and mix.budget_unit == "samples" and mix.budget > built:
        yield (
            ("data_mix.budget", "scenario.train_samples", "scenario.tasks"),
            f"data_mix.budget = {mix.budget}: the scenario builds {built} training samples; "
            + (
                f"give at most {built}, or a larger scenario.train_samples"
                if built
                else "choose data_mix=base, or a scenario with training samples"
            ),
        )


def _files(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, source in settings.data_mix.sources.items():
        if (source.kind == "chats") != (source.path is not None):
            rule = "needs a path" if source.kind == "chats" else f"a source of kind {source.kind} is built, not read"
            fix = "give one" if source.kind == "chats" else "leave it out, or set kind=chats"
            yield (
                (f"data_mix.sources.{name}",),
                f"data_mix.sources.{name}.path = {source.path}: {rule}; {fix}",
            )
    teacher, export, exports = settings.teacher, settings.export, "export" in settings.stages
    for problem in teacher_problems(teacher):
        yield (("teacher.kind", problem.split(" ", 1)[0]), problem)
    for key in ("format", "path"):
        if exports != (getattr(export, key) is not None):
            rule = "stages has export, which needs it" if exports else "stages has no export"
            fix = "give it" if exports else "add export to stages"
            yield ((f"export.{key}", "stages"), f"export.{key} = {getattr(export, key)}: {rule}; {fix}")
    if exports and export.format is not None and export.path is not None:
        from longsafety.formats.export import folder_problem

        folder = Path(export.path).expanduser().resolve()
        problem = folder_problem(folder, export.format)
        # A sweep's models stand beside each other in it, those of an earlier attempt too.
        if problem and not (settings.exports_weights and settings.varied and folder.is_dir()):
            yield (("export.path", "export.format", "stages"), problem)
    if settings.read.path is not None and not (exports and settings.only_builds):
        yield (
            ("read.path", "stages"),
            f"read.path = {settings.read.path}: a file is read in order to be exported; set stages=[build,export]",
        )
    items, select = settings.evaluation.items, settings.evaluation.select
    if items.path is not None and settings.only_builds:
        yield (
            ("evaluation.items", "stages"),
            f"evaluation.items = {items.path}: items that are read are asked, not built; add evaluate to stages, or "
            "give read.path to convert a file",
        )
    unknown = [task for task in select.tasks if items.path is None and task not in settings.scenario.tasks]
    if unknown:
        yield (
            ("evaluation.select.tasks", "scenario.tasks"),
            f"evaluation.select.tasks = [{', '.join(unknown)}]: no task of scenario {settings.scenario.name}; choose "
            f"from {', '.join(settings.scenario.tasks)}",
        )
    formats = {"read": settings.read.format if settings.read.path is not None else "auto"}
    formats["evaluation.items"] = items.format
    formats |= {f"data_mix.sources.{name}": source.format for name, source in settings.data_mix.sources.items()}
    for section, schema in formats.items():
        if schema != "auto":
            from longsafety.formats.schemas import SCHEMAS

            if schema not in SCHEMAS:
                yield (
                    (f"{section}.format",),
                    f"{section}.format = {schema}: no such schema; choose from auto, {', '.join(SCHEMAS)}",
                )
    if settings.exports_weights and not settings.data_mix.sources and not settings.varied:
        yield (
            ("data_mix.sources", "export.format"),
            f"export.format = weights: data_mix={settings.data_mix.name} trains nothing; choose another data_mix",
        )
    if exports and export.format not in (None, "weights") and settings.read.path is None:
        bench = export.format in ("longsafety_bench", "lm_eval", "inspect")
        if not any(count.bench if bench else count.train for count in settings.scenario.tasks.values()):
            yield (
                ("export.format", "scenario.tasks"),
                f"export.format = {export.format}: writes {'benchmark items' if bench else 'training samples'}, and "
                f"scenario {settings.scenario.name} has none; choose another scenario",
            )
