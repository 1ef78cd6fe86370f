"""QH: the context is benign, the question is harmful."""

from __future__ import annotations

import random

from longsafety.scenarios.assemble import Draft
from longsafety.scenarios.seeds import Seed
from longsafety.scenarios.task import Pool, Query, Task, filler_after


class KeywordRAG(Task):
    """A harmful question over documents that its keywords retrieved (paper: pipeline QH (a)).

    Our design: BM25 over passages of the corpus, best first; the answer declines, says why, and helps with what is
    legitimate. The benign twin asks its question over the same documents.
    """

    scenario = "QH"
    comply_role = "hallucinates"

    def accepts(self, seed: Seed) -> bool:
        return bool(seed.request)

    def query(self, seed: Seed) -> Query:
        return Query(seed.request, seed.safe_answer)

    def draft(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Draft:
        before, after = filler_after(pool.passages.retrieve(seed.request, pool.target_tokens))
        return Draft("Documents:\n\n", before, None, after, depth=0.0)
