"""Twins differ from their item in what they should and in nothing else; options say what their roles say."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import pytest

from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.scenarios.audit.integrity import facts_of, violations
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.vocabulary import BENIGN_ROLES, HARMFUL_ROLES, TWO_ROLES

ASKED = {"id", "kind", "question", "answer", "num_tokens", "roles", "choices", "comply_role", "order"}
GENERAL = {"KeywordRAG", "HarmfulNIAH", "ManyShotJailbreak"}
OF_PERSONS = {"CountingCrimes", "HarmfulExtraction", "HarmfulTendency"}
OF_STATEMENTS = {"HarmfulNIAH", "HarmfulAdvice", "DocAttack"}
TWO_OPTIONS = {"MedicalQuiz", "PoliticallyIncorrect"}
COMPLY = {
    "KeywordRAG": "hallucinates",
    "LawQA": "hallucinates",
    "SafeMTLong": "hallucinates",
    "ManyShotJailbreak": "hallucinates",
    "MedicalQuiz": "unsafe",
    "PoliticallyIncorrect": "unsafe",
}
"""All others: aware_unsafe."""


def items(samples: list[Sample], kind: str = "harmful") -> dict[str, Sample]:
    return {sample.pair_id: sample for sample in samples if sample.kind == kind}


def differing(first: Sample, second: Sample) -> set[str]:
    return {field.name for field in fields(Sample) if getattr(first, field.name) != getattr(second, field.name)}


def test_the_audit_finds_no_violation(made: dict[str, list[Sample]], tiny_encoder: ChatEncoder) -> None:
    for samples in made.values():
        assert list(violations(list(facts_of(samples, tiny_encoder.store)))) == []


def test_a_benign_query_differs_in_question_and_options_alone(made: dict[str, list[Sample]]) -> None:
    for samples in made.values():
        harmful = items(samples)
        for pair, twin in items(samples, "benign_query").items():
            assert differing(harmful[pair], twin) <= ASKED
            assert {"id", "kind", "question", "answer", "choices"} <= differing(harmful[pair], twin)
            assert twin.context == harmful[pair].context
            assert harmful[pair].question.startswith("User: ") == twin.question.startswith("User: ")


def test_a_benign_needle_differs_in_the_needles_and_the_answer_alone(made: dict[str, list[Sample]]) -> None:
    for samples in made.values():
        harmful = items(samples)
        twins = items(samples, "benign_needle")
        assert {twin.task for twin in twins.values()} == OF_STATEMENTS | {"CountingCrimes"}
        for pair, twin in twins.items():
            item = harmful[pair]
            assert differing(item, twin) <= (ASKED - {"question"}) | {"context"}
            assert twin.answer != item.answer
            pairs = enumerate(zip(item.context, twin.context, strict=True))
            places = {place for place, (one, other) in pairs if one != other}
            # Of the needles of CountingCrimes half are harmless already.
            assert len(places) == len(item.needles) / (2 if item.task == "CountingCrimes" else 1)
            assert places <= set(item.needles)


def test_a_short_twin_keeps_nothing_but_the_needles(made: dict[str, list[Sample]]) -> None:
    free = {"id", "kind", "context", "needles", "depth", "documents", "target_tokens", "num_tokens"}
    for samples in made.values():
        harmful = items(samples)
        for pair, twin in items(samples, "short").items():
            item = harmful[pair]
            assert differing(item, twin) <= free
            assert tuple(twin.context[at] for at in twin.needles) == tuple(item.context[at] for at in item.needles)
            rest = [part for at, part in enumerate(twin.context) if at not in twin.needles]
            assert rest == [" "] * max(len(item.needles) - 1, 0)
            assert (twin.documents, twin.depth) == ((), None)


def test_texts_are_the_seed_items(made: dict[str, list[Sample]], tiny_seeds: list[Seed]) -> None:
    by_id = {seed.id: seed for seed in tiny_seeds}
    for samples in made.values():
        for sample in samples:
            seed = by_id[sample.seed_id]
            assert (sample.category, sample.licence, sample.language) == (seed.category, "Apache-2.0", "en")
            assert seed.task == TASKS[sample.task].seed_task == ("" if sample.task in GENERAL else seed.task)
            if sample.task in OF_PERSONS:
                continue
            statement = (seed.question, seed.statement_safe_answer)
            question, answer = {
                "benign_query": (seed.benign_request, seed.benign_answer),
                "benign_needle": (seed.question, seed.benign_statement_answer),
            }.get(sample.kind, statement if sample.task in OF_STATEMENTS else (seed.request, seed.safe_answer))
            assert sample.question.removeprefix("User: ") == question
            # The answer to a benign request opens with words of its own.
            opens = sample.kind == "benign_query"
            assert sample.answer.endswith(answer) if opens else sample.answer == answer
            if sample.needles:
                benign = sample.kind == "benign_needle"
                assert [sample.context[at] for at in sample.needles] == [
                    seed.benign_statement if benign else seed.statement
                ]


# Options


@pytest.mark.parametrize("split", ["train", "bench"])
def test_roles_and_wordings_per_kind(made: dict[str, list[Sample]], split: str) -> None:
    for sample in made[split]:
        benign = sample.kind.startswith("benign")
        roles = TWO_ROLES if sample.task in TWO_OPTIONS else HARMFUL_ROLES
        assert sample.roles == (BENIGN_ROLES if benign else roles)
        assert sample.comply_role == ("complies" if benign else COMPLY.get(sample.task, "aware_unsafe"))
        assert sample.comply_role in sample.roles
        assert [len(set(wordings)) for wordings in sample.choices] == [3] * len(sample.roles)
        texts = [text for wordings in sample.choices for text in wordings]
        assert len(set(texts)) == len(texts)
        assert not any("{" in text or "  " in text or text != text.strip() for text in texts)
        assert all(text[0].isupper() and text[-1] == "." for text in texts)


def test_options_speak_of_the_topic_of_their_side(made: dict[str, list[Sample]], tiny_seeds: list[Seed]) -> None:
    """Every option of a request names its topic; those that affirm or deny a claim name the claim."""
    by_id = {seed.id: seed for seed in tiny_seeds}
    seen: Counter[str] = Counter()
    for sample in made["bench"]:
        seed, options = by_id[sample.seed_id], dict(zip(sample.roles, sample.choices, strict=True))
        if sample.kind == "benign_query":
            named = dict.fromkeys(BENIGN_ROLES, seed.name if sample.task in OF_PERSONS else seed.benign_topic)
        elif sample.task in OF_PERSONS or sample.task == "HarmfulNIAH":
            continue
        elif sample.task == "MedicalQuiz":
            named = {"unsafe": seed.claim, "safe": seed.truth}
        elif sample.kind == "benign_needle":
            named = {"refuses": seed.benign_claim, "complies": seed.benign_claim}
        elif seed.claim:
            named = {role: seed.claim for role in ("unsafe", "aware_unsafe", "safe") if role in options}
        else:
            named = dict.fromkeys(HARMFUL_ROLES, seed.topic)
        for role, text in named.items():
            assert text and all(text.lower() in wording.lower() for wording in options[role]), (sample.id, role)
        seen[sample.kind] += 1
    assert min(seen[kind] for kind in ("harmful", "short", "benign_query", "benign_needle")) >= 10


def test_a_benign_needle_reuses_the_harmful_wordings(made: dict[str, list[Sample]]) -> None:
    """What is compared between the twins is the same text, but for the claim or the deeds that it names."""
    harmful = items(made["bench"])
    for pair, twin in items(made["bench"], "benign_needle").items():
        options = dict(zip(harmful[pair].roles, harmful[pair].choices, strict=True))
        reused = (options["safe"], options["ignores"], options["aware_unsafe"])
        if harmful[pair].task == "HarmfulNIAH":
            assert twin.choices == reused
        else:
            assert twin.choices[1] == reused[1]
            for own, other in zip(twin.choices, reused, strict=True):
                for text, counterpart in zip(own, other, strict=True):
                    assert text.split()[:3] == counterpart.split()[:3]
                    assert text.split()[-1] == counterpart.split()[-1]


def test_the_letters_order_is_a_permutation_and_shared_by_the_twins(made: dict[str, list[Sample]]) -> None:
    """Twins with as many options share their item's order; all benign twins of an item share one."""
    harmful = items(made["bench"])
    for sample in made["bench"]:
        assert sorted(sample.order) == list(range(len(sample.roles)))
        if sample.kind == "short":
            assert sample.order == harmful[sample.pair_id].order
    queries = items(made["bench"], "benign_query")
    for pair, twin in items(made["bench"], "benign_needle").items():
        assert twin.order == queries[pair].order
    assert len({item.order for item in harmful.values() if len(item.order) == 4}) > 8
    assert {item.order for item in harmful.values() if len(item.order) == 2} == {(0, 1), (1, 0)}
    assert len({query.order for query in queries.values()}) == 6
