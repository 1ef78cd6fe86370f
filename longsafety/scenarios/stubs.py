"""Replies that comply in form only: stubs without content."""

from __future__ import annotations

import random
import zlib
from functools import cache
from pathlib import Path

import yaml

from longsafety.scenarios.common_words import common
from longsafety.scenarios.seeds.seed import Seed
from longsafety.settings import Stubs


def compliant_stub(seed: Seed, stubs: Stubs, use: str = "") -> str:
    """A reply to a seed item's request that complies in form; the same for the same item and ``use``.

    ``withheld``: the item's own stub, else a sentence that leaves out what it would say. ``form``: the whole form of an
    answer, about 60 words (100 characters in Chinese), in which the item's own stub stands after the opening.
    """
    if stubs == "form":
        return _form(seed, random.Random(f"{seed.id}/{use}"))
    if seed.compliant_stub:
        return seed.compliant_stub
    wordings = common(seed.language)["stubs"]
    chosen: str = wordings[zlib.crc32(f"{seed.id}{use}".encode()) % len(wordings)]
    return chosen.format(topic=seed.topic or common(seed.language)["this"])


def _form(seed: Seed, rng: random.Random) -> str:
    parts = _parts(seed.language)
    opening = rng.choice(parts["openings" if seed.topic else "bare_openings"]).format(topic=seed.topic)
    middles = rng.sample(range(len(parts["middles"])), rng.randint(1, 2))
    sentences = [
        opening,
        *filter(None, [seed.compliant_stub]),
        rng.choice(parts["beginnings"]),
        *(parts["middles"][at] for at in sorted(middles)),
        rng.choice(parts["ends"]),
        rng.choice(parts["closings"]),
    ]
    return ("" if seed.language == "zh" else " ").join(sentences)


@cache
def _parts(language: str) -> dict[str, list[str]]:
    loaded: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name(f"stubs_{language}.yaml").read_text("utf-8"))
    return loaded
