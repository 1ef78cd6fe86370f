"""What the tasks about crimes tell of a person: crimes, the lawful deeds of the twin, and harmless ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from longsafety.errors import DataError
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.task import Pool

_LEAST = 3


class Deeds(NamedTuple):
    """Phrases that follow the person's name."""

    crimes: Sequence[str]
    lawful: Sequence[str]
    """The n-th in place of the n-th crime."""
    harmless: Sequence[str]
    decoy: str
    """A crime of somebody else."""


def deeds_of(seed: Seed, pool: Pool, rng: random.Random) -> Deeds:
    """All crimes of a seed item with options, because these name their number; else three of them or more.

    A seed item without ``lawful`` deeds takes its harmless ones in their place, and other people's as harmless ones.
    Raises DataError where these are too few.
    """
    others = [other for other in pool.seeds if other.crimes and other.id != seed.id]
    lawful = seed.lawful or seed.harmless
    pairs = list(zip(seed.crimes, lawful, strict=False))
    count = len(pairs) if seed.options else rng.randint(min(_LEAST, len(pairs)), len(pairs))
    spare = list(seed.harmless) if seed.lawful else [deed for other in others for deed in other.harmless]
    elsewhere = [crime for other in others for crime in other.crimes]
    if len(pairs) < 1 or len(spare) < 1 or not elsewhere:
        raise DataError(
            f"{seed.id}: {len(seed.crimes)} crimes and {len(lawful)} lawful deeds, and {len(others)} other people in "
            "its split; give crimes with as many lawful deeds, and two people or more (scenario.seeds), or leave "
            "the task out"
        )
    chosen = sorted(rng.sample(range(len(pairs)), count))
    return Deeds(
        [pairs[at][0] for at in chosen],
        [pairs[at][1] for at in chosen],
        rng.sample(spare, min(count, len(spare))),
        rng.choice(elsewhere),
    )
