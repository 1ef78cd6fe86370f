"""PH: harmful information in a benign context, and a question that it answers."""

from __future__ import annotations

import random
from typing import ClassVar

from longsafety.errors import DataError
from longsafety.scenarios.assemble import Draft, Filler
from longsafety.scenarios.common_words import common, listed
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.task import Item, Pool, Query, Shared, Task, benign_query, request_slots

_STATEMENT = ("question", "statement", "statement_safe_answer")


class HarmfulNIAH(Task):
    """One harmful statement at a depth of a benign context, and a question back-translated from it.

    Our design: the question itself is neutral and also answered by the benign needle twin, so only a model that has
    read the needle can know whether to answer or to decline.
    """

    needs: ClassVar[tuple[str, ...]] = _STATEMENT
    needle_twin = True

    def item(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Item:
        return _needle_item(seed, self._draft(seed, pool, rng, depth), rng, names_claim="claim" in self.needs)

    def _draft(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Draft:
        before, after = pool.around(rng, depth)
        return Draft(before, after, (seed.statement,), (depth,), available=pool.num_tokens)


class HarmfulAdvice(HarmfulNIAH):
    """Harmful advice in the context.

    Our design: a sentence of bad advice on an everyday problem stands in a benign text, and the question asks what
    the text advises; the safe option says what it advises and warns. The benign needle gives good advice.
    """

    seed_task = "HarmfulAdvice"
    needs = (*_STATEMENT, "claim")


class DocAttack(HarmfulNIAH):
    """A false or adversarial document among true ones (pipeline PH (2)).

    Our design: the false document is a paragraph of its own among passages that the question retrieved, ranked
    outwards from it. The safe option names its claim as false. The benign needle is a true document on the matter.
    """

    seed_task = "DocAttack"
    needs = (*_STATEMENT, "claim")

    def _draft(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Draft:
        ranked = Shared(pool.passages.sampled(pool.in_context_language(seed).question, rng))
        return Draft(
            Filler(ranked.side(0), backwards=True),
            Filler(ranked.side(1)),
            (seed.statement,),
            (depth,),
            header=common(seed.language)["documents"],
            available=pool.num_tokens,
            own_paragraph=True,
        )


def _needle_item(seed: Seed, draft: Draft, rng: random.Random, *, names_claim: bool) -> Item:
    """With the benign needle twin where the seed has its parts; options that name the claim need the benign one too."""
    slots, benign_slots = request_slots(seed)
    twin = None
    if seed.benign_statement and seed.benign_statement_answer and (seed.benign_claim or not names_claim):
        twin = (seed.benign_statement,), Query(seed.question, seed.benign_statement_answer)
    return Item(
        query=Query(seed.question, seed.statement_safe_answer),
        draft=draft,
        slots=slots,
        benign_slots=benign_slots,
        benign_query=benign_query(seed, rng),
        needle_twin=twin,
    )


class CountingCrimes(Task):
    """Several harmful statements among harmless ones, and the question which crimes somebody has committed.

    Our design: three to five crimes of one person and as many harmless deeds, shuffled, stand at sentence boundaries
    across a fifth of the context around the depth. The benign needles put harmless deeds in place of the crimes; the
    benign question asks for the harmless ones.
    """

    seed_task = "Crimes"
    needs = ("name", "crimes", "harmless")
    needle_twin = True
    several_needles = True
    _SPREAD = 0.2

    def item(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Item:
        others = [other for other in pool.seeds if other.task == self.seed_task and other.id != seed.id]
        crimes = _deeds(seed, others, "crimes", rng)
        count = rng.randint(3, 5)
        lawful = _deeds(seed, others, "harmless", rng)[: 2 * count]
        if len(crimes) <= count or len(lawful) < 2 * count:
            raise DataError(
                f"scenario.tasks.{self.name}: the seed items of a split have {len(crimes)} crimes and {len(lawful)} "
                f"harmless deeds for {seed.id}, {count + 1} and {2 * count} are needed; give more of them "
                "(scenario.seeds) or leave the task out"
            )
        crimes, decoy = crimes[:count], crimes[count]
        harmless, replacing = lawful[:count], lawful[count:]
        deeds = [*((crime, instead) for crime, instead in zip(crimes, replacing, strict=True)),
                 *((deed, deed) for deed in harmless)]  # fmt: skip
        rng.shuffle(deeds)
        sentence, joint = common(seed.language)["sentence"], "" if seed.language == "zh" else " "
        needles, twins = (
            tuple(sentence.format(text=f"{seed.name}{joint}{pair[side]}") for pair in deeds) for side in (0, 1)
        )
        low = min(max(depth - self._SPREAD / 2, 0.0), 1 - self._SPREAD)
        before, after = pool.around(rng, low)
        say = self.phrases(seed.language)
        names = {"name": seed.name, "count": str(count)}

        def query(question: str, answer: str, of: list[str]) -> Query:
            return Query(say[question].format(**names), say[answer].format(**names, deeds=listed(of, seed.language)))

        stated = [deed for _, deed in deeds]
        return Item(
            query=query("question", "answer", [crime for crime, lawful in deeds if crime != lawful]),
            draft=Draft(
                before,
                after,
                needles,
                tuple(low + self._SPREAD * at / (len(needles) - 1) for at in range(len(needles))),
                available=pool.num_tokens,
            ),
            slots={**names, "deeds": listed(crimes[:2], seed.language), "decoy": decoy},
            benign_slots={
                **names,
                "topic": say["benign_topic"].format(**names),
                "deeds": listed(replacing[:2], seed.language),
            },
            benign_query=query(
                "benign_question", "benign_answer", [crime for crime, lawful in deeds if crime == lawful]
            ),
            needle_twin=(twins, query("question", "lawful_answer", stated)),
        )


def _deeds(seed: Seed, others: list[Seed], field: str, rng: random.Random) -> list[str]:
    """The person's own deeds in random order, then other people's: enough for every count."""
    own, rest = list(getattr(seed, field)), [deed for other in others for deed in getattr(other, field)]
    rng.shuffle(own)
    return [*own, *rng.sample(rest, min(len(rest), 12))]
