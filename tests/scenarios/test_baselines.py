"""The other arms' samples: questions about a sentence of a long benign context, and harmful requests without one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span, is_made, render_context
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.baselines import BASELINE_KINDS, baseline_samples
from longsafety.scenarios.build import Builder, build
from longsafety.scenarios.seeds.seed import Seed
from longsafety.settings import Length, Scenario, TaskCounts

COUNT = 24


def builder_in(
    language: str, encoders_in: dict[str, ChatEncoder], seeds_in: dict[str, list[Seed]], tokens: int = 600
) -> Builder:
    tasks = {"KeywordRAG": TaskCounts(train=3, bench=3)}
    scenario = Scenario(name="s", tasks=tasks, language=language, context_language=language)  # type: ignore[arg-type]
    length = Length(name="x", max_tokens=tokens)
    return build(scenario, length, seeds_in[language], encoders_in[language], split="train", seed=0)


@pytest.fixture(scope="module", params=["en", "zh"])
def builder(
    request: pytest.FixtureRequest, encoders_in: dict[str, ChatEncoder], seeds_in: dict[str, list[Seed]]
) -> Builder:
    return builder_in(request.param, encoders_in, seeds_in)


@pytest.fixture(scope="module")
def aligned(builder: Builder) -> list[Sample]:
    return list(baseline_samples(builder, "long_align", COUNT))


@pytest.fixture(scope="module")
def short(builder: Builder) -> list[Sample]:
    return list(baseline_samples(builder, "short_safety", COUNT))


def test_there_are_two_kinds() -> None:
    assert set(BASELINE_KINDS) == {"short_safety", "long_align"}


# Long alignment


def test_as_many_are_made_as_asked_for_and_each_stands_for_itself(aligned: list[Sample], short: list[Sample]) -> None:
    for kind, samples in (("long_align", aligned), ("short_safety", short)):
        assert [sample.id for sample in samples] == [f"{kind}-{index:05d}" for index in range(COUNT)]
        assert all(sample.pair_id == sample.id and sample.kind == kind for sample in samples)
        assert all((sample.roles, sample.choices, sample.order) == ((), (), ()) for sample in samples)


def test_long_align_asks_for_a_sentence_that_stands_in_the_context_once(
    aligned: list[Sample], builder: Builder
) -> None:
    for sample in aligned:
        text = render_context(sample.context, builder.encoder.store)
        (needle,) = sample.needles
        assert sample.context[needle] == sample.answer
        assert text.count(sample.answer) == 1
        zh = builder.scenario.language == "zh"
        opening = sample.answer[:8] if zh else " ".join(sample.answer.split()[:6])
        assert f"“{opening}”" in sample.question if zh else f'"{opening}"' in sample.question
        assert (sample.seed_id, sample.history, sample.goal) == ("", (), "after")
        assert sample.writers == ("answer: template", "question: template")
        assert sample.language == builder.scenario.language
    assert len({sample.answer for sample in aligned}) > COUNT * 3 / 4
    assert len({sample.question.partition("“")[0].partition('"')[0] for sample in aligned}) == 3


def test_a_long_align_context_is_the_document_with_its_sentence_in_place(
    aligned: list[Sample], builder: Builder
) -> None:
    store = builder.encoder.store
    for sample in aligned:
        (needle,) = sample.needles
        assert not any(is_made(name) for name in sample.documents)
        assert {store.ids.index(name) for name in sample.documents} <= set(builder.pool.documents)
        before, after = ([part for part in side if isinstance(part, Span)] for side in
                         (sample.context[:needle], sample.context[needle:]))  # fmt: skip
        amid = before[-1].document == after[0].document  # or the first sentence of its document
        own = store.text(after[0].document, before[-1].stop if amid else 0, after[0].start)
        assert " ".join(own.split()) == sample.answer


def test_long_align_has_the_training_length_and_a_depth_of_its_own(aligned: list[Sample], builder: Builder) -> None:
    encoder = builder.encoder
    for sample in aligned:
        ids, _ = encoder.sample_ids(sample)
        assert sample.num_tokens == len(ids)
        assert sample.target_tokens == 600
        assert 596 <= len(ids) <= 600
        spans = [(at, part) for at, part in enumerate(sample.context) if isinstance(part, Span)]
        before = sum(part.num_tokens for at, part in spans if at < sample.needles[0])
        assert sample.depth == pytest.approx(before / sum(part.num_tokens for _, part in spans))
        assert sample.depth is not None and 0.08 < sample.depth < 0.92
    assert len({round(sample.depth or 0, 1) for sample in aligned}) > 5


def test_lengths_of_long_align_are_the_training_lengths(
    encoders_in: dict[str, ChatEncoder], seeds_in: dict[str, list[Seed]]
) -> None:
    builder = dataclasses.replace(
        builder_in("en", encoders_in, seeds_in),
        length=Length(name="x", max_tokens=900, mean_tokens=600, spread=0.2, bench_mean_tokens=700, factor=2),
    )
    targets = [sample.target_tokens for sample in baseline_samples(builder, "long_align", 30)]
    assert abs(sum(targets) / 30 - 600) <= 6
    assert max(targets) <= 900
    assert len(set(targets)) > 15


def test_a_teacher_is_asked_once_and_what_it_lacks_is_the_templates(builder: Builder, aligned: list[Sample]) -> None:
    calls: list[Sequence[str]] = []

    def ask(passages: Sequence[str]) -> list[tuple[str, str, str] | None]:
        calls.append(passages)
        return [(f"What of number {at}?", f"It is {at}.", "a model") if at % 2 else None for at in range(len(passages))]

    asked = list(baseline_samples(builder, "long_align", COUNT, ask))
    assert [list(call) for call in calls] == [[sample.answer for sample in aligned]]
    for at, (sample, plain) in enumerate(zip(asked, aligned, strict=True)):
        assert sample.context[sample.needles[0]] == plain.answer
        if at % 2:
            assert (sample.question, sample.answer) == (f"What of number {at}?", f"It is {at}.")
            assert sample.writers == ("answer: a model", "question: a model")
            assert 596 <= sample.num_tokens <= 600
        else:
            assert sample == plain


# Short safety


def test_short_safety_has_no_context_and_declines(short: list[Sample], builder: Builder) -> None:
    seeds = {seed.id: seed for seed in builder.seeds["short_safety"]}
    for sample in short:
        seed = seeds[sample.seed_id]
        assert (sample.context, sample.needles, sample.documents, sample.target_tokens) == ((), (), (), 0)
        assert (sample.question, sample.answer) == (seed.request, seed.safe_answer)
        assert (sample.category, sample.licence, sample.language) == (seed.category, seed.licence, seed.language)
        assert sample.num_tokens == len(builder.encoder.sample_ids(sample)[0])


def test_short_safety_uses_requests_of_its_own_and_repeats_them_where_they_run_out(builder: Builder) -> None:
    own = {seed.id for seed in builder.seeds["short_safety"] if seed.request}
    many = list(baseline_samples(builder, "short_safety", 2 * len(own) + 3))
    used = Counter(sample.seed_id for sample in many)
    assert set(used) == own
    assert max(used.values()) - min(used.values()) <= 1
    assert not own & {seed.id for split in ("train", "bench") for seed in builder.seeds[split]}


# The same again, and mistakes


@pytest.mark.parametrize("kind", BASELINE_KINDS)
def test_a_seed_fixes_the_samples(builder: Builder, kind: str) -> None:
    first, again = (list(baseline_samples(builder, kind, 6)) for _ in range(2))
    assert first == again
    assert list(baseline_samples(builder, kind, 4)) == first[:4]
    assert list(islice(baseline_samples(builder, kind, 6), 3)) == first[:3]
    if kind == "long_align":
        other = list(baseline_samples(dataclasses.replace(builder, seed=1), kind, 6))
        assert not {sample.context for sample in other} & {sample.context for sample in first}


@pytest.mark.parametrize("kind", BASELINE_KINDS)
def test_none_are_made_where_none_are_asked_for(builder: Builder, kind: str) -> None:
    assert list(baseline_samples(builder, kind, 0)) == []


def test_a_corpus_without_a_sentence_to_ask_for_is_told(
    tiny_tokenizer: Any, seeds_in: dict[str, list[Seed]], tmp_path: Path
) -> None:
    documents = [Document(f"list-{number}", "Short. Words. Only. " * 200, "en") for number in range(4)]
    TokenStore.build(tmp_path, documents, tiny_tokenizer)
    encoders = {"en": ChatEncoder(tiny_tokenizer, TokenStore.open(tmp_path))}
    with pytest.raises(DataError, match=r"^corpus: no sentence of 12 to 40 words .*long_align.*prose"):
        list(baseline_samples(builder_in("en", encoders, seeds_in), "long_align", 1))
