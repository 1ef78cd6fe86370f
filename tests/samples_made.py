"""Builders over the tiny corpus, and stores with documents and made texts in two languages: made once a session."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.build import Builder, build
from longsafety.scenarios.made_documents import made_documents
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.settings import Length, Scenario, TaskCounts

LENGTH = Length(name="x", max_tokens=800, train_tokens=700)
ITEMS = TaskCounts(train=6, bench=5)


@pytest.fixture(scope="session")
def builders(tiny_encoder: ChatEncoder, tiny_seeds: list[Seed]) -> dict[str, Builder]:
    """``train`` and ``bench`` with every task: 6 and 5 items each, of 700 and 800 tokens."""
    scenario = Scenario(name="every task", tasks=dict.fromkeys(TASKS, ITEMS))
    return {
        split: build(scenario, LENGTH, tiny_seeds, tiny_encoder, split=split, seed=0) for split in ("train", "bench")
    }


@pytest.fixture(scope="session")
def made(builders: dict[str, Builder]) -> dict[str, list[Sample]]:
    """Their samples."""
    return {split: list(builder.samples()) for split, builder in builders.items()}


@pytest.fixture(scope="session")
def seeds_in() -> dict[str, list[Seed]]:
    """The shipped seed items by language."""
    return {language: load_seeds("shipped", language).seeds for language in ("en", "zh")}


@pytest.fixture(scope="session")
def encoders_in(
    tiny_tokenizer: Any,
    tiny_documents: list[Document],
    seeds_in: dict[str, list[Seed]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, ChatEncoder]:
    """Language of the texts that are made of seed items → encoder; the corpus's documents are in both languages."""
    rng = random.Random(3)
    sentences = [text for seed in seeds_in["zh"] for text in (seed.safe_answer, seed.benign_answer) if text]
    documents = [
        *(dataclasses.replace(document, language="en") for document in tiny_documents),
        *(Document(f"zh-{number:02d}", "".join(rng.sample(sentences, 30)), "zh") for number in range(16)),
    ]
    encoders = {}
    for language, seeds in seeds_in.items():
        folder = tmp_path_factory.mktemp(f"store-{language}")
        TokenStore.build(folder, [*documents, *made_documents(seeds)], tiny_tokenizer)
        encoders[language] = ChatEncoder(tiny_tokenizer, TokenStore.open(folder))
    return encoders
