"""What a benchmark item is made long with, where an experiment asks for other filler than the task's own."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat

from longsafety.samples.recipe import Span
from longsafety.scenarios.assemble import Draft, Filler
from longsafety.scenarios.tasks.task import Item, Pool, Shared, shuffled
from longsafety.settings import Padding


def padded(item: Item, pool: Pool, padding: Padding, asked: str, rng: random.Random) -> Item:
    """``item`` with other filler around the same needles at the same depths; the passages do not depend on the length.

    ``asked``: the words that find related passages, in the contexts' language.
    """
    found = pool.passages
    if padding == "task" or not found.passages:
        return item
    draft = item.draft
    if padding == "repeated":
        passage = rng.choice(found.passages)
        return replace(item, draft=replace(_sides(draft, repeat(passage), repeat(passage)), available=None))
    ordered = shuffled(found.passages, rng) if padding == "random" else found.sampled(asked, rng)
    before: Iterable[Span]
    after: Iterable[Span]
    if not draft.needles:
        before, after = ((), ordered) if draft.depths[0] == 0 else (ordered, ())
        return replace(item, draft=_sides(draft, before, after))
    shared = Shared(iter(ordered))
    return replace(item, draft=_sides(draft, shared.side(0), shared.side(1)))


def _sides(draft: Draft, before: Iterable[Span], after: Iterable[Span]) -> Draft:
    return replace(draft, before=Filler(before, backwards=True), after=Filler(after))
