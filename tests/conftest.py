"""The random tiny model, and a small corpus of its own: offline, made once a session."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longsafety.model.load import load_tokenizer
from longsafety.model.tiny import seed_texts
from longsafety.scenarios.corpus import Document
from longsafety.scenarios.encode import ChatEncoder
from longsafety.scenarios.fully_harmful import made_documents
from longsafety.scenarios.seeds import Seed, load_seeds
from longsafety.scenarios.store import TokenStore
from longsafety.settings import Model

NUM_DOCUMENTS, SENTENCES = 24, 60


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_one_thread() -> Iterator[None]:
    """For matrices this small, threads that wait for each other take longer than the work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    return Model(name="tiny", source="tiny", window=2048)


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_cache: Path, tiny_model: Model) -> Any:
    return load_tokenizer(tiny_model, tiny_cache)


@pytest.fixture(scope="session")
def tiny_seeds() -> list[Seed]:
    return load_seeds("shipped").seeds


@pytest.fixture(scope="session")
def tiny_documents() -> list[Document]:
    """Prose of made-up sentences: 24 documents of 60 sentences of 5 to 25 words."""
    words = sorted({word for text in seed_texts() for word in text.lower().split() if word.isalpha()})
    rng = random.Random(7)

    def sentence() -> str:
        return " ".join(rng.choices(words, k=rng.randint(5, 25))).capitalize() + rng.choice(".....!?")

    def text() -> str:
        return "".join(sentence() + rng.choice([" ", " ", " ", "\n\n"]) for _ in range(SENTENCES)).strip()

    return [Document(f"doc-{number:02d}", text()) for number in range(NUM_DOCUMENTS)]


@pytest.fixture(scope="session")
def tiny_encoder(
    tiny_tokenizer: Any,
    tiny_documents: list[Document],
    tiny_seeds: list[Seed],
    tmp_path_factory: pytest.TempPathFactory,
) -> ChatEncoder:
    """Over a store with the documents and the texts that are made of the shipped seed items."""
    folder = tmp_path_factory.mktemp("store")
    TokenStore.build(folder, [*tiny_documents, *made_documents(tiny_seeds)], tiny_tokenizer)
    return ChatEncoder(tiny_tokenizer, TokenStore.open(folder))
