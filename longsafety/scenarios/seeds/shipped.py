"""The seed items that come with the program, and what they stand in for where a user's are not enough."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from longsafety.files import files_hash
from longsafety.samples.language import LANGUAGES
from longsafety.scenarios.seeds.seed import Seed, frozen

_FOLDER = Path(__file__).parent
SHIPPED = "shipped"
"""The value of ``scenario.seeds`` that means these."""


def shipped_seeds(language: str) -> list[Seed]:
    """All shipped items of a language, file by file: those for training, then the benchmark's.

    Items for a task of which the benchmark has its own are for training only.
    """
    return list(_shipped(language))


@cache
def _shipped(language: str) -> tuple[Seed, ...]:
    licence = seed_card()["licence"]
    seeds = [
        Seed(
            **{key: frozen(value) for key, value in json.loads(line).items()},
            language=language,
            licence=licence,
            origin=SHIPPED,
        )
        for entry in _files(language)
        for line in entry.read_text("utf-8").split("\n")
        if line
    ]
    benched = {seed.task for seed in seeds if seed.split == "bench"}
    return tuple(replace(seed, split="train") if seed.task in benched and not seed.split else seed for seed in seeds)


def seed_card() -> dict[str, Any]:
    """What the shipped items are: provenance, licence, the benchmark's version, a warning."""
    card: dict[str, Any] = yaml.safe_load((_FOLDER / "card.yaml").read_text("utf-8"))
    return card


def bench_fingerprint() -> str:
    """Content hash of the benchmark's shipped items, in all languages."""
    return files_hash((file for language in LANGUAGES for file in _bench_files(language)), _FOLDER)[:12]


def benchmark_name() -> str:
    """Version and fingerprint of the shipped benchmark, as reports and exports state them."""
    return f"{seed_card()['benchmark']}, fingerprint {bench_fingerprint()}"


def shipped_fingerprint() -> str:
    """Content hash of the shipped items, in all languages."""
    return files_hash((file for language in LANGUAGES for file in _files(language)), _FOLDER)


def substitutes(own: Sequence[Seed], shipped: Sequence[Seed], counts: Counter[str]) -> list[Seed]:
    """The shipped items for the tasks that a user's seeds are not for, under ids that the user's do not have.

    A user's seeds for one split of a task (``split: train``) leave the shipped ones of the other.
    """
    taken = {seed.id for seed in own}
    own = [seed for seed in own if not seed.is_control]
    general = [seed for seed in own if not seed.task]
    found: list[Seed] = []
    if general and not any(seed.statement for seed in general):
        counts["seeds bring no statement: the shipped statements are used for HarmfulNIAH"] = len(own)
        found += [replace(seed, request="") for seed in shipped if not seed.task]
    if general and not any(seed.request for seed in general):
        counts["seeds bring no request: the shipped ones are used for KeywordRAG and ManyShotJailbreak"] = len(own)
        found += [replace(seed, statement="") for seed in shipped if not seed.task]
    given = {(seed.task, split) for seed in own for split in _splits(seed)}
    given |= {("HarmfulNIAH", split) for seed in general if seed.statement for split in _splits(seed)}
    given |= {("ManyShotJailbreak", split) for seed in general if seed.request for split in _splits(seed)}
    for seed in shipped:
        lacking = [split for split in _splits(seed) if (seed.task, split) not in given]
        if lacking:
            found.append(seed if len(lacking) == len(_splits(seed)) else replace(seed, split=lacking[0]))
            both = not any((seed.task, split) in given for split in ("train", "bench"))
            named = (seed.task or "the general tasks") + ("" if both else f" ({lacking[0]})")
            counts[f"seeds bring none for {named}: the shipped ones are used"] += 1
    return [replace(seed, id=f"{SHIPPED}/{seed.id}") if seed.id in taken else seed for seed in found]


def _splits(seed: Seed) -> tuple[str, ...]:
    """Where the item may be used."""
    return (seed.split,) if seed.split else ("train", "bench")


def _files(language: str) -> list[Path]:
    return [*sorted((_FOLDER / language).glob("*.jsonl")), *_bench_files(language)]


def _bench_files(language: str) -> list[Path]:
    return sorted((_FOLDER / "bench" / language).glob("*.jsonl"))
