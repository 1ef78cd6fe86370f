"""Training and benchmark share neither documents nor seed items: both are split here."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from longsafety.errors import DataError
from longsafety.samples.recipe import is_made
from longsafety.samples.store import TokenStore
from longsafety.scenarios.seeds.borrow import borrow_twins
from longsafety.scenarios.seeds.seed import Seed


def split_seeds(
    seeds: Sequence[Seed], *, bench_fraction: float, seed: int, bench_tasks: Collection[str] | None = None
) -> dict[str, list[Seed]]:
    """The parts of :func:`seed_parts`; a request without a benign twin borrows one.

    It borrows within its part, so that the parts share no twin either.
    """
    parts = seed_parts(seeds, bench_fraction=bench_fraction, seed=seed, bench_tasks=bench_tasks)
    return {name: borrow_twins(members) for name, members in parts.items()}


def seed_parts(
    seeds: Sequence[Seed], *, bench_fraction: float, seed: int, bench_tasks: Collection[str] | None = None
) -> dict[str, list[Seed]]:
    """Parts ``bench``, ``short_safety`` and ``train``, balanced over tasks and categories, that share no text.

    A seed item's own ``split`` is kept. Items for a task that is not among ``bench_tasks`` give nothing to the
    benchmark (``None``: every task shares what it has). ``short_safety`` (the short-context arm's own requests) takes
    the requests of half of the general items that are not the benchmark's; their statements stay with ``train``.
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
        elif task and bench_tasks is not None and task not in bench_tasks:
            num_bench = 0
        num_short = 0 if task or control else round((len(ordered) - num_bench) / 2)
        short = ordered[num_bench : num_bench + num_short]
        parts["bench"] += ordered[:num_bench]
        parts["short_safety"] += [_without(item, _STATEMENT) for item in short]
        parts["train"] += ordered[num_bench + num_short :]
        parts["train"] += [
            replace(_without(item, _REQUEST), id=f"{item.id}/statement", turns=()) for item in short if item.statement
        ]
    return parts


_STATEMENT = ("question", "statement", "statement_safe_answer", "benign_statement", "benign_statement_answer")
_REQUEST = ("request", "topic", "safe_answer", "benign_request", "benign_topic", "benign_answer", "compliant_stub")


def _without(item: Seed, texts: Sequence[str]) -> Seed:
    empty: dict[str, Any] = dict.fromkeys(texts, "")
    return replace(item, **empty)


def split_documents(
    store: TokenStore, *, bench_fraction: float, seed: int, language: str | None = None
) -> dict[str, list[int]]:
    """Disjoint document numbers for ``train`` and ``bench``: the benchmark gets its share of the tokens."""
    corpus = [number for number, name in enumerate(store.ids) if not is_made(name)]
    spoken = [number for number in corpus if language in (None, store.languages[number])]
    if len(spoken) < 2:
        which = f" in {language} (scenario.context_language) of {len(corpus)}" if language else ""
        shipped = ", or corpus=embedded_bilingual" if language == "zh" else ""
        raise DataError(
            f"corpus: {len(spoken)} document(s){which}; training and benchmark share none, so at least 2 are needed; "
            f"give more documents (corpus=FOLDER{shipped})"
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
