"""Training and benchmark share neither documents nor seed items: both are split here."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from longsafety.errors import DataError
from longsafety.samples.recipe import is_made
from longsafety.samples.store import TokenStore
from longsafety.scenarios.seeds.borrow import borrow_twins
from longsafety.scenarios.seeds.seed import Seed


def split_seeds(seeds: Sequence[Seed], *, bench_fraction: float, seed: int) -> dict[str, list[Seed]]:
    """The parts of :func:`seed_parts`; a request without a benign twin borrows one.

    It borrows within its part, so that the parts share no twin either.
    """
    parts = seed_parts(seeds, bench_fraction=bench_fraction, seed=seed)
    return {name: borrow_twins(members) for name, members in parts.items()}


def seed_parts(seeds: Sequence[Seed], *, bench_fraction: float, seed: int) -> dict[str, list[Seed]]:
    """Disjoint parts ``bench``, ``short_safety`` and ``train``, balanced over tasks and categories.

    A seed item's own ``split`` is kept. ``short_safety`` (the short-context arm's own requests) takes half of the
    general items that are not the benchmark's.
    """
    parts: dict[str, list[Seed]] = {"bench": [], "short_safety": [], "train": []}
    categories: dict[tuple[str, str, bool, bool, str], list[Seed]] = defaultdict(list)
    for item in seeds:
        categories[item.task, item.category, bool(item.request), item.is_control, item.split].append(item)
    for (task, _, _, control, split), members in categories.items():
        ordered = sorted(members, key=lambda item: hashlib.sha256(f"{seed}/{item.id}".encode()).hexdigest())
        num_bench = max(round(len(ordered) * bench_fraction), 1 if len(ordered) > 2 else 0)
        if split:
            num_bench = len(ordered) if split == "bench" else 0
        num_short = 0 if task or control else round((len(ordered) - num_bench) / 2)
        parts["bench"] += ordered[:num_bench]
        parts["short_safety"] += ordered[num_bench : num_bench + num_short]
        parts["train"] += ordered[num_bench + num_short :]
    return parts


def split_documents(
    store: TokenStore, *, bench_fraction: float, seed: int, language: str | None = None
) -> dict[str, list[int]]:
    """Disjoint document numbers for ``train`` and ``bench``: the benchmark gets its share of the tokens."""
    corpus = [number for number, name in enumerate(store.ids) if not is_made(name)]
    spoken = [number for number in corpus if language in (None, store.languages[number])]
    if len(spoken) < 2:
        which = f" in {language} (scenario.context_language) of {len(corpus)}" if language else ""
        raise DataError(
            f"corpus: {len(spoken)} document(s){which}; training and benchmark share none, so at least 2 are needed; "
            "give more documents (corpus=FOLDER)"
        )
    order = sorted(spoken, key=lambda number: hashlib.sha256(f"{seed}/{store.ids[number]}".encode()).hexdigest())
    wanted = bench_fraction * sum(store.num_tokens(number) for number in spoken)
    bench: list[int] = []
    taken = 0
    for number in order[:-1]:
        if bench and taken >= wanted:
            break
        bench.append(number)
        taken += store.num_tokens(number)
    chosen = set(bench)
    return {"bench": sorted(bench), "train": sorted(set(spoken) - chosen)}
