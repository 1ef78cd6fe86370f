"""How many tokens of a training are shared prefixes, and how many devices its packs keep busy, from settings alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from longsafety.data.schedule import pack_budget
from longsafety.scenarios.depths import depth_grid
from longsafety.scenarios.task_counts import task_counts
from longsafety.scenarios.tasks.registry import tasks
from longsafety.settings import Settings

_ENDING = 64
"""Tokens of a chat after a context that is its twin's too: question, template, answer; measured with SmolLM2."""


@dataclass(frozen=True)
class Sharing:
    """What packing makes of a training's steps."""

    saved: float
    """Share of all tokens that are shared prefixes and are computed once."""
    budget: int
    """Maximum tokens of a pack, or of a padded micro-batch."""
    packs: int
    """Packs of a step."""
    groups: int
    """Devices that have packs of their own (sequence parallelism: groups of devices)."""

    @property
    def busy(self) -> float:
        """Share of the devices' time in which they have a pack."""
        return self.packs / (ceil(self.packs / self.groups) * self.groups)


def sharing(settings: Settings, devices: int) -> Sharing:
    """Estimates what the trie of an item and its benign twin saves, averaged over tasks and depths."""
    training, mean = settings.training, settings.length.training_lengths.average
    paired = twins_share(settings)
    budget = pack_budget(training, settings.length.training_tokens, shares=paired > 0)
    common = [share if (2 - share) * mean <= budget else 0.0 for share in _common(settings)] if paired else []
    saved = sum(common) / len(common) if common else 0.0
    units = training.batch_size * (1 - paired * sum(map(bool, common)) / max(len(common), 1))
    tokens = training.batch_size * mean * (1 - paired * saved) / units
    each = max(1, int(budget // tokens))
    groups = max(1, devices // settings.trainer.sequence_parallel)
    return Sharing(paired * saved, budget, ceil(round(units / each, 6)), groups)


def twins_share(settings: Settings) -> float:
    """Share of the training's samples that are benign twins of others in it, and can share their prefixes."""
    training = settings.training
    if training.packing != "packed" or not training.share_prefixes or settings.scenario.goal != "after":
        return 0.0
    shares = {"longsafety": 0.0, "benign_twins": 0.0}
    for source in settings.data_mix.sources.values():
        if source.kind in shares:
            shares[source.kind] += source.share
    return min(shares.values())


def _common(settings: Settings) -> list[float]:
    """Share of an item's tokens that its benign twin has too, for each task's share and each depth of a needle."""
    scenario, tokens = settings.scenario, settings.length.training_lengths.average
    limited = scenario.train_samples or settings.limits.train_samples
    counts = task_counts(scenario.model_copy(update={"train_samples": limited}), "train")
    known, depths = tasks(scenario.task_files), depth_grid(scenario.depths, scenario.num_depths)
    context = max(0.0, 1 - _ENDING / tokens)
    found = []
    for name, count in counts.items():
        of_task = [depth * context for depth in depths] if known[name].needle_twin else [context]
        found += [share for share in of_task for _ in range(max(1, round(count / len(of_task))))] if count else []
    return found
