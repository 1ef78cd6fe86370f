"""What two sets of texts share: token n-grams of documents, and near duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from longsafety.scenarios.audit import overlap
from longsafety.scenarios.audit.overlap import near_duplicates, shared_ngrams, window_hashes


class Store:
    """Documents of one token a word."""

    def __init__(self, documents: dict[str, str], languages: Sequence[str] = ()) -> None:
        self.ids = list(documents)
        self.languages = list(languages) or ["en"] * len(documents)
        self._words = [text.split() for text in documents.values()]
        vocabulary = {word: number for number, word in enumerate(sorted({w for words in self._words for w in words}))}
        self._tokens = [np.array([vocabulary[word] for word in words], dtype=np.uint32) for words in self._words]

    def num_tokens(self, document: int) -> int:
        return len(self._words[document])

    def tokens(self, document: int) -> np.ndarray:
        return self._tokens[document]

    def text(self, document: int, start: int, stop: int) -> str:
        return " ".join(self._words[document][start:stop])


def prose(seed: int, words: int = 400) -> str:
    return " ".join(f"w{number}" for number in np.random.default_rng(seed).integers(0, 5000, words))


def test_shared_ngrams_are_those_that_sets_of_tuples_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_CHUNK", 64)  # documents in several chunks
    copied = prose(1)
    store = Store(
        {"a": prose(0), "b": copied, "c": prose(2, 5), "d": f"{prose(7, 90)} {' '.join(copied.split()[50:90])}"}
    )

    def grams(*documents: int) -> set[tuple[int, ...]]:
        lists = [store.tokens(document).tolist() for document in documents]
        return {tuple(ids[at : at + 13]) for ids in lists for at in range(len(ids) - 12)}

    found = shared_ngrams(store, [0, 1], [2, 3])  # type: ignore[arg-type]
    assert (found.bench, found.shared) == (len(grams(2, 3)), len(grams(0, 1) & grams(2, 3))) == (118, 28)
    assert found.documents == [("bench", "d", 28, 118), ("train", "b", 28, 388)]


def test_no_ngram_reaches_from_one_document_into_the_next() -> None:
    whole = prose(0, 30)
    store = Store({"left": " ".join(whole.split()[:15]), "right": " ".join(whole.split()[15:]), "whole": whole})
    found = shared_ngrams(store, [0, 1], [2])  # type: ignore[arg-type]
    assert (found.bench, found.shared) == (18, 6)
    assert shared_ngrams(store, [2], []).bench == 0  # type: ignore[arg-type]


def test_window_hashes_tell_orders_and_places_apart() -> None:
    ids = np.array([1, 2, 3, 1, 2, 3, 2, 1, 3], dtype=np.uint32)
    hashes = window_hashes(ids, 3)
    assert len(hashes) == 7 and hashes[0] == hashes[3]
    assert len(set(hashes.tolist())) == 6
    assert len(window_hashes(ids, 10)) == 0


def test_near_duplicates_need_four_fifths_of_their_shingles() -> None:
    words = [f"w{number}" for number in range(200)]
    half = words[:100] + [f"x{number}" for number in range(100)]
    chinese = "病中疾痛惟病者知難與他人道亦惟病時覺既愈旋復忘之吾患病日多"
    texts = [("a", words), ("half", half), ("most", words[8:]), ("empty", [])]
    found = near_duplicates(
        [*((name, " ".join(part)) for name, part in texts), ("zh", chinese), ("zh2", f"{chinese}矣")]
    )
    assert (found.compared, found.near) == (5, 2)
    assert [pair[:2] for pair in found.pairs] == [("a", "most"), ("zh", "zh2")]
