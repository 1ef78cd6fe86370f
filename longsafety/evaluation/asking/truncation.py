"""Items that are longer than the evaluation allows: an error, left out, or cut. All of it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Segment, Span
from longsafety.scenarios.tasks.registry import several_needles


class Cut(NamedTuple):
    """What an item lost; ``needle_kept`` is ``None`` where it is not known, or where there is no needle."""

    cut_tokens: int | None
    needle_kept: bool | None


UNKNOWN = Cut(None, None)
"""The cut of an item that was not measured."""
Excess = Callable[[Sample], int]
"""Tokens by which an item's longest prompt exceeds the limit; 0 or less where it fits."""


class FittedItems(NamedTuple):
    """The items that fit, what each lost (by id), and how many were dropped, cut, or lost their needle."""

    items: list[Sample]
    cuts: dict[str, Cut]
    counts: dict[str, int]


def fit_items(items: Sequence[Sample], encoder: ChatEncoder, excess: Excess, *, how: str) -> FittedItems:
    """Makes every item fit (``how``: as ``evaluation.truncation``).

    ``drop`` leaves out an over-long item with its twins, so that the rest stays paired. ``middle`` keeps equally many
    tokens of the context's beginning and end, ``left`` only those of its end. Raises ``DataError`` for an over-long
    item (``error``), or one that no cut makes fit.
    """
    over = {item.id: size for item in items if (size := excess(item)) > 0}
    counts: Counter[str] = Counter()
    if over and how == "error":
        first = next(item for item in items if item.id in over)
        raise DataError(
            f"evaluation.truncation = error: {first.id} (and {len(over) - 1} more of {len(items)} items) is "
            f"{over[first.id]} tokens too long for length.max_tokens or, with its options and reply, for model.window; "
            "raise that, or set evaluation.truncation=drop, middle or left"
        )
    kept = list(items)
    if how == "drop":
        pairs = {item.pair_id for item in items if item.id in over}
        kept = [item for item in items if item.pair_id not in pairs]
        counts["dropped, being too long or twins of such"] = len(items) - len(kept)
        if not kept:
            raise DataError(
                f"evaluation.truncation = drop: leaves none of {len(items)} items; raise "
                "length.max_tokens, or set it to middle"
            )
        over = {}
    cuts: dict[str, Cut] = {}
    for at, item in enumerate(kept):
        if item.id not in over:
            cuts[item.id] = Cut(0, True if _has_needle(item) else None)
            continue
        kept[at], cuts[item.id] = _shortened(item, encoder, excess, over[item.id], how)
        counts[f"cut to fit ({how})"] += 1
        counts["cut so that a needle was lost"] += cuts[item.id].needle_kept is False
        counts["cut, not known whether a needle was lost"] += cuts[item.id].needle_kept is None
    return FittedItems(kept, cuts, dict(+counts))


def _has_needle(item: Sample) -> bool:
    return bool(item.needles) or (item.depth is not None and bool(item.context))


def _shortened(item: Sample, encoder: ChatEncoder, excess: Excess, size: int, how: str) -> tuple[Sample, Cut]:
    """The item, cut until it fits. Text is encoded again where a cut joins it, so a cut may save a few tokens less
    than it removes."""
    lengths = [part.num_tokens if isinstance(part, Span) else len(encoder.literal_ids(part)) for part in item.context]
    total, removed = sum(lengths), 0
    while size > 0:
        if removed >= total:
            raise DataError(
                f"evaluation.truncation = {how}: {item.id} is {size} tokens too long without its context; raise "
                "length.max_tokens or model.window, or set evaluation.truncation=drop"
            )
        removed = min(removed + size, total)
        start = 0 if how == "left" else (total - removed) // 2
        shorter = _without(item, lengths, start, start + removed)
        size = excess(shorter)
    num_tokens = encoder.prompt_length(*shorter.prompt())
    needle: bool | None = None
    if item.needles:
        needle = len(shorter.needles) == len(item.needles)
    elif item.depth is not None and item.task not in several_needles():
        needle = not start <= item.depth * total < start + removed
    return shorter.replace(num_tokens=num_tokens), Cut(item.num_tokens - num_tokens, needle)


def _without(item: Sample, lengths: Sequence[int], start: int, stop: int) -> Sample:
    """The item without the context's tokens ``[start, stop)``: of documents exactly these; other text that they touch
    is removed whole."""
    context: list[Segment] = []
    needles: list[int] = []
    begin = 0
    for at, (part, length) in enumerate(zip(item.context, lengths, strict=True)):
        low, high = max(start - begin, 0), min(stop - begin, length)
        begin += length
        if low >= high:
            needles += [len(context)] if at in item.needles else []
            context.append(part)
        elif isinstance(part, Span):
            pieces = (
                Span(part.document, part.start, part.start + low),
                Span(part.document, part.start + high, part.stop),
            )
            context += [piece for piece in pieces if piece.num_tokens]
    return item.replace(context=tuple(context), needles=tuple(needles))
