"""Whether there are seed items enough for every task, found before anything is built."""

from __future__ import annotations

from collections.abc import Sequence

from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.splits import seed_parts
from longsafety.scenarios.task_counts import benchmark_families, task_counts
from longsafety.scenarios.tasks.registry import tasks
from longsafety.scenarios.tasks.task import Task
from longsafety.settings import Scenario


def seed_problems(scenario: Scenario, seeds: Sequence[Seed], *, seed: int) -> list[str]:
    """Tasks that would have no seed item, ``key: rule; fix`` each. ``seed`` decides how the items are split."""
    known = tasks(scenario.task_files)
    families = benchmark_families(scenario)
    parts = seed_parts(seeds, bench_fraction=scenario.bench_fraction, seed=seed, bench_tasks=families)
    problems = {}
    for split in ("train", "bench"):
        for name in task_counts(scenario, split):
            if not any(map(known[name].accepts, seeds)):
                problems[name] = without_seeds(known[name], scenario.language, "no seed item")
            elif not any(map(known[name].accepts, parts[split])):
                problems[name] = without_seeds(known[name], scenario.language, f"no seed item of the {split} split")
    return list(problems.values())


def without_seeds(task: Task, language: str, found: str) -> str:
    """That there is nothing to make a task of, with what it needs."""
    given = ", ".join(task.needs)
    return (
        f"scenario.tasks.{task.name}: {found} has what this task needs ({given}"
        f"{f', and task: {task.seed_task}' if task.seed_task else ', and no task'}; language {language}); give more "
        "seeds (scenario.seeds) or leave the task out"
    )
