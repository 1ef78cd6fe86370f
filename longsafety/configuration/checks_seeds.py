"""Checks of ``stages=[write_seeds]``: a teacher, something to make seed items of, a folder to put them into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from longsafety.configuration.fields import exists
from longsafety.settings import Settings
from longsafety.vocabulary import PAPER_TASKS

SEED_SOURCES = ("requests", "statements", "documents", "harmful_documents")


def write_seeds_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Problems of ``write_seeds``: the keys of the rule, and the line."""
    wanted = settings.write_seeds
    given = [name for name in SEED_SOURCES if getattr(wanted, name) is not None]
    if not settings.writes_seeds:
        for name in (*given, *(["path"] if wanted.path is not None else [])):
            yield (
                (f"write_seeds.{name}", "stages"),
                f"write_seeds.{name} = {getattr(wanted, name)}: stages has no write_seeds; set stages=[write_seeds]",
            )
        return
    if len(settings.stages) > 1:
        yield (
            ("stages",),
            f"stages = [{','.join(settings.stages)}]: write_seeds must be the only stage, because its seed file is to "
            "be reviewed; set stages=[write_seeds] first, then build with scenario.seeds=FOLDER",
        )
    if settings.teacher.kind == "template":
        yield (
            ("teacher.kind", "stages"),
            "teacher.kind = template: writes no seed items; set teacher=openai or teacher=transformers",
        )
    if wanted.path is None:
        yield ("write_seeds.path",), "write_seeds.path = None: the seed file needs a folder; give one"
    else:
        from longsafety.scenarios.write_seeds.folder import folder_problem

        if problem := folder_problem(Path(wanted.path).expanduser().resolve()):
            yield ("write_seeds.path",), problem
    if not given:
        named = ", ".join(f"write_seeds.{name}" for name in SEED_SOURCES)
        yield (
            tuple(f"write_seeds.{name}" for name in SEED_SOURCES),
            f"{named} = None: seed items are made of something; give one of these",
        )
    for name in given:
        path = getattr(wanted, name)
        if path.startswith((".", "/", "~")) and not exists(path):
            yield (
                (f"write_seeds.{name}",),
                f"write_seeds.{name} = {path}: no such file or folder; fix the path",
            )
    if unknown := [task for task in wanted.tasks if task not in PAPER_TASKS]:
        yield (
            ("write_seeds.tasks",),
            f"write_seeds.tasks = [{', '.join(unknown)}]: no task of the paper; choose from {', '.join(PAPER_TASKS)}",
        )
    if not wanted.train_items and not wanted.bench_items:
        yield (
            ("write_seeds.train_items", "write_seeds.bench_items"),
            "write_seeds.train_items = 0, write_seeds.bench_items = 0: nothing is to be written; raise one of them",
        )
