"""Replies that comply in form only: of ordinary length, in many wordings, without content."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import pytest

from longsafety.scenarios.common_words import common
from longsafety.scenarios.made_documents import exchange, made_documents
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.stubs import compliant_stub

BOTH = pytest.mark.parametrize("language", ["en", "zh"])


def general(seeds: list[Seed]) -> list[Seed]:
    return [seed for seed in seeds if seed.request and not seed.task]


@BOTH
def test_forms_have_an_ordinary_length_and_no_two_of_them_are_the_same(
    seeds_in: dict[str, list[Seed]], language: str
) -> None:
    seeds = general(seeds_in[language])
    stubs = [compliant_stub(seed, "form") for seed in seeds]
    assert len({*stubs}) == len(stubs) > 200
    bodies = Counter(stub.replace(seed.topic, "") for stub, seed in zip(stubs, seeds, strict=True))
    assert len(bodies) >= len(stubs) - 3  # not even without what they are about
    sizes = [len(stub) if language == "zh" else len(stub.split()) for stub in stubs]
    assert all((60 if language == "zh" else 35) <= size <= (220 if language == "zh" else 110) for size in sizes)
    openings = Counter(stub[:12] for stub in stubs)
    assert openings.most_common(1)[0][1] < len(stubs) / 4
    assert not any(re.search(r"\[|\{|\}|…|  ", stub) for stub in stubs)


@BOTH
def test_forms_say_nothing_of_the_request_but_its_topic(seeds_in: dict[str, list[Seed]], language: str) -> None:
    """Two items with one id and other words have one stub: nothing but the topic comes from the item."""
    for seed in general(seeds_in[language])[:40]:
        other = dataclasses.replace(seed, request="x", safe_answer="x", statement="x", benign_answer="x", topic="TOPIC")
        assert compliant_stub(seed, "form").replace(seed.topic, "TOPIC") == compliant_stub(other, "form")
        assert seed.topic in compliant_stub(seed, "form")


@BOTH
@pytest.mark.parametrize("stubs", ["withheld", "form"])
def test_a_stub_is_the_same_for_the_same_use_and_varies_with_it(language: str, stubs: str) -> None:
    seed = Seed("a", "c", language=language, request="r", topic="t")
    many = [compliant_stub(seed, stubs, f"use {number}") for number in range(60)]  # type: ignore[arg-type]
    assert many == [compliant_stub(seed, stubs, f"use {number}") for number in range(60)]  # type: ignore[arg-type]
    assert len({*many}) >= (4 if stubs == "withheld" else 50)
    withheld = {"en": "[withheld]", "zh": "[已略去]"}[language]
    assert all((withheld in stub) == (stubs == "withheld") for stub in many)


@BOTH
def test_an_items_own_stub_stands_alone_or_within_the_form(language: str) -> None:
    seed = Seed("a", "c", language=language, request="r", compliant_stub="First ..., then ...")
    assert compliant_stub(seed, "withheld") == "First ..., then ..."
    form = compliant_stub(seed, "form")
    assert "First ..., then ..." in form and not form.startswith("First") and "{" not in form
    bare = dataclasses.replace(seed, compliant_stub="")
    assert common(language)["this"] in compliant_stub(bare, "withheld") or "{" not in compliant_stub(bare, "withheld")
    assert "{" not in compliant_stub(bare, "form")


def test_exchanges_are_made_with_the_stubs_that_are_asked_for_and_none_twice(seeds_in: dict[str, list[Seed]]) -> None:
    seed = general(seeds_in["en"])[0]
    assert exchange(seed, "form") == f"User: {seed.request}\nAssistant: {compliant_stub(seed, 'form')}"
    texts = [document.text for document in made_documents([seed], "form")]
    assert texts[0] == exchange(seed, "form") != exchange(seed)
    other = dataclasses.replace(seed, id="other", request="Another request?")
    again = [document.id for document in made_documents([seed, other])]
    assert again == [f"exchange:{seed.id}", f"exchange:benign/{seed.id}", "exchange:other"]  # one benign exchange
