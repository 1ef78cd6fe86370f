"""What came of a user's seed items: how many items of each task are made of them, and why not more."""

from __future__ import annotations

from collections import Counter
from typing import TypedDict

from longsafety.scenarios.build import Builder
from longsafety.scenarios.seed_problems import why_unused
from longsafety.scenarios.seeds.shipped import SHIPPED
from longsafety.scenarios.task_counts import task_counts
from longsafety.scenarios.tasks.registry import tasks


class SeedUse(TypedDict):
    """One task of one split; items are counted without their twins."""

    split: str
    task: str
    own: int
    """Items that are made of the user's seed items."""
    shipped: int
    """Items that are made of shipped ones."""
    own_seeds: int
    """The user's seed items that are used."""
    lent: int
    """Items whose benign twin is one of the user's own benign prompts."""
    origins: dict[str, int]
    """Where the seed items come from (:attr:`longsafety.scenarios.seeds.seed.Seed.origin`) → items."""
    why: str
    """Why no item is made of the user's seed items; empty where one is."""


def seed_use(builder: Builder) -> list[SeedUse]:
    """A row for each task that the scenario has in the builder's split, also for those that are left out."""
    known = tasks(builder.scenario.task_files)
    everything = {seed.id: seed for members in builder.seeds.values() for seed in members}.values()
    own = [seed for seed in everything if seed.origin != SHIPPED]
    prompts = {seed.benign_request for seed in own if seed.is_control}
    part = [seed for seed in builder.seeds[builder.split] if seed.origin != SHIPPED]
    rows: list[SeedUse] = []
    for name in task_counts(builder.scenario, builder.split):
        count = builder.counts.get(name, 0)
        seeds = builder.task(name).seeds if count else []
        uses = {seed.id: count // len(seeds) + (at < count % len(seeds)) for at, seed in enumerate(seeds)}
        origins: Counter[str] = Counter()
        for seed in seeds:
            origins[seed.origin] += uses[seed.id]
        mine = [seed for seed in seeds if seed.origin != SHIPPED and uses[seed.id]]
        why = "" if mine else why_unused(known[name], own, part) or "fewer items than seed items: none came to be used"
        rows.append(
            {
                "split": builder.split,
                "task": name,
                "own": origins.total() - origins[SHIPPED],
                "shipped": origins[SHIPPED],
                "own_seeds": len(mine),
                "lent": sum(uses[seed.id] for seed in mine if seed.benign_request in prompts),
                "origins": dict(+origins),
                "why": why,
            }
        )
    return rows
