"""A sample's parts have their licences; of several the strictest counts."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any

import pytest

from longsafety.samples.licence import (
    AS_CORPUS,
    DOCUMENTS,
    LICENCE_ORDER,
    UNKNOWN,
    WORDS,
    licences,
    restriction,
    strictest,
)
from longsafety.samples.recipe import Sample


def parts(licence: str, *documents: str, corpus: str = "CC-BY-4.0") -> dict[str, str]:
    plain: dict[str, Any] = dict.fromkeys(
        ("id", "pair_id", "task", "scenario", "kind", "category", "seed_id", "question", "answer"), "x"
    )
    return licences(Sample(**plain, context=(), licence=licence, documents=documents), corpus)


def test_documents_have_the_corpus_licence_and_words_the_seed_items() -> None:
    assert parts("MIT", "book") == {DOCUMENTS: "CC-BY-4.0", WORDS: "MIT"}
    assert parts("MIT", "exchange:a", "book") == {DOCUMENTS: "CC-BY-4.0", WORDS: "MIT"}
    assert parts(AS_CORPUS, "book") == {DOCUMENTS: "CC-BY-4.0"}


def test_texts_made_of_seed_items_and_short_samples_carry_the_seeds_licence_alone() -> None:
    assert parts("MIT") == parts("MIT", "exchange:a", "vignette:00/b") == {WORDS: "MIT"}


def test_what_nobody_gave_is_unknown() -> None:
    assert parts("") == parts(AS_CORPUS) == {WORDS: UNKNOWN}
    assert parts("", "book") == {DOCUMENTS: "CC-BY-4.0", WORDS: UNKNOWN}
    assert parts("MIT", "book", corpus="") == {DOCUMENTS: UNKNOWN, WORDS: "MIT"}


@pytest.mark.parametrize(("strict", "loose"), pairwise(LICENCE_ORDER))
def test_the_strictest_does_not_depend_on_order_or_case(strict: str, loose: str) -> None:
    for order in permutations([strict, loose, loose.lower()]):
        assert strictest(order) == strict
    assert strictest([strict.lower(), loose]) == strict.lower()


def test_a_licence_that_is_not_known_is_the_strictest_and_none_is_unknown() -> None:
    assert strictest(["MIT", "Custom-1", "unknown", "Bespoke"]) == "Bespoke"
    assert strictest([]) == UNKNOWN


@pytest.mark.parametrize(
    ("licence", "asked"),
    [
        ("MIT, PSF-2.0, BSD", ""),
        ("cc-by-nc-4.0", "non-commercial use only"),
        ("MIT, CC-BY-NC-4.0", "non-commercial use only"),
        ("MIT, My-Terms-1.0", "not known here; read it before use"),
    ],
)
def test_what_a_licence_asks_for_is_that_of_its_parts(licence: str, asked: str) -> None:
    assert restriction(licence) == asked
