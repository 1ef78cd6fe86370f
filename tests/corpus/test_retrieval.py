"""Retrieval: the best first, also in Chinese; samples of a ranking that are the same again, and lose nothing."""

from __future__ import annotations

import random
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longsafety.corpus.retrieval import Index, PassageIndex, passages
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Span
from longsafety.samples.store import Document, TokenStore

TEXTS = (
    "The gardener waters the roses early in the morning.",
    "A locksmith opens the lock of a front door with a tension wrench.",
    "The orchestra plays a symphony in the old theatre.",
    "Every lock and every door of the old house was painted green.",
    "In winter the lake freezes, and children skate on it.",
)
CHINESE = (
    "园丁一大早就给玫瑰花浇水。",
    "锁匠用工具打开了大门上的锁。",
    "交响乐团在老剧院里演奏。",
    "冬天湖面结了冰，孩子们在上面滑冰。",
)


# Ranking


def test_the_best_text_for_a_query_comes_first() -> None:
    index = Index(TEXTS)
    for query, best in (("Who waters roses?", 0), ("a symphony orchestra", 2), ("children skating on a lake", 4)):
        assert index.ranking(query)[0] == best, query
    assert index.ranking("How does a locksmith open a lock?")[:2].tolist() == [1, 3]


def test_a_ranking_holds_every_text_once() -> None:
    for query in ("roses and a lock", "nothing of this", "the of and", "", "?!"):
        assert sorted(Index(TEXTS).ranking(query)) == list(range(len(TEXTS)))


def test_texts_that_share_no_word_with_the_query_keep_their_order() -> None:
    index = Index(TEXTS)
    for query in ("the of and", "zebra", ""):
        assert index.ranking(query).tolist() == [0, 1, 2, 3, 4]
    assert index.ranking("the symphony").tolist() == [2, 0, 1, 3, 4]


def test_words_that_no_text_has_do_not_change_a_ranking() -> None:
    index = Index(TEXTS)
    assert index.ranking("lock door zebra").tolist() == index.ranking("lock door").tolist()


def test_chinese_is_ranked_by_its_characters() -> None:
    index = Index(CHINESE)
    for query, best in (("怎么给玫瑰浇水？", 0), ("怎样撬开邻居的锁？", 1), ("乐团演奏什么？", 2), ("湖上能滑冰吗", 3)):
        assert index.ranking(query)[0] == best, query
    mixed = Index((*TEXTS, *CHINESE))
    assert mixed.ranking("玫瑰")[0] == len(TEXTS)
    assert mixed.ranking("roses")[0] == 0


def test_a_query_ranks_the_same_again_and_in_a_new_index() -> None:
    index = Index(TEXTS)
    first = index.ranking("the lock of an old door").tolist()
    index.ranking("another query")
    assert index.ranking("the lock of an old door").tolist() == first
    assert Index(TEXTS).ranking("the lock of an old door").tolist() == first
    assert index.ranking("the lock of an old door").dtype == np.int32


def test_an_index_says_whether_it_knows_a_keyword() -> None:
    index = Index(TEXTS)
    assert (
        index.knows("zebra lock") and not index.knows("zebra") and not index.knows("the of and") and not index.knows("")
    )
    assert not index.knows("玫瑰") and Index(CHINESE).knows("玫瑰")


# Passages


@pytest.fixture(scope="module")
def index(tiny_encoder: ChatEncoder) -> PassageIndex:
    return PassageIndex(tiny_encoder.store, range(6), 64)


@pytest.mark.parametrize("size", [1, 32, 64, 512])
def test_passages_tile_a_document_at_sentence_starts(tiny_encoder: ChatEncoder, size: int) -> None:
    store = tiny_encoder.store
    for document in range(3):
        found = list(passages(store, document, size))
        assert (found[0].start, found[-1].stop) == (0, store.num_tokens(document))
        assert all(one.stop == two.start for one, two in pairwise(found))
        starts = [*store.sentence_starts(document).tolist(), store.num_tokens(document)]
        assert {span.start for span in found} <= set(starts)
        for span in found:
            sentences = sum(span.start <= start < span.stop for start in starts)
            assert span.num_tokens <= size or sentences == 1
        for one, two in pairwise(found):  # none could have taken the sentence that follows
            following = next(start for start in starts if start > two.start)
            assert following - one.start > size


