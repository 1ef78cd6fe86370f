"""Integrity of samples: needles are where they should be, and twins differ only in what they should."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from longsafety.errors import DataError
from longsafety.samples.recipe import Sample, Segment, render_context
from longsafety.samples.store import TokenStore
from longsafety.vocabulary import BENIGN_KINDS, ITEM_KINDS, TWINS

_SAME = ("task", "scenario", "category", "seed_id", "language", "history", "goal", "roles", "choices", "order")
"""What no twin changes."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A sample, and what the audit compares and counts of its context."""

    sample: Sample
    filler: int
    """Hash of the context without its needles; only valid in this process, because hashes of strings are salted."""
    needles: tuple[str, ...]
    only_needles: bool
    """Nothing else is in the context but white space."""
    depths: tuple[float, ...]
    """Document tokens before each needle over those of the context."""
    context_language: str
    """Of most of the context's document tokens; empty without documents."""
    rendered: bool
    """Whether the context was rendered and its needles found."""

    @property
    def kind(self) -> str:
        return self.sample.kind

    @property
    def is_item(self) -> bool:
        return self.sample.kind not in TWINS


def facts_of(samples: Iterable[Sample], store: TokenStore) -> Iterator[Fact]:
    """Reads samples one at a time; renders those that should have a needle.

    Raises ``DataError``, naming the sample, for a needle that its rendered context lacks.
    """
    known: dict[int, tuple[tuple[float, ...], str]] = {}
    family = ""
    for sample in samples:
        if sample.pair_id != family:
            family, known = sample.pair_id, {}
        needles = _needles(sample)
        rendered = sample.kind in ("harmful", "benign_needle") and bool(needles)
        if rendered:
            _find(needles, sample, store)
        filler: list[Segment | None] = list(sample.context)
        for place in sample.needles:
            filler[place] = None
        key = hash(tuple(filler))
        if key not in known:  # a twin's context, up to a thousand spans, is examined once
            known[key] = _depths_and_language(filler, store)
        depths, language = known[key]
        blank = not any(part is not None and (not isinstance(part, str) or part.strip()) for part in filler)
        yield Fact(sample, key, needles, blank, depths, language, rendered)


def _needles(sample: Sample) -> tuple[str, ...]:
    """The needles' texts. Raises ``DataError`` where a needle is expected and missing."""
    found: list[str] = []
    if sample.kind not in ITEM_KINDS:
        return ()
    for place in sample.needles:
        part = sample.context[place] if 0 <= place < len(sample.context) else ""
        if not isinstance(part, str) or not part.strip():
            what = "white space or past its end" if isinstance(part, str) else "a document's"
            raise DataError(f"{sample.id}: needle at part {place} of the context is {what}, no statement; build again")
        found.append(part)
    expected = sample.kind == "benign_needle" or (sample.kind == "harmful" and sample.scenario == "PH")
    if expected and not found:
        raise DataError(f"{sample.id}: a {sample.kind} item of {sample.task} without a needle in its context")
    return tuple(found)


def _find(needles: Sequence[str], sample: Sample, store: TokenStore) -> None:
    text = render_context(sample.context, store)
    place = 0
    for number, needle in enumerate(needles, 1):
        place = text.find(needle, place)
        if place < 0:
            raise DataError(
                f"{sample.id}: needle {number} of {len(needles)} is not in the rendered context, or not after the one "
                "before it; build again"
            )
        place += len(needle)


def _depths_and_language(filler: Sequence[Segment | None], store: TokenStore) -> tuple[tuple[float, ...], str]:
    before, places = 0, []
    tokens: dict[str, int] = {}
    for part in filler:
        if part is None:
            places.append(before)
        elif not isinstance(part, str):
            length, language = part.stop - part.start, store.languages[part.document]
            before += length
            tokens[language] = tokens.get(language, 0) + length
    return tuple(place / max(before, 1) for place in places), max(sorted(tokens), key=tokens.__getitem__, default="")


def checked(facts: Iterable[Fact]) -> Iterator[tuple[Fact, str]]:
    """Each fact, with what is wrong with a twin; nothing for most. Twins stand behind their item."""
    item: Fact | None = None
    for fact in facts:
        wrong = ""
        if fact.kind == "harmful":
            item = fact
        elif fact.is_item:
            pass
        elif item is None or item.sample.pair_id != fact.sample.pair_id:
            wrong = f"{fact.sample.id}: no harmful item {fact.sample.pair_id} in its split, before it"
        elif differences := _differences(item, fact):
            wrong = f"{fact.sample.id}: {', '.join(differences)}"
        yield fact, wrong


def _differences(item: Fact, twin: Fact) -> list[str]:
    one, other = item.sample, twin.sample
    wrong = [f"another {name}" for name in _SAME if getattr(one, name) != getattr(other, name)]
    if one.choices and one.right == other.right and twin.kind in (*BENIGN_KINDS, "absent"):
        wrong.append("the item's right option")
    if twin.kind.startswith("short"):
        if not twin.only_needles and item.needles:
            wrong.append("its context is not just needles")
        if other.documents:
            wrong.append("documents in its context")
        if (twin.needles != item.needles) and twin.kind == "short":
            wrong.append("its context is not just the item's needles")
    elif twin.kind == "absent":
        if twin.needles:
            wrong.append("has a needle")
    else:
        if twin.filler != item.filler:
            wrong.append("another context")
        if (twin.needles == item.needles) == (twin.kind == "benign_needle"):
            wrong.append("the item's needles" if twin.kind == "benign_needle" else "other needles than the item's")
    if twin.kind != "absent" and (one.answer == other.answer) == (twin.kind != "short"):
        wrong.append("another answer" if twin.kind == "short" else "the item's answer")
    asks_other = twin.kind == "benign_query" or (twin.kind == "short_benign" and not item.needles)
    if (one.question == other.question) == asks_other:
        wrong.append("the item's question" if asks_other else "another question")
    return wrong
