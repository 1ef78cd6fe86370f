"""Whether there are seed items enough for every task, found before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        wanted = task_counts(scenario, split)
        if scenario.only_own_seeds:  # tasks without any are left out
            unserved = {name: why for name in wanted if (why := why_unused(known[name], seeds, parts[split]))}
            if wanted and len(unserved) == len(wanted):
                problems[split] = none_served(scenario.seeds, split, unserved)
            continue
        for name in wanted:
            if not any(map(known[name].accepts, seeds)):
                problems[name] = without_seeds(known[name], scenario.language, "no seed item")
            elif not any(map(known[name].accepts, parts[split])):
                problems[name] = without_seeds(known[name], scenario.language, f"no seed item of the {split} split")
    return list(problems.values())


def usable(task: Task, part: Sequence[Seed], split: str) -> list[Seed]:
    """The seed items of a split that a task is made of: in the benchmark those with options of their own, if any."""
    found = [seed for seed in part if task.accepts(seed)]
    own = [seed for seed in found if task.own_options(seed)]
    return own if own and split == "bench" else found


def why_unused(task: Task, own: Sequence[Seed], part: Sequence[Seed]) -> str:
    """Why a user's seed items make none of a task's; empty where they can. ``part``: those of the split."""
    meant = [seed for seed in own if seed.task in (task.seed_task, task.name) and not seed.is_control]
    able = [seed for seed in meant if task.accepts(seed)]
    if any(map(task.accepts, part)):
        return ""
    if able:
        return f"all {len(able)} usable rows are in the other split"
    if not meant:
        return f"no row says task: {task.seed_task}" if task.seed_task else "all rows are for other tasks"
    lacking = [name for name in task.needs if not any(getattr(seed, name) for seed in meant)]
    return f"no row has {', '.join(lacking)}" if lacking else f"no row has all of {', '.join(task.needs)}"


def none_served(source: str, split: str, unserved: Mapping[str, str]) -> str:
    """That ``scenario.only_own_seeds`` leaves no task of a split. ``unserved``: task → why."""
    reasons = "; ".join(f"{name}: {why}" for name, why in unserved.items())
    return (
        f"scenario.only_own_seeds = true: no task of the {split} split can be made of {source} ({reasons}); give such "
        "rows, choose another scenario, or set it to false"
    )


def without_seeds(task: Task, language: str, found: str) -> str:
    """That there is nothing to make a task of, with what it needs."""
    given = ", ".join(task.needs)
    return (
        f"scenario.tasks.{task.name}: {found} has what this task needs ({given}"
        f"{f', and task: {task.seed_task}' if task.seed_task else ', and no task'}; language {language}); give more "
        "seeds (scenario.seeds) or leave the task out"
    )
