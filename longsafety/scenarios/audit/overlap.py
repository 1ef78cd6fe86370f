"""How much two sets of texts share: token n-grams of two sets of documents, and near duplicates within one set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from longsafety.samples.language import UNSPACED
from longsafety.samples.store import TokenStore

UInt64Array = npt.NDArray[np.uint64]

NGRAM_TOKENS = 13
SHINGLE_WORDS = 5
NEAR_DUPLICATE = 0.8
"""Jaccard similarity of two texts' word 5-grams from which they count as near duplicates."""
SHOWN = 10
"""Documents, pairs or groups that are named; all are counted."""
_CHUNK = 1 << 20
"""Tokens hashed at a time."""
_SLOTS, _BANDS = 256, 64
"""Of a MinHash signature: a similarity is estimated to ±0.025, and bands of four find practically all pairs above 0.8
(the library's own choice of bands misses every second pair at 0.85)."""
# Chinese and Japanese have no spaces: each character counts as a word.
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


@dataclass(frozen=True)
class SharedNgrams:
    """Distinct n-grams of the benchmark's documents, those that the training documents have too, and where they lie."""

    bench: int
    shared: int
    documents: list[tuple[str, str, int, int]] = field(default_factory=list)
    """(split, document, n-grams in it that the other split has, n-grams in it), most shared first."""


@dataclass(frozen=True)
class NearDuplicates:
    """``near`` of the ``compared`` texts resemble an earlier one; the first such pairs with their similarity."""

    compared: int
    near: int
    pairs: list[tuple[str, str, float]]


def shared_ngrams(
    store: TokenStore, train: Sequence[int], bench: Sequence[int], num_tokens: int = NGRAM_TOKENS
) -> SharedNgrams:
    """Compares two sets of documents (numbers of the store) by the n-grams of their token ids.

    N-grams are compared as 64-bit hashes. Held in memory are the distinct ones of the benchmark's documents, 8 bytes
    each, because the reported share is theirs and they are the smaller side. The training side is read in chunks.
    """
    chunks = [_distinct(hashes) for hashes, _ in _ngrams(store, bench, num_tokens)]
    known = _distinct(np.concatenate(chunks)) if chunks else np.zeros(0, np.uint64)
    del chunks
    found = np.zeros(len(known), dtype=bool)

    def counted(
        split: str, documents: Sequence[int], is_shared: Callable[[UInt64Array], npt.NDArray[np.bool_]]
    ) -> list[tuple[str, int, int, int]]:
        """(split, document, shared n-grams, n-grams) of each."""
        counts = {document: [0, 0] for document in documents}
        for hashes, owners in _ngrams(store, documents, num_tokens):
            members, places = np.unique(owners, return_inverse=True)
            shared = np.bincount(places, weights=is_shared(hashes), minlength=len(members))
            for member, here, total in zip(members, shared, np.bincount(places), strict=True):
                counts[int(member)][0] += int(here)
                counts[int(member)][1] += int(total)
        return [(split, document, here, total) for document, (here, total) in counts.items()]

    def mark(hashes: UInt64Array) -> npt.NDArray[np.bool_]:
        if not len(known):
            return np.zeros(len(hashes), dtype=bool)
        places = np.minimum(_places(known, hashes), len(known) - 1)
        same: npt.NDArray[np.bool_] = known[places] == hashes
        found[places[same]] = True
        return same

    def marked(hashes: UInt64Array) -> npt.NDArray[np.bool_]:
        return found[_places(known, hashes)]

    rows = counted("train", train, mark) + counted("bench", bench, marked)
    rows.sort(key=lambda row: (-row[2], row[0], row[1]))
    named = [(split, store.ids[document], here, total) for split, document, here, total in rows[:SHOWN] if here]
    return SharedNgrams(len(known), int(found.sum()), named)


