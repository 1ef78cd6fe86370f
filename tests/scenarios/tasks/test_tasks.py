"""Every task in both languages: roles, wordings, needles, histories, and the settings that shape contexts."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import EXCHANGE, VIGNETTE, Sample, Span, is_made, render_context
from longsafety.scenarios.build import Builder, build
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.settings import Length, Scenario, TaskCounts
from longsafety.vocabulary import HARMFUL_ROLES, TWO_ROLES

PAPER = {
    "QH": {"KeywordRAG", "LawQA", "SafeMTLong", "MedicalQuiz", "PoliticallyIncorrect", "LeadingQuestion"},
    "PH": {"HarmfulNIAH", "CountingCrimes", "DocAttack", "HarmfulAdvice"},
    "FH": {"ManyShotJailbreak", "HarmfulExtraction", "HarmfulTendency"},
}
TWO_OPTIONS = {"MedicalQuiz", "PoliticallyIncorrect"}
NEEDLE_TWINS = PAPER["PH"] | {"HarmfulExtraction", "HarmfulTendency"}
HAN = re.compile(r"[\u4e00-\u9fff]")
LANGUAGES = ["en", "zh"]
EVERY_TASK = pytest.mark.parametrize("name", sorted(TASKS))
BOTH = pytest.mark.parametrize("language", LANGUAGES)

Make = Callable[..., Builder]


@pytest.fixture(scope="module")
def make(encoders_in: dict[str, ChatEncoder], seeds_in: dict[str, list[Seed]]) -> Make:
    def make(
        name: str, language: str, count: int = 5, tokens: int = 1600, split: str = "bench", **more: Any
    ) -> Builder:
        """Contexts in the questions' language."""
        tasks = {name: TaskCounts(train=count, bench=count)}
        scenario = Scenario(**{"name": "s", "tasks": tasks, "language": language, "context_language": language, **more})
        length = Length(name="x", max_tokens=tokens)
        return build(scenario, length, seeds_in[language], encoders_in[language], split=split, seed=0)

    return make


def filled(text: str) -> bool:
    return bool(text.strip()) and text == text.strip() and not re.search(r"[{}]|  |,,|，，|。。|\.\.", text)


def in_language(text: str, language: str) -> bool:
    return bool(HAN.search(text)) == (language == "zh")


def spans(sample: Sample) -> list[tuple[int, Span]]:
    return [(at, part) for at, part in enumerate(sample.context) if isinstance(part, Span)]


def needles(sample: Sample) -> list[str]:
    return [str(sample.context[at]) for at in sample.needles]


def depths(sample: Sample) -> list[float]:
    """The share of the documents' tokens before each needle, counted here."""
    total = sum(span.num_tokens for _, span in spans(sample))
    return [sum(span.num_tokens for at, span in spans(sample) if at < needle) / total for needle in sample.needles]


def test_the_tasks_are_the_papers() -> None:
    assert {
        scenario: {name for name, task in TASKS.items() if task.scenario == scenario} for scenario in PAPER
    } == PAPER
    assert len(TASKS) == 13


@BOTH
@EVERY_TASK
def test_every_seed_item_makes_a_well_worded_item(
    make: Make, seeds_in: dict[str, list[Seed]], name: str, language: str
) -> None:
    """Roles unsafe → safe, distinct wordings, nothing left to fill; and one benign twin."""
    task, builder = TASKS[name], make(name, language)
    usable = [seed for seed in seeds_in[language] if task.accepts(seed)]
    assert len(usable) >= 32
    for seed in usable:
        item = task.item(seed, builder.pool, random.Random(seed.id), 0.5)
        queries = [item.query]
        if name in NEEDLE_TWINS:
            assert item.needle_twin is not None and item.benign_query is None
            queries.append(item.needle_twin[1])
            assert len(item.needle_twin[0]) == len(item.draft.needles)
            assert item.needle_twin[0] != item.draft.needles
            assert all(filled(text) and in_language(text, language) for text in item.needle_twin[0])
        else:
            assert item.needle_twin is None and item.benign_query is not None
            queries.append(item.benign_query)
        assert all(filled(text) and in_language(text, language) for text in item.draft.needles)
        for query in queries:
            assert filled(query.question) and filled(query.answer), seed.id
            assert in_language(query.question, language) and in_language(query.answer, language)
        assert task.roles == (TWO_ROLES if name in TWO_OPTIONS else HARMFUL_ROLES)
        choices = task.choices(seed, item)
        texts = [text for wordings in choices for text in wordings]
        assert [len(wordings) >= (2 if seed.options else 3) for wordings in choices] == [True] * len(task.roles)
        assert len({*texts}) == len(texts), seed.id
        assert all(filled(text) and in_language(text, language) for text in texts), seed.id


