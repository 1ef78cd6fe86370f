"""What the build tells of items that could not be made as meant: a reason each, to be counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from longsafety.corpus.domains import PROSE, Domain
from longsafety.samples.recipe import is_made
from longsafety.scenarios.assemble import Context
from longsafety.scenarios.made_documents import is_benign_exchange, is_exchange
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.task import Pool

NO_EXCHANGES = "dialogue ends short, because no exchange is left"
BENIGN_EXCHANGES = "benign exchanges stand before the harmful ones, because no more of these are left"
TEMPLATE_REJECTED = "the rejected answer is the template's"


def notes_of(
    seed: Seed, domain: Domain | None, context: Context, documents: Sequence[str], pool: Pool, target_tokens: int
) -> Iterator[str]:
    """Reasons for a context whose documents have the ids ``documents``."""
    if documents and not all(map(is_made, documents)):
        if pool.foreign and seed.language not in pool.languages:
            yield f"no document in {seed.language}: those in {', '.join(sorted(pool.languages))} are used"
        if domain is not None:
            tokens = pool.domain_tokens[domain]
            if not tokens:
                yield f"no {PROSE[domain]} in the documents: the passages nearest to the question are used"
            elif tokens < target_tokens / 2:
                yield (
                    f"{PROSE[domain]} fills less than half of the context, because there is no more: the passages "
                    "nearest to the question follow"
                )
    if any(map(is_exchange, documents)) and context.ended:
        yield NO_EXCHANGES
    if pool.harm_fraction == 1 and any(map(is_benign_exchange, documents)):
        yield BENIGN_EXCHANGES
