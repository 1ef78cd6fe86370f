"""Documents that are made of seed items: answered exchanges, and vignettes of what somebody did."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from longsafety.samples.recipe import EXCHANGE, VIGNETTE
from longsafety.samples.store import Document
from longsafety.scenarios.common_words import common, listed
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.stubs import compliant_stub
from longsafety.settings import Stubs

_CHAPTERS = 12
"""Vignettes a person, each of other deeds in other words."""
_OPENED = 5
"""Deeds up to which a vignette has an opening sentence: more of them fill a context of 256 tokens by themselves."""
_BENIGN = "benign/"


def made_documents(seeds: Sequence[Seed], stubs: Stubs = "withheld") -> list[Document]:
    """The texts that are made of seed items: answered exchanges, and vignettes of what somebody did.

    Their ids begin with ``EXCHANGE`` or ``VIGNETTE`` and end with the seed's id, so that splits keep them apart. No
    exchange stands there twice, under whatever ids.
    """
    made: list[Document] = []
    told: set[str] = set()
    for seed in seeds:
        if seed.request and (not seed.task or seed.compliant_stub):
            exchanges = {EXCHANGE + seed.id: exchange(seed, stubs)}
            if seed.has_twin:
                exchanges[EXCHANGE + _BENIGN + seed.id] = _benign_exchange(seed)
            for name, text in exchanges.items():
                if text not in told:
                    made.append(Document(name, text, seed.language))
                told.add(text)
        if seed.crimes:
            made += _vignettes(seed)
    return made


def exchange(seed: Seed, stubs: Stubs = "withheld") -> str:
    """A harmful request and its "compliant" answer, a stub without content."""
    say = common(seed.language)
    return f"{say['user']}{seed.request}\n{say['assistant']}{compliant_stub(seed, stubs)}"


def _benign_exchange(seed: Seed) -> str:
    say = common(seed.language)
    return f"{say['user']}{seed.benign_request}\n{say['assistant']}{seed.benign_answer}"


def _vignettes(seed: Seed) -> Iterator[Document]:
    seen: set[str] = set()
    for chapter in range(_CHAPTERS):
        rng = random.Random(f"{seed.id}/{chapter}")
        deeds = [*rng.sample(seed.crimes, min(2, len(seed.crimes))), rng.choice(seed.harmless)]
        rng.shuffle(deeds)
        text = vignette(seed.name, deeds, seed.language, rng)
        if text not in seen:
            yield Document(f"{VIGNETTE}{chapter:02d}/{seed.id}", text, seed.language)
        seen.add(text)


def vignette(name: str, deeds: Sequence[str], language: str, rng: random.Random) -> str:
    """A short text that says what a person did, in this order, two deeds a sentence; it opens with the place where the
    deeds are few."""
    say = common(language)["vignettes"]
    frames = [say["deeds"][0], *rng.sample(say["deeds"][1:], len(say["deeds"]) - 1)]
    pairs = [listed(deeds[at : at + 2], language) for at in range(0, len(deeds), 2)]
    told = [frames[at % len(frames)].format(name=name, deed=deed) for at, deed in enumerate(pairs)]
    opening = rng.choice(say["openings"])
    return ("" if language == "zh" else " ").join([opening, *told] if len(deeds) <= _OPENED else told)


def exchanges_of(ids: Sequence[str], seeds: Sequence[Seed]) -> dict[str, dict[str, int]]:
    """``harmful`` and ``benign`` exchanges of some seed items: seed id → document number."""
    wanted = {seed.id for seed in seeds}
    found: dict[str, dict[str, int]] = {"harmful": {}, "benign": {}}
    for number, name in enumerate(ids):
        if is_exchange(name):
            kind = "benign" if is_benign_exchange(name) else "harmful"
            seed_id = name.removeprefix(EXCHANGE).removeprefix(_BENIGN)
            if seed_id in wanted:
                found[kind][seed_id] = number
    return found


def is_exchange(document_id: str) -> bool:
    """Whether a stored text is an answered exchange."""
    return document_id.startswith(EXCHANGE)


def is_benign_exchange(document_id: str) -> bool:
    """Whether a stored text is an exchange of a benign request."""
    return document_id.startswith(EXCHANGE + _BENIGN)


def vignettes_of(ids: Sequence[str], seeds: Sequence[Seed]) -> list[int]:
    """Numbers of the vignettes of some seed items."""
    wanted = {seed.id for seed in seeds}
    return [number for number, name in enumerate(ids) if name.startswith(VIGNETTE) and name.partition("/")[2] in wanted]
