"""How many samples of each task are built."""

from __future__ import annotations

from collections.abc import Collection

from longsafety.scenarios.tasks.registry import tasks
from longsafety.settings import Scenario


def task_counts(scenario: Scenario, split: str, only: Collection[str] | None = None) -> dict[str, int]:
    """Samples a task, the table's counts scaled to the scenario's total by largest remainder.

    ``only``: the tasks among which the total is divided; ``None``: all of the split.
    """
    table = {name: counts.train if split == "train" else counts.bench for name, counts in scenario.tasks.items()}
    table = {name: count for name, count in table.items() if count and (only is None or name in only)}
    total = scenario.train_samples if split == "train" else scenario.bench_items
    whole = sum(table.values())
    if total is None or whole == 0:
        return table
    exact = {name: count * total / whole for name, count in table.items()}
    scaled = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (scaled[name] - exact[name], name))
    for name in by_remainder[: total - sum(scaled.values())]:
        scaled[name] += 1
    return scaled


def benchmark_families(scenario: Scenario) -> set[str]:
    """What the seed items of the scenario's benchmark tasks may have as their ``task``; empty stands for the general
    ones."""
    known = tasks(scenario.task_files)
    return {name for task in task_counts(scenario, "bench") for name in (task, known[task].seed_task)}
