"""The seed items of a run: loaded, what they lack written by the teacher, and checked to be enough for every task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from longsafety.errors import DataError
from longsafety.samples.language import LANGUAGES
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.seeds.shipped import SHIPPED, shipped_seeds
from longsafety.scenarios.splits import seed_parts
from longsafety.scenarios.task_counts import task_counts
from longsafety.scenarios.tasks.registry import tasks
from longsafety.scenarios.tasks.task import Task
from longsafety.scenarios.teacher.complete import complete
from longsafety.scenarios.teacher.teacher import Teacher
from longsafety.settings import Scenario


@dataclass(frozen=True)
class SeedItems:
    """``counts``: what was handled on the way (reason → count); ``bad``: a line for each row that was left out."""

    seeds: list[Seed]
    context_seeds: list[Seed]
    """The same items in the contexts' language; empty where that is the questions'."""
    counts: dict[str, int]
    bad: list[str]


def seed_items(
    scenario: Scenario, teacher: Teacher | None, *, seed: int, on_bad_row: Literal["error", "skip"] = "error"
) -> SeedItems:
    """The seed items of a scenario. Raises DataError for bad rows, and for a task that gets none of them."""
    known = tasks(scenario.task_files)
    found = load_seeds(
        scenario.seeds,
        scenario.language,
        on_bad_row=on_bad_row,
        seed_tasks={task.seed_task for task in known.values()},
    )
    done = complete(found.seeds, teacher, scenario.language)
    if problems := seed_problems(scenario, done.seeds, seed=seed):
        raise DataError("\n".join(problems))
    other = scenario.context_language
    translated = scenario.seeds == SHIPPED and other in LANGUAGES and other != scenario.language
    return SeedItems(
        done.seeds, shipped_seeds(str(other)) if translated else [], {**found.counts, **done.counts}, found.bad
    )


def seed_problems(scenario: Scenario, seeds: Sequence[Seed], *, seed: int) -> list[str]:
    """Tasks that would be built from no seed item, ``key: rule; fix`` each. ``seed`` decides how they are split."""
    known, problems = tasks(scenario.task_files), []
    parts: Mapping[str, Sequence[Seed]] | None = None
    for name in _wanted(scenario):
        task = known[name]
        if not any(map(task.accepts, seeds)):
            problems.append(_without_seeds(task, scenario, "no seed item"))
            continue
        parts = parts or seed_parts(seeds, bench_fraction=scenario.bench_fraction, seed=seed)
        for split in ("train", "bench"):
            if name in task_counts(scenario, split) and not any(map(task.accepts, parts[split])):
                problems.append(_without_seeds(task, scenario, f"no seed item of the {split} split"))
    return problems


def _wanted(scenario: Scenario) -> Iterable[str]:
    return [name for name, counts in scenario.tasks.items() if counts.train or counts.bench]


def _without_seeds(task: Task, scenario: Scenario, found: str) -> str:
    for_task = f'task = "{task.seed_task}"' if task.seed_task else "no task"
    return (
        f"scenario.tasks.{task.name}: {found} in {scenario.language} has what this task needs ({for_task}, with "
        f"{', '.join(task.needs)}); give more seeds (scenario.seeds) or leave the task out"
    )
