"""Which heads can be dealt to ranks, and that transformers' attention is its own again afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from longsafety.model.attention import NAME, trie_attention
from longsafety.model.sequence import heads_problem, whole_sequences_again
from longsafety.model.shape import Shape

SHAPE = Shape(layers=1, hidden=64, heads=28, kv_heads=4, head_dim=4, intermediate=64, vocabulary=100)


@pytest.mark.parametrize(("size", "fits"), [(2, True), (4, True), (7, False), (8, False), (14, False), (28, True)])
def test_heads_are_dealt_evenly_or_repeated(size: int, fits: bool) -> None:
    assert (heads_problem(SHAPE, size) is None) == fits
    assert heads_problem(replace(SHAPE, heads=32), 8) is None  # 4 of keys and values, each twice


def test_the_exchange_is_taken_out_even_after_an_error() -> None:
    with pytest.raises(ValueError, match="training"), whole_sequences_again():
        ALL_ATTENTION_FUNCTIONS[NAME] = print
        raise ValueError("training")
    assert ALL_ATTENTION_FUNCTIONS[NAME] is trie_attention