def test_a_document_without_tokens_has_no_passage(tmp_path: Path, tiny_tokenizer: Any) -> None:
    TokenStore.build(tmp_path, [Document("empty", ""), Document("one", "One sentence.")], tiny_tokenizer)
    store = TokenStore.open(tmp_path)
    assert list(passages(store, 0, 64)) == []
    assert list(passages(store, 1, 64)) == [Span(1, 0, store.num_tokens(1))]


def test_passages_are_those_of_the_named_documents_alone(tiny_encoder: ChatEncoder) -> None:
    some = PassageIndex(tiny_encoder.store, [4, 2], 64)
    assert {span.document for span in some.passages} == {2, 4}
    assert {span.document for span in some.sampled("anything", random.Random(0))} == {2, 4}


# Sampled


def query_of(index: PassageIndex, encoder: ChatEncoder) -> str:
    """The words of one passage."""
    span = index.passages[17]
    return encoder.store.text(span.document, span.start, span.stop)


def test_a_sampled_order_holds_every_passage_once(index: PassageIndex, tiny_encoder: ChatEncoder) -> None:
    for seed in range(4):
        drawn = list(index.sampled(query_of(index, tiny_encoder), random.Random(seed)))
        assert sorted(drawn) == sorted(index.passages)


def test_a_sampled_order_is_that_of_its_seed(index: PassageIndex, tiny_encoder: ChatEncoder) -> None:
    query = query_of(index, tiny_encoder)
    orders = [list(index.sampled(query, random.Random(seed))) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    again = PassageIndex(tiny_encoder.store, range(6), 64)
    assert list(again.sampled(query, random.Random(0))) == orders[0]


def test_a_longer_draw_begins_with_the_shorter(index: PassageIndex, tiny_encoder: ChatEncoder) -> None:
    """So that contexts of several lengths hold the same passages first."""
    query = query_of(index, tiny_encoder)
    whole = list(index.sampled(query, random.Random(5)))
    for count in (1, 7, len(whole) // 2, len(whole) - 1):
        assert list(islice(index.sampled(query, random.Random(5)), count)) == whole[:count]


def test_a_sampled_order_is_the_ranking_with_about_half_put_last(
    index: PassageIndex, tiny_encoder: ChatEncoder
) -> None:
    query = query_of(index, tiny_encoder)
    ranks = {span: rank for rank, span in enumerate(index.passages[at] for at in index._index.ranking(query))}
    for seed in range(4):
        drawn = [ranks[span] for span in index.sampled(query, random.Random(seed))]
        falls = [at for at, (one, two) in enumerate(pairwise(drawn), start=1) if two < one]
        assert len(falls) == 1  # two rising parts
        assert 0.3 < falls[0] / len(drawn) < 0.7
    firsts = {next(iter(index.sampled(query, random.Random(seed)))) for seed in range(20)}
    assert index.passages[17] in firsts
    assert all(ranks[span] < 8 for span in firsts)


def test_passages_of_a_domain_come_first_each_part_in_its_sampled_order(tmp_path: Path, tiny_tokenizer: Any) -> None:
    law = "The plaintiff and the defendant met in court, and the judge read the verdict to the tenant. "
    documents = [Document(f"plain-{number}", f"The gardener waters rose {number}. " * 9) for number in range(4)]
    documents += [Document(f"law-{number}", law + f"Case {number} was about roses. " * 9) for number in range(4)]
    TokenStore.build(tmp_path, documents, tiny_tokenizer)
    index = PassageIndex(TokenStore.open(tmp_path), range(8), 512)
    assert index.domains["law"].tolist() == [False] * 4 + [True] * 4 and not index.domains["medicine"].any()
    for seed in range(4):
        found = [span.document for span in index.sampled("gardener waters", random.Random(seed), "law")]
        assert sorted(found[:4]) == [4, 5, 6, 7] and sorted(found[4:]) == [0, 1, 2, 3]
    plain = [span.document for span in index.sampled("gardener", random.Random(1))]
    assert plain == [span.document for span in index.sampled("gardener", random.Random(1), "medicine")]
