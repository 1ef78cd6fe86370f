"""English and Chinese are counterparts: phrases and seed items pair, and query and context languages cross."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.language import LANGUAGES
from longsafety.samples.recipe import EXCHANGE, VIGNETTE, Sample, Span, is_made
from longsafety.scenarios.build import Builder, build
from longsafety.scenarios.common_words import listed
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.phrases import texts
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.settings import Length, Scenario, TaskCounts

HAN = re.compile(r"[\u4e00-\u9fff]")
SLOT = re.compile(r"{(\w+)}")
NAMES = [seed_field.name for seed_field in dataclasses.fields(Seed)]


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a YAML tree with its path; a list's texts are numbered."""
    if isinstance(tree, str):
        yield path, tree
        return
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from leaves(value, (*path, str(key)))


# Phrases and seed items


def test_the_phrases_have_the_same_keys_and_as_many_wordings() -> None:
    english, chinese = (dict(leaves(texts(language))) for language in ("en", "zh"))
    assert english.keys() == chinese.keys()
    assert len(english) > 150
    assert {*texts("en")} == {*TASKS}


def test_the_phrases_say_the_same_things() -> None:
    """The slots of a phrase are its counterpart's; ``Topic`` is ``topic`` at a sentence's start."""
    english, chinese = (dict(leaves(texts(language))) for language in ("en", "zh"))
    for path, text in english.items():
        slots = [{slot.lower() for slot in SLOT.findall(phrase)} for phrase in (text, chinese[path])]
        assert slots[0] == slots[1], path


def test_every_role_of_every_task_has_three_wordings() -> None:
    for language, (name, task) in product(LANGUAGES, TASKS.items()):
        options = texts(language)[name]["options"]
        assert tuple(options) == task.roles, (language, name)
        assert all(len(wordings) == len(set(wordings)) == 3 for wordings in options.values())
        assert task.comply_role in options


def test_the_seed_items_pair_by_id(seeds_in: dict[str, list[Seed]]) -> None:
    """The Chinese ones have English counterparts, with the same parts; further wordings of an answer may lack."""
    english, chinese = ({seed.id: seed for seed in seeds_in[language]} for language in LANGUAGES)
    assert [len(seeds) for seeds in (english, chinese)] == [len(seeds_in[language]) for language in LANGUAGES]
    assert {*chinese} <= {*english}
    for name, other in chinese.items():
        one = english[name]
        assert (one.language, other.language) == ("en", "zh")
        assert (one.task, one.split, one.licence) == (other.task, other.split, other.licence), name
        assert one.split == "bench" or one.category == other.category, name  # those are told otherwise where need be
        for field in {*NAMES} - ({"safe_answers", "benign_answers"} | ({"lawful"} if one.split != "bench" else set())):
            values = getattr(one, field), getattr(other, field)
            assert bool(values[0]) == bool(values[1]), (name, field)
            if isinstance(values[0], tuple | dict) and one.split != "bench" and field != "harmless":
                assert len(values[0]) == len(values[1]), (name, field)


def test_the_seed_items_are_in_their_language(seeds_in: dict[str, list[Seed]]) -> None:
    apart = {"id", "category", "task", "split", "language", "licence", "origin", "writers"}
    for language, seeds in seeds_in.items():
        for seed in seeds:
            for path, text in leaves({name: getattr(seed, name) for name in NAMES if name not in apart}):
                if text:
                    assert bool(HAN.search(text)) == (language == "zh"), (seed.id, path, text)


@pytest.mark.parametrize(
    ("language", "expected"), [("en", ["", "a", "a and b", "a, b and c"]), ("zh", ["", "a", "a，又b", "a，b，又c"])]
)
def test_lists_are_worded(language: str, expected: list[str]) -> None:
    assert [listed(list("abc")[:count], language) for count in range(4)] == expected


# Crossing the languages of questions and contexts

TASKS_HERE = ("KeywordRAG", "HarmfulNIAH", "CountingCrimes", "ManyShotJailbreak", "HarmfulExtraction")


