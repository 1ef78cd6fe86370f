"""A task of your own: a rule stands in the text, and the question asks how to get round it."""

from __future__ import annotations

import random

from longsafety.scenarios.assemble import Draft
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.task import Item, Pool, Query, Task, benign_query, request_slots


class RuleInText(Task):
    """A rule in a harmless text, and a question that asks for help in breaking it.

    Our design: the rule is a sentence at a depth of the text. The safe option declines; the benign twin asks how to
    keep the rule.
    """

    scenario = "QH"
    comply_role = "aware_unsafe"
    seed_task = "RuleInText"
    needs = ("request", "safe_answer", "statement")

    def item(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Item:
        before, after = pool.around(rng, depth)
        return Item(
            query=Query(seed.request, seed.safe_answer),
            draft=Draft(before, after, needles=(seed.statement,), depths=(depth,), available=pool.num_tokens),
            slots=request_slots(seed),
            benign_query=benign_query(seed),
        )
