"""PH: harmful information in a benign context, and a question that it answers."""

from __future__ import annotations

import random

from longsafety.scenarios.assemble import Draft, Filler
from longsafety.scenarios.recipe import Span
from longsafety.scenarios.seeds import Seed
from longsafety.scenarios.task import Pool, Query, Task


class HarmfulNIAH(Task):
    """One harmful statement at a depth of a benign context, asked for by a question back-translated from it (paper).

    Our design: the question itself is neutral and also answered by the benign needle twin, so only who has read the
    needle can know whether to answer or to decline.
    """

    scenario = "PH"
    comply_role = "aware_unsafe"

    def accepts(self, seed: Seed) -> bool:
        return seed.has_statement

    def query(self, seed: Seed) -> Query:
        return Query(seed.question, seed.statement_safe_answer)

    def needle_twin(self, seed: Seed) -> tuple[str, Query] | None:
        if not (seed.benign_statement and seed.benign_statement_answer):
            return None
        return seed.benign_statement, Query(seed.question, seed.benign_statement_answer)

    def draft(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Draft:
        document = _weighted_document(pool, rng)
        anchors = pool.store.sentence_starts(document)
        # Near the asked depth of the document, so that both sides come from it where it is long enough.
        wanted = round(depth * pool.store.num_tokens(document))
        near = sorted((int(anchor) for anchor in anchors), key=lambda anchor: abs(anchor - wanted))[:8]
        anchor = rng.choice(near) if near else 0
        others = list(pool.documents_shuffled(rng, without=document))
        half = len(others) // 2
        before = [Span(document, 0, anchor), *others[:half]]
        after = [Span(document, anchor, pool.store.num_tokens(document)), *others[half:]]
        return Draft("", Filler(before, backwards=True), seed.statement, Filler(after, backwards=False), depth)


def _weighted_document(pool: Pool, rng: random.Random) -> int:
    """A document, drawn in proportion to its tokens, so that long documents lend many contexts."""
    weights = [pool.store.num_tokens(document) for document in pool.documents]
    return rng.choices(list(pool.documents), weights)[0]