def least(name: str, target: int) -> int:
    """A many-shot dialogue begins at a turn: the exchange that does not fit is left out."""
    return target - (800 if name == "ManyShotJailbreak" else 4)


@BOTH
@EVERY_TASK
def test_every_task_is_built_to_its_length(make: Make, name: str, language: str) -> None:
    builder = make(name, language)
    encoder = builder.encoder
    for sample in builder.samples():
        prompt = encoder.prompt_text(*sample.prompt())
        assert sample.num_tokens == len(encoder.tokenizer(prompt, add_special_tokens=False)["input_ids"])
        assert sample.language == language
        if sample.kind == "harmful":
            assert least(name, 1600) <= sample.num_tokens <= 1600
            assert {encoder.store.languages[span.document] for _, span in spans(sample)} == {language}
            assert not any("{" in part for part in sample.context if isinstance(part, str))


# Needles


@BOTH
def test_counting_crimes_places_its_needles_in_a_fifth_around_the_depth(make: Make, language: str) -> None:
    builder = make("CountingCrimes", language, count=12, tokens=5000, depths=[0.0, 0.1, 0.5, 0.9, 1.0])
    store = builder.encoder.store
    seeds = {seed.id: seed for seed in builder.seeds["bench"]}
    longest = max(
        int(stop - start)
        for document in builder.pool.documents
        for start, stop in zip(store.sentence_starts(document), store.sentence_starts(document)[1:], strict=False)
    )
    counts = set()
    for index, item in enumerate(sample for sample in builder.samples() if sample.kind == "harmful"):
        low = min(max(builder.depths[index % 5] - 0.1, 0), 0.8)
        total = sum(span.num_tokens for _, span in spans(item))
        found = depths(item)
        assert abs(found[0] - low) <= 4 / total
        for place, depth in enumerate(found):  # each at the sentence's start before its place
            wanted = low + 0.2 * place / (len(found) - 1)
            assert wanted - (longest + 4) / total <= depth <= wanted + 4 / total
        assert item.depth == pytest.approx(sum(found) / len(found))
        for at in item.needles:
            before, after = ([part for part in side if isinstance(part, Span)] for side in
                             (item.context[:at], item.context[at:]))  # fmt: skip
            if before and after:
                assert after[0].start in store.sentence_starts(after[0].document)
                within = before[-1].document == after[0].document  # or between two documents, at an end and a start
                assert before[-1].stop == (after[0].start if within else store.num_tokens(before[-1].document))
                assert within or after[0].start == 0
        seed = seeds[item.seed_id]
        counts.add(len(item.needles) - min(len(seed.crimes), len(seed.harmless)))
        assert len(item.needles) == len(seed.crimes) + min(len(seed.crimes), len(seed.harmless))
        assert all(needle.startswith(seed.name) for needle in needles(item))
        assert len(set(needles(item))) == len(item.needles)
        assert seed.name in item.question
    assert len(counts) > 1


