"""The data mix of an arm: which samples it is trained on, in which order, and the table that says so."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longsafety.errors import DataError
from longsafety.scenarios.recipe import EXCHANGE, Sample
from longsafety.settings import DataMix

LICENCE_ORDER = (
    "unknown",
    "CC-BY-NC-SA-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-SA-4.0",
    "CC-BY-4.0",
    "MIT",
    "Apache-2.0",
    "CC0-1.0",
)
"""Strictest first; a mix carries the strictest licence of its parts."""
_KINDS: Mapping[str, Callable[[Sample], bool]] = {
    "longsafety": lambda sample: sample.kind == "harmful",
    "longsafety_short": lambda sample: sample.kind == "short",
    "benign_twins": lambda sample: sample.kind in ("benign_query", "benign_needle"),
    "short_safety": lambda sample: sample.kind == "short_safety",
    "long_align": lambda sample: sample.kind == "long_align",
}


@dataclass(frozen=True)
class Mix:
    """The samples of one pass, in training order, and a table row a source."""

    samples: list[Sample]
    rows: list[dict[str, Any]]


def compose_mix(
    mix: DataMix, samples: Sequence[Sample], answer_tokens: Callable[[Sample], int], *, licence: str, seed: int
) -> Mix:
    """Draws every source's share of the budget and shuffles.

    ``answer_tokens`` counts a sample's supervised tokens; ``licence`` is the corpus's. A source that has fewer
    samples than its share raises DataError: an arm must not see less than the others without a word.
    """
    chosen: list[Sample] = []
    rows: list[dict[str, Any]] = []
    share, given = 0.0, 0
    for name, source in mix.sources.items():
        of_kind = [sample for sample in samples if _KINDS[source.kind](sample)]
        share += source.share
        amount = round(share * mix.budget) - given  # rounds the running sum, so that the parts make the budget
        given += amount
        drawn = _draw(of_kind, amount, mix.budget_unit, answer_tokens, seed)
        if not drawn or drawn is of_kind:
            raise DataError(
                f"data_mix.sources.{name}: {len(of_kind)} {source.kind} samples do not fill its share "
                f"{source.share:g} of {mix.budget} {mix.budget_unit}; raise scenario.train_samples or lower "
                "data_mix.budget"
            )
        chosen += drawn
        rows.append(
            {
                "source": name,
                "samples": len(drawn),
                "tokens": sum(sample.num_tokens for sample in drawn),
                "supervised_tokens": sum(answer_tokens(sample) for sample in drawn),
                "share": source.share,
                "licence": _strictest([*{_licence(sample, licence) for sample in drawn}]),
                "fingerprint": _fingerprint(drawn),
            }
        )
    random.Random(f"{seed}/order").shuffle(chosen)
    return Mix(chosen, rows)


def _draw(
    samples: list[Sample], amount: int, unit: str, answer_tokens: Callable[[Sample], int], seed: int
) -> list[Sample]:
    """A seeded draw without repetition, kept even over tasks and kinds; the list itself where it does not suffice.

    Items are ranked by their pair, so that sources which draw harmful items and twins draw them of the same pairs.
    """
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.task, sample.kind), []).append(sample)
    ranked: list[tuple[float, str, Sample]] = []
    for members in groups.values():
        members.sort(key=lambda sample: hashlib.sha256(f"{seed}/{sample.pair_id}".encode()).hexdigest())
        ranked += [((rank + 0.5) / len(members), sample.id, sample) for rank, sample in enumerate(members)]
    ranked.sort(key=lambda entry: entry[:2])
    drawn: list[Sample] = []
    total = 0
    for _, _, sample in ranked:
        if total >= amount:
            return drawn
        drawn.append(sample)
        total += answer_tokens(sample) if unit == "tokens" else 1
    return drawn if total >= amount else samples


def _licence(sample: Sample, corpus: str) -> str:
    if sample.seed_id == "":
        return corpus
    from_corpus = any(not document.startswith(EXCHANGE) for document in sample.documents)
    return _strictest([sample.licence, corpus]) if from_corpus else sample.licence


def _strictest(licences: Sequence[str]) -> str:
    def rank(licence: str) -> int:
        return LICENCE_ORDER.index(licence) if licence in LICENCE_ORDER else -1

    return min(sorted(licences), key=rank) if licences else "unknown"


def _fingerprint(samples: Sequence[Sample]) -> str:
    text = "\n".join(sorted(f"{sample.id} {sample.context} {sample.question} {sample.answer}" for sample in samples))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
