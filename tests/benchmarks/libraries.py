"""Retrieval and near-duplicates are libraries' work: what our layer adds to calling them directly.

python tests/benchmarks/libraries.py CORPUS
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from setting import encoder_over, median_seconds, tell, tokenizers

from longsafety.corpus.corpus import read_documents
from longsafety.corpus.retrieval import _WORD, Index, passages
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.tasks.task import PASSAGE_TOKENS
from longsafety.settings import Corpus


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    corpus = parser.parse_args().corpus
    documents = read_documents(Corpus(source=corpus)).documents
    tokenizer = tokenizers([document.text for document in documents])["byte-level BPE"]
    queries = [seed.request for seed in load_seeds("shipped").seeds if seed.request]
    with tempfile.TemporaryDirectory() as folder:
        store = encoder_over(Path(folder), corpus, tokenizer).store
        texts = [
            store.text(span.document, span.start, span.stop)
            for number in range(len(documents))
            for span in passages(store, number, PASSAGE_TOKENS)
        ]
    own, peer = Index(texts), bm25s.BM25()

    def tokens(batch: list[str], **options: object) -> Any:
        """``Tokenized``; lists of words with ``return_ids=False``."""
        return bm25s.tokenize(batch, stopwords="en", token_pattern=_WORD, show_progress=False, **options)

    def index_directly() -> None:
        peer.index(tokens(texts), show_progress=False)

    def rank_directly() -> list[np.ndarray]:
        return [
            np.argsort(-peer.get_scores([word for word in words if word in peer.vocab_dict]), kind="stable")
            for words in tokens(queries, return_ids=False)
        ]

    def rank() -> list[np.ndarray]:
        own._rankings.clear()
        return [own.ranking(query) for query in queries]

    index_directly()
    same = sum(np.array_equal(mine, theirs) for mine, theirs in zip(rank(), rank_directly(), strict=True))
    assert same == len(queries), f"only {same} of {len(queries)} rankings are equal"
    ranking = median_seconds([rank, rank_directly])
    indexing = median_seconds([lambda: Index(texts), index_directly])
    tell(
        "libraries",
        {
            "passages": len(texts),
            "queries, equal rankings": same,
            "indexing, ours / bm25s": round(indexing[0] / indexing[1], 3),
            "ranking, ours / bm25s": round(ranking[0] / ranking[1], 3),
        },
    )


if __name__ == "__main__":
    main()