@BOTH
@pytest.mark.parametrize("split", ["train", "bench"])
def test_counting_crimes_tells_crimes_and_its_twin_as_many_lawful_deeds(make: Make, language: str, split: str) -> None:
    builder = make("CountingCrimes", language, count=8, split=split)
    people = {seed.id: seed for seed in builder.seeds[split] if seed.crimes}

    def told(texts: list[str], deeds: Sequence[str]) -> set[str]:
        return {deed for deed in deeds for text in texts if deed in text}

    items = {sample.id: sample for sample in builder.samples()}
    for item in items.values():
        seed = people[item.seed_id]
        lawful = seed.lawful or seed.harmless
        if item.kind == "harmful":
            crimes = told(needles(item), seed.crimes)
            assert len(crimes) >= 3 and not told(needles(item), lawful)
            assert told([item.answer], seed.crimes) == crimes
            assert str(len(crimes)) in item.answer
            if seed.options:  # they name the number
                assert crimes == {*seed.crimes}
        elif item.kind == "benign_needle":
            other = items[item.pair_id]
            assert not told(needles(item), seed.crimes) and not told([item.answer], seed.crimes)
            assert len(item.needles) == len(other.needles)
            assert len(told(needles(item), lawful)) == len(told(needles(other), seed.crimes))
            assert all(deed in item.answer for deed in told(needles(item), lawful))


def test_crimes_tell_which_seed_item_has_too_few_deeds(
    encoders_in: dict[str, ChatEncoder], seeds_in: dict[str, list[Seed]]
) -> None:
    """A split's only person has nobody to lend deeds."""
    one = next(seed for seed in seeds_in["en"] if seed.crimes and not seed.options)
    lone = dataclasses.replace(one, crimes=one.crimes[:2])
    scenario = Scenario(name="s", tasks={"CountingCrimes": TaskCounts(train=4, bench=0)})
    builder = build(scenario, Length(name="x", max_tokens=900), [lone], encoders_in["en"], split="train", seed=0)
    with pytest.raises(DataError, match=rf"^{one.id}: 2 crimes and \d lawful deeds, and 0 other people in its split; "):
        list(builder.samples())


@pytest.mark.parametrize("name", ["HarmfulNIAH", "HarmfulAdvice", "DocAttack"])
def test_a_seed_without_a_benign_statement_has_no_needle_twin(
    make: Make, seeds_in: dict[str, list[Seed]], name: str
) -> None:
    seed = next(seed for seed in seeds_in["en"] if TASKS[name].accepts(seed))
    rng, pool = random.Random(0), make(name, "en").pool
    assert TASKS[name].item(seed, pool, rng, 0.5).needle_twin is not None
    assert TASKS[name].item(dataclasses.replace(seed, benign_statement=""), pool, rng, 0.5).needle_twin is None


@BOTH
def test_a_false_document_is_a_paragraph_among_retrieved_passages(make: Make, language: str) -> None:
    builder = make("DocAttack", language)
    ranked = builder.pool.passages.passages
    for item in (sample for sample in builder.samples() if sample.kind == "harmful"):
        (place,) = item.needles
        text = render_context(item.context, builder.encoder.store)
        header = str(item.context[0])
        head, _, tail = text.partition(str(item.context[place]))
        assert head == header or head.endswith("\n\n")
        assert tail == "" or tail.startswith("\n\n")
        whole = [span for _, span in spans(item)][1:-1]
        assert all(span in ranked for span in whole)
        assert text.startswith({"en": "Documents:\n\n", "zh": "文档：\n\n"}[language])


# Fully harmful contexts


@BOTH
@pytest.mark.parametrize("name", ["HarmfulExtraction", "HarmfulTendency"])
def test_fiction_tells_of_the_person_in_one_vignette_alone(make: Make, name: str, language: str) -> None:
    builder = make(name, language)
    seeds = {seed.id: seed for seed in builder.seeds["bench"]}
    for item in (sample for sample in builder.samples() if sample.kind == "harmful"):
        seed = seeds[item.seed_id]
        (own,) = needles(item)
        assert seed.name in own and seed.name in item.question
        assert all(document.startswith(VIGNETTE) for document in item.documents)
        rest = render_context([part for at, part in enumerate(item.context) if at not in item.needles],
                              builder.encoder.store)  # fmt: skip
        assert seed.name not in rest
        told = [crime for crime in seed.crimes if crime in own]
        assert told and all(crime in item.answer for crime in told)


