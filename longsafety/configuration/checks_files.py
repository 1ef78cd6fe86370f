"""Checks of what is exported, and of files that are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from longsafety.configuration.checks_seeds import SEED_SOURCES
from longsafety.configuration.fields import path_problems
from longsafety.corpus.corpus import split_problem
from longsafety.errors import DataError
from longsafety.files import closed_above
from longsafety.formats.decode import is_text_encoding
from longsafety.settings import Settings


def export_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Problems of ``export``: the keys of the rule, and the line."""
    export, exports = settings.export, "export" in settings.stages
    for key in ("format", "path"):
        if exports != (getattr(export, key) is not None):
            rule = "stages has export, which needs it" if exports else "stages has no export"
            fix = "give it" if exports else "add export to stages"
            yield ((f"export.{key}", "stages"), f"export.{key} = {getattr(export, key)}: {rule}; {fix}")
    if export.twins and export.format not in (None, "longsafety_bench"):
        yield (
            ("export.twins", "export.format"),
            f"export.twins = true: only longsafety_bench has columns for twins, and export.format = {export.format}; "
            "set export.format=longsafety_bench, or name the twins' kinds in export.kinds",
        )
    if exports and export.format is not None and export.path is not None:
        from longsafety.formats.export import folder_problem

        folder = Path(export.path).expanduser().resolve()
        problem = folder_problem(folder, export.format)
        # A sweep writes its models into subfolders of it, where those of an earlier attempt may be.
        if problem and not (settings.exports_weights and settings.varied and folder.is_dir()):
            yield (("export.path", "export.format", "stages"), problem)
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


def reading_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Problems of files that are read, and of paths: the keys of the rule, and the line."""
    for key, problem in path_problems(settings):
        yield ((key,), problem)
    yield from _places(settings)
    with suppress(DataError, OSError):  # of a source that is not there, told where it is read
        if problem := split_problem(settings.corpus):
            yield (("corpus.split", "corpus.source"), problem)
    encoding = settings.corpus.encoding
    if encoding is not None and not is_text_encoding(encoding):
        yield (
            ("corpus.encoding",),
            f"corpus.encoding = {encoding}: no encoding of texts that Python knows; give one such as cp1252, gb18030, "
            "shift_jis, or null",
        )
    if settings.read.path is not None and not ("export" in settings.stages and settings.only_builds):
        yield (
            ("read.path", "stages"),
            f"read.path = {settings.read.path}: a file is only read to be exported; set stages=[build,export]",
        )
    items, select = settings.evaluation.items, settings.evaluation.select
    if items.path is not None and settings.only_builds:
        yield (
            ("evaluation.items", "stages"),
            f"evaluation.items = {items.path}: items of a file are evaluated, not built; add evaluate to stages, "
            "or give read.path to convert a file",
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


def _places(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Places to write to that cannot be, or from which the next command would read what this one writes."""
    targets = {
        "export.path": settings.export.path,
        "write_seeds.path": settings.write_seeds.path,
        "paths.outputs": settings.paths.outputs,
        "paths.cache": settings.paths.cache,
    }
    sources = {
        "read.path": settings.read.path,
        "corpus.source": settings.corpus.source,
        "scenario.seeds": settings.scenario.seeds,
        "evaluation.items.path": settings.evaluation.items.path,
        **{f"write_seeds.{name}": getattr(settings.write_seeds, name) for name in SEED_SOURCES},
        **{f"data_mix.sources.{name}.path": source.path for name, source in settings.data_mix.sources.items()},
    }
    folders = {key: folder for key, path in sources.items() if path and (folder := _resolved(path, is_folder=True))}
    for key, path in targets.items():
        target = _resolved(path) if path and "://" not in path else None
        if target is None:
            continue
        if not key.startswith("export") and (closed := closed_above(target, to_write=key.startswith("write"))):
            yield ((key,), f"{key} = {path}: {closed}; give a folder")
        for source, folder in folders.items():
            if target != folder and target.is_relative_to(folder) and not _hidden(target.relative_to(folder)):
                yield (
                    (key, source),
                    f"{key} = {path}: lies in {source} = {folder}, which would be read with what is written there; "
                    "give a folder outside it",
                )


def _resolved(path: str, *, is_folder: bool = False) -> Path | None:
    """Where a path leads; None for what can be no path (told by path_problems), or is no folder where it must be."""
    try:
        found = Path(path).expanduser().resolve()
        return None if is_folder and not found.is_dir() else found
    except (OSError, RuntimeError, ValueError):
        return None


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
