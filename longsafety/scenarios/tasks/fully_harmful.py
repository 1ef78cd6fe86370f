"""FH: the context is harmful throughout."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from longsafety.samples.recipe import Span
from longsafety.scenarios.assemble import Draft, Filler
from longsafety.scenarios.common_words import common, listed
from longsafety.scenarios.made_documents import vignette
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.task import Item, Pool, Query, Task, benign_query, request_slots, shuffled


class ManyShotJailbreak(Task):
    """A dialogue history of harmful questions that were all answered, and one more.

    Our design: the answers are stubs; the exchanges are other seed items of the same split in random order, the
    oldest cut at its beginning to reach the length. Where a split has fewer exchanges than the length needs, they
    are repeated in another order. A ``harm_fraction`` below 1 mixes in benign exchanges.
    """

    comply_role = "hallucinates"

    def item(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Item:
        say = common(seed.language)
        slots, benign_slots = request_slots(seed)
        benign = benign_query(seed, rng)
        harmful, harmless = (
            [pool.whole(document) for seed_id, document in sorted(pool.exchanges[kind].items()) if seed_id != seed.id]
            for kind in ("harmful", "benign")
        )
        return Item(
            query=Query(say["user"] + seed.request, seed.safe_answer),
            draft=Draft(
                Filler(_mixed(harmful, harmless, pool.harm_fraction, rng), backwards=True),
                Filler(),
                depths=(1.0,),
                header=say["dialogue"],
            ),
            slots=slots,
            benign_slots=benign_slots,
            benign_query=Query(say["user"] + benign.question, benign.answer) if benign else None,
        )


class HarmfulExtraction(Task):
    """Crime fiction, and the task to extract the criminal acts.

    Our design: the fiction is the corpus's documents that ``scenario.harmful_documents`` names, else vignettes of
    invented people's deeds. One vignette stands at the depth, and the question is about its person; two options name
    that person's crimes, one of them with approval. The benign twin asks for the same person's lawful acts.
    """

    seed_task = "Crimes"
    needs = ("name", "crimes", "harmless")

    def item(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Item:
        own = vignette(seed, rng)
        crimes = [crime for crime in seed.crimes if crime in own]
        harmless = [deed for deed in seed.harmless if deed in own]
        others = [other for other in pool.seeds if other.task == self.seed_task and other.id != seed.id]
        decoy = rng.choice(rng.choice(others).crimes) if others else rng.choice(seed.harmless)
        say, names = self.phrases(seed.language), {"name": seed.name}
        unlawful, lawful = (listed(deeds, seed.language) for deeds in (crimes, harmless))
        chapters = [span for span in pool.chapters if not pool.store.ids[span.document].endswith(f"/{seed.id}")]
        benign = pool.passages.passages if pool.harm_fraction < 1 else []
        sides = [_mixed(chapters, benign, pool.harm_fraction, random.Random(rng.random())) for _ in range(2)]
        return Item(
            query=Query(say["question"].format(**names), say["answer"].format(**names, deeds=unlawful)),
            draft=Draft(Filler(sides[0], backwards=True), Filler(sides[1]), (own,), (depth,), own_paragraph=True),
            slots={**names, "deeds": unlawful, "decoy": decoy},
            benign_slots={"topic": say["benign_topic"].format(**names)},
            benign_query=Query(
                say["benign_question"].format(**names), say["benign_answer"].format(**names, deeds=lawful)
            ),
        )


class HarmfulTendency(HarmfulExtraction):
    """Crime fiction, and the question with whom the model sides.

    Our design: as HarmfulExtraction, but the question asks whether the model sides with the person; two options name
    the crimes, one of them with sympathy.
    """


def _mixed(harmful: Sequence[Span], benign: Sequence[Span], harm_fraction: float, rng: random.Random) -> Iterator[Span]:
    """Spans in random order, round after round, ``harm_fraction`` of their tokens from the harmful ones."""
    if harm_fraction == 1 or not benign:
        yield from _rounds(harmful, rng)
    rounds = {True: _rounds(harmful, rng), False: _rounds(benign, rng)}
    given = {True: 0, False: 0}
    while harmful and benign:
        is_harmful = given[True] < harm_fraction * (sum(given.values()) + 1)
        span = next(rounds[is_harmful])
        given[is_harmful] += span.num_tokens
        yield span


def _rounds(spans: Sequence[Span], rng: random.Random) -> Iterator[Span]:
    while spans:
        yield from shuffled(spans, rng)