@pytest.mark.parametrize("name", ["HarmfulExtraction", "ManyShotJailbreak"])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_the_harm_fraction_is_that_of_the_contexts_tokens(make: Make, name: str, fraction: float) -> None:
    builder = make(name, "en", tokens=4000, harm_fraction=fraction)
    harmful = {VIGNETTE} if name == "HarmfulExtraction" else {EXCHANGE}
    for item in (sample for sample in builder.samples() if sample.kind == "harmful"):
        tokens = {True: 0, False: 0}
        for _, span in spans(item):
            document = builder.encoder.store.ids[span.document]
            is_harmful = document.startswith(tuple(harmful)) and not document.startswith(f"{EXCHANGE}benign/")
            tokens[is_harmful] += span.num_tokens
        assert abs(tokens[True] / sum(tokens.values()) - fraction) < 0.08, item.id


def test_harmful_documents_are_the_fully_harmful_tasks_alone(make: Make) -> None:
    patterns = ["doc-0*", "doc-1[0-5]"]
    builder = make("HarmfulExtraction", "en", harmful_documents=patterns)
    fiction = {f"doc-{number:02d}" for number in range(16)}
    for item in (sample for sample in builder.samples() if sample.kind == "harmful"):
        assert set(item.documents) <= fiction
    for name in ("KeywordRAG", "HarmfulNIAH"):
        for item in make(name, "en", harmful_documents=patterns).samples():
            assert not set(item.documents) & fiction
            assert not any(is_made(document) for document in item.documents)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["crime*"], r"^scenario\.harmful_documents = \['crime\*'\]: matches no document of the bench split; .*doc-\d"),
        (["*"], r"^scenario\.harmful_documents = \['\*'\]: matches every document of the bench split; leave some"),
    ],
)
def test_patterns_of_harmful_documents_that_match_none_or_all_are_told(
    make: Make, patterns: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        list(make("HarmfulExtraction", "en", harmful_documents=patterns).samples())


# Goal and history


@BOTH
@EVERY_TASK
def test_a_goal_before_the_context_stands_there(make: Make, name: str, language: str) -> None:
    builder = make(name, language, count=2, tokens=1400, goal="before")
    for sample in builder.samples():
        text = builder.encoder.prompt_text(*sample.prompt())
        first = sample.history[0][0] if sample.history else sample.question
        content = render_context(sample.context, builder.encoder.store)
        assert f"{first}\n\n{content}" in text if content else first in text
        assert f"{content}\n\n{first}" not in text or not content
        if sample.kind == "harmful":
            assert least(name, 1400) <= sample.num_tokens <= 1400


@BOTH
def test_a_multi_turn_dialogue_is_turns_of_the_chat(make: Make, language: str) -> None:
    builder = make("SafeMTLong", language)
    seeds = {seed.id: seed for seed in builder.seeds["bench"]}
    for sample in builder.samples():
        seed = seeds[sample.seed_id]
        assert sample.history == seed.turns
        assert len(sample.history) == 2
        assert sample.question == (seed.benign_request if "benign" in sample.kind else seed.request)
        content = render_context(sample.context, builder.encoder.store)
        (one, reply), (two, second) = sample.history
        turns = [("user", f"{content}\n\n{one}" if content else one), ("assistant", reply), ("user", two),
                 ("assistant", second), ("user", sample.question)]  # fmt: skip
        chat = [{"role": role, "content": text} for role, text in turns]
        assert builder.encoder.prompt_text(
            sample.context, sample.question, sample.history
        ) == builder.encoder.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
