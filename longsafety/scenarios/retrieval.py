"""Keyword retrieval of passages (BM25, by ``bm25s``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import bm25s

from longsafety.scenarios.recipe import Span
from longsafety.scenarios.store import TokenStore


class Index:
    """BM25 over a list of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._size = len(texts)
        self._bm25 = bm25s.BM25()
        self._bm25.index(bm25s.tokenize(list(texts), stopwords="en", show_progress=False), show_progress=False)

    def ranked(self, query: str, count: int) -> list[int]:
        """Positions of the ``count`` best texts for the query's keywords (its words without stop words)."""
        count = min(count, self._size)
        tokens = bm25s.tokenize([query], stopwords="en", show_progress=False, return_ids=False)
        if not tokens[0]:
            return list(range(count))
        rows, _ = self._bm25.retrieve(tokens, k=count, show_progress=False, n_threads=1)
        return [int(row) for row in rows[0]]


class PassageIndex:
    """BM25 over passages of some documents: whole sentences, about ``passage_tokens`` each."""

    def __init__(self, store: TokenStore, documents: Sequence[int], passage_tokens: int) -> None:
        self.passages = [span for document in documents for span in passages(store, document, passage_tokens)]
        self._passage_tokens = passage_tokens
        self._index = Index([store.text(span.document, span.start, span.stop) for span in self.passages])

    def retrieve(self, query: str, budget: int) -> Iterator[Span]:
        """Passages in rank order, at first enough for about ``budget`` tokens, then the rest."""
        count = budget // max(self._passage_tokens // 2, 1) + 2
        first = self._index.ranked(query, count)
        yield from (self.passages[position] for position in first)
        if count < len(self.passages):
            seen = set(first)
            rest = self._index.ranked(query, len(self.passages))
            yield from (self.passages[position] for position in rest if position not in seen)


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