def _distinct(hashes: UInt64Array) -> UInt64Array:
    """Rising. ``np.unique`` fills a hash table first, which takes many times as long for millions of distinct ones."""
    rising = np.sort(hashes)
    new = np.ones(len(rising), dtype=bool)
    new[1:] = rising[1:] != rising[:-1]
    return rising[new]


def _places(known: UInt64Array, hashes: UInt64Array) -> npt.NDArray[np.intp]:
    """``np.searchsorted``, asked in rising order, which reads ``known`` from its beginning to its end."""
    order = np.argsort(hashes)
    places = np.empty(len(hashes), dtype=np.intp)
    places[order] = np.searchsorted(known, hashes[order])
    return places


def _ngrams(
    store: TokenStore, documents: Iterable[int], num_tokens: int
) -> Iterator[tuple[UInt64Array, npt.NDArray[np.int64]]]:
    """Hashes of the documents' n-grams and the document of each, both (n,), for about ``_CHUNK`` tokens at a time."""
    pieces: list[npt.NDArray[np.uint32]] = []
    owners: list[int] = []
    size = 0
    for document in documents:
        tokens = store.tokens(document)
        for start in range(0, len(tokens) - num_tokens + 1, _CHUNK):
            pieces.append(tokens[start : start + _CHUNK + num_tokens - 1])
            owners.append(document)
            size += len(pieces[-1])
            if size >= _CHUNK:
                yield _hashed(pieces, owners, num_tokens)
                pieces, owners, size = [], [], 0
    if pieces:
        yield _hashed(pieces, owners, num_tokens)


def _hashed(
    pieces: Sequence[npt.NDArray[np.uint32]], owners: Sequence[int], num_tokens: int
) -> tuple[UInt64Array, npt.NDArray[np.int64]]:
    piece = np.repeat(np.arange(len(pieces)), [len(tokens) for tokens in pieces])
    within = piece[: len(piece) - num_tokens + 1] == piece[num_tokens - 1 :]
    hashes = window_hashes(np.concatenate(pieces), num_tokens)
    return hashes[within], np.asarray(owners, dtype=np.int64)[piece[: len(within)][within]]


def window_hashes(ids: npt.NDArray[np.uint32], size: int) -> UInt64Array:
    """64-bit hashes of all windows of ``size`` ids, shape (len(ids) - size + 1,): a polynomial in mixed ids."""
    mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    count = max(len(ids) - size + 1, 0)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(size):
        hashes *= np.uint64(0xD6E8FEB86659FD93)
        hashes += mixed[offset : offset + count]
    return hashes


def near_duplicates(texts: Iterable[tuple[str, str]]) -> NearDuplicates:
    """Texts, as (name, text), that resemble an earlier one in their word 5-grams (MinHash and LSH, by ``rensa``).

    Each text is compared with the earlier ones that resemble no other, so that many alike cost no more than few.
    """
    from rensa import RMinHash, RMinHashDeduplicator

    known = RMinHashDeduplicator(threshold=NEAR_DUPLICATE, num_perm=_SLOTS, use_lsh=True, num_bands=_BANDS)
    signatures = {}
    compared, near = 0, 0
    pairs: list[tuple[str, str, float]] = []
    for name, text in texts:
        shingles = _shingles(text)
        if not shingles:
            continue
        compared += 1
        signature = RMinHash(_SLOTS, 42)
        signature.update(shingles)
        if known.add(name, signature):
            signatures[name] = signature
            continue
        near += 1
        if len(pairs) < SHOWN:
            alike = [(signature.jaccard(signatures[other]), other) for other in known.get_duplicates(signature)]
            if alike:  # none: the very name again
                similarity, other = max(alike)
                pairs.append((other, name, round(similarity, 3)))
    return NearDuplicates(compared, near, pairs)


def _shingles(text: str) -> list[str]:
    words = _WORD.findall(text.casefold())
    if len(words) <= SHINGLE_WORDS:
        return [" ".join(words)] if words else []
    return list(map(" ".join, zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)))