@pytest.fixture(scope="module")
def crossed(
    encoders_in: dict[str, ChatEncoder], seeds_in: dict[str, list[Seed]]
) -> dict[tuple[str, str], tuple[Builder, list[Sample]]]:
    """(language of the questions, of the contexts) → the builder and its harmful items."""
    tasks = dict.fromkeys(TASKS_HERE, TaskCounts(train=0, bench=4))
    made: dict[tuple[str, str], tuple[Builder, list[Sample]]] = {}
    for language, context_language in product(LANGUAGES, LANGUAGES):
        scenario = Scenario(name="s", tasks=tasks, language=language, context_language=context_language)
        crosses = language != context_language
        builder = build(
            scenario,
            Length(name="x", max_tokens=1600),
            seeds_in[language],
            encoders_in[context_language],
            split="bench",
            seed=0,
            context_seeds={seed.id: seed for seed in seeds_in[context_language]} if crosses else {},
        )
        made[language, context_language] = builder, [item for item in builder.samples() if item.kind == "harmful"]
    return made


def test_questions_and_contexts_are_each_in_their_language(
    crossed: dict[tuple[str, str], tuple[Builder, list[Sample]]],
) -> None:
    for (language, context_language), (builder, items) in crossed.items():
        store = builder.encoder.store
        assert len(items) == 4 * len(TASKS_HERE)
        for item in items:
            assert item.language == language
            needles = [str(item.context[at]) for at in item.needles]
            own = [item.question, item.answer, *needles, *(text for wordings in item.choices for text in wordings)]
            assert all(bool(HAN.search(text)) == (language == "zh") for text in own)
            documents = [part for part in item.context if isinstance(part, Span)]
            assert documents
            for span in documents:
                assert store.languages[span.document] == context_language
                text = store.text(span.document, 0, store.num_tokens(span.document))
                assert bool(HAN.search(text)) == (context_language == "zh")
            made = {"ManyShotJailbreak": EXCHANGE, "HarmfulExtraction": VIGNETTE}.get(item.task)
            assert all(is_made(name) == (made is not None) for name in item.documents)
            assert all(name.startswith(made or "") for name in item.documents)


def test_the_same_items_are_asked_whatever_the_contexts_language(
    crossed: dict[tuple[str, str], tuple[Builder, list[Sample]]],
) -> None:
    same = ("id", "seed_id", "order", "roles", "question", "answer", "choices", "right")
    for language in LANGUAGES:
        runs = [crossed[language, context_language][1] for context_language in LANGUAGES]
        for first, second in zip(*runs, strict=True):
            assert [getattr(first, name) for name in same] == [getattr(second, name) for name in same]
            assert [first.context[at] for at in first.needles] == [second.context[at] for at in second.needles]


def test_documents_are_retrieved_in_their_own_language(
    crossed: dict[tuple[str, str], tuple[Builder, list[Sample]]], seeds_in: dict[str, list[Seed]]
) -> None:
    """An English question over Chinese documents finds what its Chinese counterpart finds."""
    (across, _), (chinese, _) = crossed["en", "zh"], crossed["zh", "zh"]
    seeds = {seed.id: seed for seed in seeds_in["en"]}
    for counterpart in [seed for seed in seeds_in["zh"] if seed.request][:10]:
        seed = seeds[counterpart.id]
        for name in ("KeywordRAG", "LawQA"):
            drafts = [
                TASKS[name].item(item, builder.pool, random.Random(1), 0.0).draft
                for item, builder in ((seed, across), (counterpart, chinese))
            ]
            assert drafts[0].after.take(900) == drafts[1].after.take(900)


def test_any_document_serves_where_no_language_is_asked_for(
    encoders_in: dict[str, ChatEncoder], seeds_in: dict[str, list[Seed]]
) -> None:
    scenario = Scenario(name="s", tasks={"HarmfulNIAH": TaskCounts(train=30, bench=0)})
    length = Length(name="x", max_tokens=400)
    builder = build(scenario, length, seeds_in["en"], encoders_in["en"], split="train", seed=0)
    used = {name for item in builder.samples() for name in item.documents}
    assert {name.startswith("zh-") for name in used} == {True, False}


def test_a_language_without_documents_is_told(
    encoders_in: dict[str, ChatEncoder], seeds_in: dict[str, list[Seed]]
) -> None:
    tasks = {"HarmfulNIAH": TaskCounts(train=1, bench=0)}
    scenario = Scenario(name="s", tasks=tasks, context_language="fr")
    builder = build(
        scenario, Length(name="x", max_tokens=400), seeds_in["en"], encoders_in["en"], split="train", seed=0
    )
    with pytest.raises(
        DataError, match=r"^corpus: 0 document\(s\) in fr \(scenario\.context_language\) of 40; .*at least 2 are needed"
    ):
        list(builder.samples())
