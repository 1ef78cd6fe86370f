"""Keyword retrieval of passages (BM25, by ``bm25s``)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from longsafety.corpus.domains import DOMAINS, Domain, domains_of
from longsafety.samples.language import UNSPACED
from longsafety.samples.recipe import Span
from longsafety.samples.store import TokenStore

_WORD = rf"(?u)[{UNSPACED}]|\b\w\w+\b"
"""A word of two letters or more; each Chinese or Japanese character, as these write no spaces."""


class Index:
    """BM25 over a list of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self._size = len(texts)
        self._bm25 = bm25s.BM25()
        tokens = bm25s.tokenize(list(texts), stopwords="en", token_pattern=_WORD, show_progress=False)
        self._bm25.index(tokens, show_progress=False)
        self._rankings: dict[str, np.ndarray] = {}
        self._keywords: dict[str, list[str]] = {}

    def ranking(self, query: str) -> np.ndarray:
        """Positions of all texts, the best for the query's keywords (its words without stop words) first."""
        if query not in self._rankings:
            self._rankings[query] = self._ranked(query)
        return self._rankings[query]

    def knows(self, query: str) -> bool:
        """Whether a keyword of the query is in any text. If not, its ranking is the texts' own order."""
        return bool(self._known(query))

    def _ranked(self, query: str) -> np.ndarray:
        known = self._known(query)
        if not known:
            return np.arange(self._size, dtype=np.int32)
        return np.argsort(-self._bm25.get_scores(known), kind="stable").astype(np.int32)

    def _known(self, query: str) -> list[str]:
        if query not in self._keywords:
            self._keywords[query] = self._found(query)
        return self._keywords[query]

    def _found(self, query: str) -> list[str]:
        import bm25s

        tokens = bm25s.tokenize([query], stopwords="en", token_pattern=_WORD, show_progress=False, return_ids=False)[0]
        return [token for token in tokens if token in self._bm25.vocab_dict]


class PassageIndex:
    """BM25 over passages of some documents: whole sentences, about ``passage_tokens`` each."""

    def __init__(self, store: TokenStore, documents: Sequence[int], passage_tokens: int) -> None:
        self.passages = [span for document in documents for span in passages(store, document, passage_tokens)]
        self._store = store
        self._index = Index([self._text(span) for span in self.passages])

    def knows(self, query: str) -> bool:
        """Whether a keyword of the query is in any passage."""
        return self._index.knows(query)

    @cached_property
    def domains(self) -> dict[Domain, np.ndarray]:
        """Domain → for each passage whether it is prose of it. Reads every passage once."""
        found = [domains_of(self._text(span)) for span in self.passages]
        return {domain: np.array([domain in one for one in found], dtype=bool) for domain in DOMAINS}

    def sampled(self, query: str, rng: random.Random, domain: Domain | None = None) -> Iterator[Span]:
        """Passages in rank order, each left out with a chance of one half; then those that were left out.

        With a domain, first those that are prose of it, then in the same way the others.
        """
        ranking = self._index.ranking(query)
        if domain is None:
            yield from self._halved(ranking, rng)
            return
        within = self.domains[domain][ranking]
        yield from self._halved(ranking[within], rng)
        yield from self._halved(ranking[~within], rng)

    def _halved(self, positions: Iterable[int], rng: random.Random) -> Iterator[Span]:
        left_out = []
        for position in positions:
            if rng.random() < 0.5:
                yield self.passages[position]
            else:
                left_out.append(position)
        yield from (self.passages[position] for position in left_out)

    def _text(self, span: Span) -> str:
        return self._store.text(span.document, span.start, span.stop)


def passages(store: TokenStore, document: int, passage_tokens: int) -> Iterator[Span]:
    """A document cut at sentence starts into passages of at most ``passage_tokens`` where sentences allow."""
    bounds = [0, *(int(start) for start in store.sentence_starts(document) if start), store.num_tokens(document)]
    start = 0
    for previous, bound in pairwise(bounds):
        if bound - start > passage_tokens and previous > start:
            yield Span(document, start, previous)
            start = previous
    if bounds[-1] > start:
        yield Span(document, start, bounds[-1])
