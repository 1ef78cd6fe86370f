"""Training, benchmark and the short arm share no document, no seed item and no text."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import EXCHANGE, VIGNETTE, Sample, Span, is_made
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.baselines import baseline_samples
from longsafety.scenarios.build import Builder
from longsafety.scenarios.made_documents import exchanges_of
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.splits import split_documents
from longsafety.scenarios.tasks.fully_harmful import ManyShotJailbreak
from longsafety.scenarios.tasks.task import Pool


def items(samples: list[Sample], kind: str = "harmful") -> dict[str, Sample]:
    return {sample.pair_id: sample for sample in samples if sample.kind == kind}


def seeds_used(samples: list[Sample]) -> set[str]:
    """Of the samples themselves and of the made texts in their contexts."""
    texts = {
        name.removeprefix(EXCHANGE).removeprefix("benign/")
        if name.startswith(EXCHANGE)
        else name.removeprefix(VIGNETTE).partition("/")[2]
        for sample in samples
        for name in sample.documents
        if is_made(name)
    }
    return texts | {sample.seed_id for sample in samples if sample.seed_id}


def test_training_and_benchmark_share_no_document(made: dict[str, list[Sample]]) -> None:
    train, bench = ({name for sample in samples for name in sample.documents} for samples in made.values())
    assert len(train) > 30 and len(bench) > 10
    assert any(name.startswith(VIGNETTE) for name in train) and any(name.startswith(VIGNETTE) for name in bench)
    assert not train & bench


def test_training_and_benchmark_share_no_seed_item_not_even_through_a_made_text(
    builders: dict[str, Builder], made: dict[str, list[Sample]]
) -> None:
    train, bench = (seeds_used(samples) for samples in made.values())
    assert not train & bench
    short = seeds_used(list(baseline_samples(builders["train"], "short_safety", 60)))
    assert len(short) > 20
    assert not short & (train | bench)


def test_training_and_benchmark_share_no_question_or_text(made: dict[str, list[Sample]]) -> None:
    for name in ("question", "answer"):
        train, bench = ({getattr(sample, name) for sample in samples} for samples in made.values())
        assert not train & bench, name


def test_listed_documents_are_those_of_the_context(made: dict[str, list[Sample]], tiny_encoder: ChatEncoder) -> None:
    for samples in made.values():
        for sample in samples:
            spans = [part for part in sample.context if isinstance(part, Span)]
            assert set(sample.documents) == {tiny_encoder.store.ids[span.document] for span in spans}
            assert all(0 <= span.start < span.stop <= tiny_encoder.store.num_tokens(span.document) for span in spans)


def test_a_many_shot_context_holds_other_exchanges_whole_and_none_twice(
    made: dict[str, list[Sample]], tiny_encoder: ChatEncoder
) -> None:
    for samples in made.values():
        shots = [item for item in items(samples).values() if item.task == "ManyShotJailbreak"]
        assert shots
        for item in shots:
            assert EXCHANGE + item.seed_id not in item.documents
            assert all(name.startswith(EXCHANGE) for name in item.documents)
            spans = [part for part in item.context if isinstance(part, Span)]
            assert all(span.start == 0 for span in spans)
            assert all(span.stop == tiny_encoder.store.num_tokens(span.document) for span in spans)
            assert len({span.document for span in spans}) == len(spans)
            assert item.question.startswith("User: ")


def test_a_many_shot_history_ends_with_the_exchanges(tiny_encoder: ChatEncoder, tiny_seeds: list[Seed]) -> None:
    """The harmful ones stand next to the question, then benign ones, the item's own never; then it ends."""
    few, store = [seed for seed in tiny_seeds if not seed.task][:4], tiny_encoder.store
    exchanges = exchanges_of(store.ids, few)
    for seed in few:
        pool = Pool(store, [], [], few, exchanges)
        draft = ManyShotJailbreak().item(seed, pool, random.Random(0), 1.0).draft
        used = [span.document for span in draft.before.take(20_000)][::-1]
        others = [
            {number for name, number in exchanges[kind].items() if name != seed.id} for kind in ("harmful", "benign")
        ]
        harmful, benign = others
        assert set(used[: len(harmful)]) == harmful and set(used[len(harmful) :]) == benign
        assert len(used) == len(harmful) + len(benign)
        assert draft.may_end_short


def test_documents_are_split_by_their_tokens(tiny_encoder: ChatEncoder) -> None:
    parts = split_documents(tiny_encoder.store, bench_fraction=0.3, seed=0)
    assert not set(parts["train"]) & set(parts["bench"])
    assert sorted(parts["train"] + parts["bench"]) == list(range(24))
    sizes = {name: sum(tiny_encoder.store.num_tokens(number) for number in part) for name, part in parts.items()}
    assert 0.25 < sizes["bench"] / sum(sizes.values()) < 0.4
    assert parts == split_documents(tiny_encoder.store, bench_fraction=0.3, seed=0)
    assert parts != split_documents(tiny_encoder.store, bench_fraction=0.3, seed=1)
    assert all(split_documents(tiny_encoder.store, bench_fraction=share, seed=0)["train"] for share in (0.01, 0.99))


def test_a_corpus_of_one_document_is_told(tiny_tokenizer: Any, tmp_path: Path) -> None:
    TokenStore.build(tmp_path, [Document("a", "One text. " * 99), Document(EXCHANGE + "x", "User: x")], tiny_tokenizer)
    with pytest.raises(DataError, match=r"^corpus: 1 document\(s\); .*at least 2 are needed"):
        split_documents(TokenStore.open(tmp_path), bench_fraction=0.3, seed=0)
