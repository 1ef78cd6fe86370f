"""Checks of a scenario's tasks: known, well defined, with options in its language, and with seed items."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

from longsafety.errors import DataError
from longsafety.scenarios.seed_problems import seed_problems
from longsafety.scenarios.seeds.load import load_seeds, own_tasks
from longsafety.scenarios.seeds.shipped import SHIPPED
from longsafety.scenarios.tasks.registry import option_roles, tasks
from longsafety.scenarios.teacher.complete import complete
from longsafety.settings import Scenario, Settings
from longsafety.vocabulary import ScenarioName


def task_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every mistake with the keys that it is about. Runs the code of ``scenario.task_files``."""
    scenario = settings.scenario
    try:
        known = tasks(scenario.task_files)
        found = list(_problems(scenario))
    except DataError as error:
        yield (("scenario.task_files",), str(error))
        return
    for name in scenario.tasks:
        if name not in known:
            found.append((
                (f"scenario.tasks.{name}",),
                f"scenario.tasks.{name} = {scenario.tasks[name].model_dump()}: no such task; choose from "
                f"{', '.join(known)}, or name the Python file of your own task in scenario.task_files",
            ))  # fmt: skip
    named = {*known, *get_args(ScenarioName)}
    if unknown := [name for name in scenario.leave_out if name not in named]:
        found.append((
            ("scenario.leave_out",),
            f"scenario.leave_out = {unknown}: no such task or scenario; choose from QH, PH, FH, {', '.join(known)}",
        ))  # fmt: skip
    yield from found
    if not found and not settings.rescores:
        yield from _seeds(settings)


def _problems(scenario: Scenario) -> Iterator[tuple[tuple[str, ...], str]]:
    known = tasks(scenario.task_files)
    for name, counts in scenario.tasks.items():
        if name in known and (counts.train or counts.bench):
            key = f"scenario.tasks.{name}"
            for problem in known[name].problems():
                yield ((key,), f"{key}: class {name}: {problem}")
            for problem in known[name].options_problems(scenario.language):
                yield ((key, "scenario.language"), problem)


def _seeds(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Of the shipped seed items, and of a user's local files; what a teacher writes is known once it has."""
    scenario = settings.scenario
    if scenario.only_own_seeds and scenario.seeds == SHIPPED:
        yield (
            ("scenario.only_own_seeds", "scenario.seeds"),
            "scenario.only_own_seeds = true: scenario.seeds is shipped, so there are none of your own; give "
            "scenario.seeds=FILE",
        )
        return
    local = scenario.seeds == SHIPPED or Path(scenario.seeds).expanduser().exists()
    if not local or settings.teacher.kind != "template":
        return
    shipped = scenario.seeds == SHIPPED and not scenario.task_files  # these do not change while a command runs
    found = _of_shipped(scenario.model_dump_json()) if shipped else _of_seeds(scenario, settings.on_bad_row)
    for problem in found:
        yield (("scenario.seeds", "scenario.tasks", "scenario.language"), problem)


@cache
def _of_shipped(scenario: str) -> list[str]:
    """The same for many jobs of a sweep. ``scenario``: as JSON."""
    return _of_seeds(Scenario.model_validate_json(scenario), "error")


def _of_seeds(scenario: Scenario, on_bad_row: str) -> list[str]:
    try:
        seeds = load_seeds(
            scenario.seeds,
            scenario.language,
            on_bad_row=on_bad_row,
            only_own=scenario.only_own_seeds,
            own_tasks=own_tasks(scenario),
            only_accepted=scenario.only_accepted,
            roles=option_roles(scenario.task_files),
        ).seeds
    except DataError:  # named in full by the stage that reads them
        return []
    return seed_problems(scenario, complete(seeds, None, scenario.language).seeds, seed=scenario.seed)
