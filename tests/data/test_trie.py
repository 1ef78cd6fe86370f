"""A trie holds every row whole, and what rows share once."""

from __future__ import annotations

import random

import numpy as np
import pytest

from longsafety.data.trie import Node, Trie, families


def row(*parts: tuple[int, int]) -> np.ndarray:
    """Parts are (seed, tokens): equal parts are equal tokens."""
    return np.concatenate([np.random.default_rng(seed).integers(0, 50, size) for seed, size in parts]).astype(np.int32)


def held(trie: Trie, number: int) -> list[int]:
    ids: list[int] = trie.ids[trie.places(number)].tolist()
    return ids


def test_an_item_and_its_twins_are_a_prefix_and_suffixes() -> None:
    """Two questions on one context, and one that has another needle half way."""
    rows = [row((1, 300), (2, 200), (3, 40)), row((1, 300), (2, 200), (4, 30)), row((1, 300), (5, 210))]
    trie = Trie.of(rows)
    assert sorted(node.num_tokens for node in trie.nodes) == [30, 40, 200, 210, 300]
    assert trie.num_tokens == 780
    assert [held(trie, number) for number in range(3)] == [one.tolist() for one in rows]
    root = trie.nodes.index(Node(300))
    assert {path[0] for path in trie.paths} == {root}
    assert len(trie.paths[2]) == 2 and len(trie.paths[0]) == 3


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_held_whole_with_its_positions(seed: int) -> None:
    draw = random.Random(seed)
    rows = [
        row(*((draw.randrange(2) + 10 * depth, 5 + depth) for depth in range(draw.randint(1, 6)))) for _ in range(9)
    ]
    trie = Trie.of(rows, min_shared=1)
    for number, ids in enumerate(rows):
        places = trie.places(number)
        assert trie.ids[places].tolist() == ids.tolist()
        assert trie.positions[places].tolist() == list(range(len(ids)))
    beginnings = {tuple(ids[:stop].tolist()) for ids in rows for stop in range(1, len(ids) + 1)}
    assert trie.num_tokens == len(beginnings), "every beginning once"


def test_short_beginnings_are_not_shared() -> None:
    rows = [row((1, 63), (2, 50)), row((1, 63), (3, 50))]
    assert Trie.of(rows).num_tokens == 226
    assert Trie.of(rows, min_shared=63).num_tokens == 163


def test_equal_rows_and_rows_that_go_on() -> None:
    rows = [row((1, 100)), row((1, 100)), row((1, 100), (2, 5)), row((1, 100), (2, 5))]
    trie = Trie.of(rows, min_shared=1)
    assert trie.num_tokens == 105
    assert [len(path) for path in trie.paths] == [1, 1, 2, 2]


def test_pairs_are_those_of_causal_attention() -> None:
    trie = Trie.of([row((1, 100), (2, 10)), row((1, 100), (3, 20))])
    assert trie.num_pairs == 100 * 101 // 2 + (10 * 100 + 55) + (20 * 100 + 210)
    assert Trie.of([row((1, 7))]).num_pairs == 28


def test_without_sharing_a_row_is_a_node() -> None:
    rows = [row((1, 100), (2, 10)), row((1, 100), (3, 20))]
    trie = Trie.of(rows, share=False)
    assert trie.nodes == [Node(110), Node(120)]
    assert [held(trie, number) for number in range(2)] == [one.tolist() for one in rows]


def test_families_share_half_of_the_shorter() -> None:
    context, other = (1, 500), (2, 500)
    rows = [
        row(context, (3, 40)), row(other, (4, 40)), row((5, 70), (6, 400)), row(context, (7, 60)),
        row(other, (8, 300)), row((5, 70), (9, 400)), row((10, 60), (11, 1)), row((10, 60), (12, 1)),
    ]  # fmt: skip
    assert families(rows) == [[0, 3], [1, 4], [2], [5], [6], [7]]
    assert families(rows[:1]) == [[0]]
