"""Benign twins for requests that have none: that of the most similar request."""

from __future__ import annotations

from dataclasses import replace

from longsafety.corpus.retrieval import Index
from longsafety.scenarios.seeds.seed import Seed


def borrow_twins(seeds: list[Seed]) -> list[Seed]:
    """Gives requests without a benign twin that of the seed with the most similar benign request (BM25).

    The seed is one for the same task, or where none of these has a twin, a general one. A seed with options of its own
    borrows none: its options would not fit it.
    """
    found = list(seeds)
    lacking = [at for at, seed in enumerate(seeds) if seed.request and not seed.has_twin and not seed.options]
    for task in sorted({seeds[at].task for at in lacking}):
        with_twin = [seed for seed in seeds if seed.has_twin]
        lenders = [seed for seed in with_twin if seed.task == task] or [seed for seed in with_twin if not seed.task]
        if not lenders:
            continue
        index = Index([seed.benign_request for seed in lenders])
        for at in lacking:
            seed = seeds[at]
            if seed.task == task:
                twin = lenders[int(index.ranking(seed.request)[0])]
                found[at] = replace(seed, benign_request=twin.benign_request, benign_answer=twin.benign_answer)
    return found
