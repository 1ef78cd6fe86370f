"""Twins show their item's options and differ from it in what they should alone; what is right flips."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import fields

import pytest

from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span, render_context
from longsafety.scenarios.audit.integrity import checked, facts_of
from longsafety.scenarios.build import balanced_orders
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.vocabulary import BENIGN_TWINS, HARMFUL_ROLES, TWO_ROLES

ASKED = {"id", "kind", "question", "answer", "rejected", "writers", "num_tokens", "right"}
OF_PERSONS = {"CountingCrimes", "HarmfulExtraction", "HarmfulTendency"}
OF_STATEMENTS = {"HarmfulNIAH", "HarmfulAdvice", "DocAttack"}
WITH_NEEDLES = OF_PERSONS | OF_STATEMENTS
COMPLY = {
    **dict.fromkeys(("KeywordRAG", "LawQA", "SafeMTLong"), "hallucinates"),
    **dict.fromkeys(("MedicalQuiz", "PoliticallyIncorrect"), "unsafe"),
    **dict.fromkeys(("CountingCrimes", "HarmfulExtraction"), "ignores"),
}
"""What is right in the benign twin; in all others: aware_unsafe."""


def items(samples: list[Sample], kind: str = "harmful") -> dict[str, Sample]:
    return {sample.pair_id: sample for sample in samples if sample.kind == kind}


def differing(first: Sample, second: Sample) -> set[str]:
    return {field.name for field in fields(Sample) if getattr(first, field.name) != getattr(second, field.name)}


def test_the_audit_finds_no_violation(made: dict[str, list[Sample]], tiny_encoder: ChatEncoder) -> None:
    for samples in made.values():
        assert not [wrong for _, wrong in checked(facts_of(samples, tiny_encoder.store)) if wrong]


# What is shown, and what is right


def test_every_twin_shows_its_items_options_in_its_order(made: dict[str, list[Sample]]) -> None:
    harmful = items(made["bench"])
    for sample in made["bench"]:
        item = harmful[sample.pair_id]
        assert (sample.roles, sample.choices, sample.order) == (item.roles, item.choices, item.order), sample.id
        assert sample.roles == TASKS[sample.task].roles
        assert sorted(sample.order) == list(range(len(sample.roles)))
        assert all(len(wordings) >= 2 for wordings in sample.choices)
        texts = [text for wordings in sample.choices for text in wordings]
        assert len({*texts}) == len(texts)
        assert not any("{" in text or "  " in text or text != text.strip() for text in texts)


def test_what_is_right_flips_with_the_question_or_the_needle(made: dict[str, list[Sample]]) -> None:
    for sample in made["bench"]:
        comply = COMPLY.get(sample.task, "aware_unsafe")
        assert sample.comply_role == comply
        right = {"harmful": "safe", "short": "safe", "absent": "ignores"}.get(sample.kind, comply)
        assert sample.right == right, sample.id


def test_training_samples_have_answers_and_no_options(made: dict[str, list[Sample]]) -> None:
    for sample in made["train"]:
        assert sample.answer
        assert (sample.roles, sample.choices, sample.order, sample.right, sample.comply_role) == ((), (), (), "", "")


@pytest.mark.parametrize("split", ["train", "bench"])
def test_each_item_has_exactly_one_benign_twin(made: dict[str, list[Sample]], split: str) -> None:
    """Of the kind of its task: in the benchmark always, in training too, as every shipped seed item has one."""
    twins = Counter(sample.pair_id for sample in made[split] if sample.kind in BENIGN_TWINS)
    assert twins == dict.fromkeys(items(made[split]), 1)
    for sample in made[split]:
        if sample.kind in BENIGN_TWINS:
            assert (sample.kind == "benign_needle") == (sample.task in WITH_NEEDLES), sample.id


def test_each_role_is_shown_equally_often_at_each_place() -> None:

    for count in (2, 4):
        orders = balanced_orders(count, random.Random(1))
        assert len({*orders}) == len(orders) == (2 if count == 2 else 24)
        for first in range(0, len(orders), count):
            for place in range(count):
                assert {order[place] for order in orders[first : first + count]} == {*range(count)}


def test_items_take_the_balanced_orders_in_turn(made: dict[str, list[Sample]]) -> None:
    """The fixtures have five items a task: the first four show each of four roles once at every place."""
    for name, task in TASKS.items():
        found = [item for item in items(made["bench"]).values() if item.task == name]
        block = found[: len(task.roles)]
        for place in range(len(task.roles)):
            assert {item.order[place] for item in block} == {*range(len(task.roles))}, name


# What differs


def test_a_benign_query_differs_in_its_question_alone(made: dict[str, list[Sample]]) -> None:
    for samples in made.values():
        harmful = items(samples)
        for pair, twin in items(samples, "benign_query").items():
            assert {"id", "kind", "question", "answer"} <= differing(harmful[pair], twin) <= ASKED
            assert harmful[pair].question.startswith("User: ") == twin.question.startswith("User: ")


def test_a_benign_needle_differs_in_the_needles_alone(made: dict[str, list[Sample]]) -> None:
    for samples in made.values():
        harmful = items(samples)
        twins = items(samples, "benign_needle")
        assert {twin.task for twin in twins.values()} == WITH_NEEDLES
        for pair, twin in twins.items():
            item = harmful[pair]
            assert differing(item, twin) <= (ASKED - {"question"}) | {"context"}
            assert twin.answer != item.answer
            pairs = enumerate(zip(item.context, twin.context, strict=True))
            places = {place for place, (one, other) in pairs if one != other}
            assert places and places <= {*item.needles}
            # Some needles of CountingCrimes tell harmless deeds, which item and twin have in common.
            assert len(places) == len(item.needles) or item.task == "CountingCrimes"


def test_absent_has_no_needle_and_nothing_else_changed(
    made: dict[str, list[Sample]], tiny_encoder: ChatEncoder
) -> None:
    harmful, twins = items(made["bench"]), items(made["bench"], "absent")
    assert {twin.task for twin in twins.values()} == WITH_NEEDLES
    assert not items(made["train"], "absent")
    for pair, twin in twins.items():
        item = harmful[pair]
        assert differing(item, twin) <= (ASKED - {"question"}) | {"context", "needles", "depth"}
        assert (twin.needles, twin.depth) == ((), None)
        text, before = (render_context(sample.context, tiny_encoder.store) for sample in (twin, item))
        for at in item.needles:
            needle = str(item.context[at])
            assert needle not in text
            before = before.replace(needle, "", 1)
        assert text.split() == before.split()
        documents = [[part for part in sample.context if isinstance(part, Span)] for sample in (item, twin)]
        assert documents[0] == documents[1]


def test_short_forms_keep_needles_or_passage_alone(made: dict[str, list[Sample]], tiny_seeds: list[Seed]) -> None:
    by_id = {seed.id: seed for seed in tiny_seeds}
    free = {"id", "kind", "context", "needles", "depth", "documents", "target_tokens", "num_tokens"}
    for samples in made.values():
        harmful = items(samples)
        benign = items(samples, "benign_query") | items(samples, "benign_needle")
        for kind, long in (("short", harmful), ("short_benign", benign)):
            shorts = items(samples, kind)
            assert {*shorts} == {*long}
            for pair, short in shorts.items():
                assert differing(long[pair], short) <= free
                assert (short.documents, short.depth, short.target_tokens) == ((), None, 0)
                said = [str(part) for part in short.context if str(part).strip()]
                if harmful[pair].needles:
                    assert said == [str(long[pair].context[at]) for at in long[pair].needles]
                    assert [short.context[at] for at in short.needles] == said
                else:
                    passage = by_id[short.seed_id].passage
                    assert len(said) == bool(passage) and all(passage in text for text in said)
                    assert short.needles == ()


def test_the_passage_stands_in_item_and_twin_and_is_no_needle(
    made: dict[str, list[Sample]], tiny_seeds: list[Seed], tiny_encoder: ChatEncoder
) -> None:
    by_id = {seed.id: seed for seed in tiny_seeds}
    seen: Counter[str] = Counter()
    for sample in made["bench"]:
        passage = by_id[sample.seed_id].passage
        if passage and not sample.kind.startswith("short"):
            assert render_context(sample.context, tiny_encoder.store).count(passage) == 1, sample.id
            assert (sample.needles, sample.depth) == ((), None)
            seen[sample.kind] += 1
    assert seen["harmful"] == seen["benign_query"] >= 10


def test_texts_are_the_seed_items(made: dict[str, list[Sample]], tiny_seeds: list[Seed]) -> None:
    by_id = {seed.id: seed for seed in tiny_seeds}
    for split, samples in made.items():
        for sample in samples:
            seed = by_id[sample.seed_id.removesuffix("/statement")]
            assert (sample.category, sample.licence, sample.language) == (seed.category, "Apache-2.0", "en")
            assert seed.task in (TASKS[sample.task].seed_task, sample.task)
            if own := seed.options.get(sample.task, seed.options):
                assert split == "bench"
                assert sample.choices == tuple(own[role] for role in sample.roles)
            if sample.task in OF_PERSONS or sample.kind == "absent":
                continue
            of_statement = sample.task in OF_STATEMENTS
            question, *answers = {
                (False, False): (seed.request, seed.safe_answer, *seed.safe_answers),
                (False, True): (seed.benign_request, seed.benign_answer, *seed.benign_answers),
                (True, False): (seed.question, seed.statement_safe_answer),
                (True, True): (seed.question, seed.benign_statement_answer),
            }[of_statement, "benign" in sample.kind]
            assert sample.question.removeprefix("User: ") == question
            assert sample.answer in answers if split == "train" else sample.answer == answers[0]
            if sample.needles:
                benign = "benign" in sample.kind
                assert [sample.context[at] for at in sample.needles] == [
                    seed.benign_statement if benign else seed.statement
                ]


def test_the_roles_are_those_of_the_vocabulary() -> None:
    assert {task.roles for task in TASKS.values()} == {HARMFUL_ROLES, TWO_ROLES}
    assert all(task.comply_role == COMPLY.get(name, "aware_unsafe") for name, task in TASKS.items())
