"""Which samples form an optimiser step, and which share a forward pass: planned from lengths, before training."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from longsafety.data.pack import best_fit_decreasing
from longsafety.data.trie import Trie, families
from longsafety.errors import DataError
from longsafety.settings import Training

Entry = tuple[int, float]
"""A sample's index and its weight in the loss of its optimiser step."""

Rows = Sequence[np.ndarray]


_LINEAR = 6 * 4096
"""A token's matrix products cost as much as so many pairs of attention in a 7–8B model (6 × hidden size)."""
_TWIN_ROOM = 1.5
"""Samples of the training length that fit into a pack at least, where prefixes are shared: an item and its twin, if the
twin shares the first half."""
_AHEAD = 64
"""Families that are tried for the rest of a step, before one of them is divided."""
FILLER = -1
"""Index of what fills up a rank's micro-batches: a few tokens of weight 0."""


class _Unit(NamedTuple):
    """Samples that share a pack, the tokens and the pairs of tokens in it."""

    members: tuple[int, ...]
    num_tokens: int
    num_pairs: int

    @property
    def cost(self) -> int:
        return _LINEAR * self.num_tokens + self.num_pairs


@dataclass(frozen=True)
class Schedule:
    """All epochs in one list of steps, so that a training can resume at any step.

    ``steps[s][r]`` are the micro-batches of rank ``r`` in step ``s``; only the last step may have fewer of them.
    The weights of a step sum to 1 over all ranks.
    """

    steps: list[list[list[list[Entry]]]]
    num_tokens: int
    """Tokens of all chats in all epochs."""
    num_computed: int
    """The same with shared prefixes counted once; padding is not counted."""
    pack_tokens: int | None

    @property
    def micro_batches(self) -> int:
        """Micro-batches of a rank in a step."""
        return len(self.steps[0][0])

    @property
    def summary(self) -> str:
        """One line about the work ahead."""
        packs = sum(len(rank) for step in self.steps for rank in step)
        shared = 1 - self.num_computed / self.num_tokens
        way = f"packs of at most {self.pack_tokens:,} tokens" if self.pack_tokens else "padded batches"
        return (
            f"{len(self.steps)} steps, {packs} {way}; {self.num_tokens:,} tokens, "
            f"{shared:.0%} of them shared prefixes that are computed once"
        )

    @classmethod
    def plan(
        cls, rows: Rows, num_answers: Sequence[int], training: Training, *, ranks: int, seed: int, longest: int
    ) -> Schedule:
        """Shuffles each epoch. ``longest`` is the training length in tokens. Raises DataError for too small a pack.

        Fillers, of weight 0, fill up micro-batches, so that every rank has the same number.
        """
        share = training.share_prefixes and training.packing != "length_sorted"
        groups = families(rows) if share else [[index] for index in range(len(rows))]
        lengths = [len(row) for row in rows]
        budget = max(
            pack_budget(training, longest, shares=len(groups) < len(rows)), 0 if training.pack_tokens else max(lengths)
        )
        if training.packing == "packed" and max(lengths) > budget:
            raise DataError(
                f"training.pack_tokens = {budget}: sample {int(np.argmax(lengths))} has {max(lengths)} tokens; give at "
                "least as many, or leave it out"
            )
        order: list[int] = []
        left: list[int] = []
        for epoch in range(training.epochs):
            draw = random.Random(f"{seed}/epoch/{epoch}")
            if training.packing == "length_sorted":
                full, rest = _sorted_by_length(lengths, training.batch_size, draw)
                order, left = order + full, left + rest
            else:
                shuffled = list(groups)
                draw.shuffle(shuffled)
                if training.order == "rising":
                    shuffled.sort(key=lambda group: max(lengths[index] for index in group))
                    order += [index for group in shuffled for index in group]
                else:
                    order += _whole_families(shuffled, training.batch_size, len(order))
        steps_members = _chunks(order + left, training.batch_size)
        weights = [_weights(members, num_answers, training.loss_reduction) for members in steps_members]
        if training.packing != "packed":
            size = training.micro_batch_size
            steps = [
                _dealt(members, weight, size, ranks) for members, weight in zip(steps_members, weights, strict=True)
            ]
            tokens = sum(lengths[index] for members in steps_members for index in members)
            return cls(steps, tokens, tokens, None)
        family_of = {index: number for number, group in enumerate(groups) for index in group}
        units = [_units(members, rows, family_of, budget) for members in steps_members]
        packs = [best_fit_decreasing([unit.num_tokens for unit in step], budget) for step in units]
        each = max(math.ceil(len(step) / ranks) for step in packs)
        steps = []
        for number, (step, packed) in enumerate(zip(units, packs, strict=True)):
            count = each if number < len(packs) - 1 else math.ceil(len(packed) / ranks)
            bins = _balanced(step, budget, count * ranks) or [[step[at] for at in pack] for pack in packed]
            weight = dict(weights[number])
            dealt: list[list[list[Entry]]] = [[] for _ in range(ranks)]
            for rank, pack in _turns(bins, ranks):
                dealt[rank].append([(index, weight[index]) for unit in pack for index in unit.members])
            steps.append([mine + [[(FILLER, 0.0)]] * (count - len(mine)) for mine in dealt])
        computed = sum(unit.num_tokens for step in units for unit in step)
        return cls(steps, sum(lengths[index] for members in steps_members for index in members), computed, budget)


def pack_budget(training: Training, longest: int, *, shares: bool) -> int:
    """Maximum tokens of a pack (``packed``), or of a micro-batch, of samples of at most ``longest`` tokens.

    ``shares``: whether some of the samples share a prefix.
    """
    if training.packing != "packed":
        return training.micro_batch_size * longest
    room = _TWIN_ROOM if shares and training.share_prefixes else 1
    return training.pack_tokens or int(max(training.micro_batch_size, room) * longest)


def _whole_families(families: list[list[int]], size: int, before: int) -> list[int]:
    """The families' members, in order, so that a step of ``size`` samples ends with a family, if that can be.

    ``before`` samples stand in the order already. Where no family fits the rest of a step, smaller ones of it, or of a
    step before it, give way to one that does not fit, and wait in its place.
    """
    waiting, steps, filled = deque(families), [list[list[int]]()], before % size
    while waiting:
        room = size - filled
        at = next((at for at, family in enumerate(islice(waiting, _AHEAD)) if len(family) <= room), None)
        grown = _given_way(waiting, steps, room) if at is None else None
        if grown is not None:
            filled += grown
        else:
            filled += len(waiting[at or 0])
            steps[-1].append(waiting[at or 0])
            del waiting[at or 0]
        if filled >= size:
            filled %= size
            steps.append([])
    return [index for step in steps for family in step for index in family]


def _given_way(waiting: deque[list[int]], steps: list[list[list[int]]], room: int) -> int | None:
    """Puts the first waiting family into the last step, or into one before it, for smaller ones that wait then.

    Returns by how many samples the last step grew: ``room``, or 0; ``None`` where no step can take the family.
    """
    for step in steps[: -_AHEAD - 1 : -1]:
        last = step is steps[-1]
        out, left = list[list[int]](), len(waiting[0]) - (room if last else 0)
        for family in sorted(step, key=len):
            if len(family) <= left and len(family) < len(waiting[0]):
                out.append(family)
                left -= len(family)
        if out and not left and (last or len(out[0]) <= room):
            step[:] = [waiting.popleft(), *(family for family in step if family not in out)]
            waiting.extendleft(out)
            return room if last else 0
    return None


def _chunks(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _sorted_by_length(lengths: Sequence[int], size: int, draw: random.Random) -> tuple[list[int], list[int]]:
    """Full batches of similar lengths, in random order, and the random rest that fills no batch."""
    order = list(range(len(lengths)))
    draw.shuffle(order)
    kept = len(order) - len(order) % size
    full = _chunks(sorted(order[:kept], key=lengths.__getitem__), size)
    draw.shuffle(full)
    return [index for batch in full for index in batch], order[kept:]


def _weights(members: Sequence[int], num_answers: Sequence[int], reduction: str) -> list[Entry]:
    power = {"sample": 0.0, "sqrt": 0.5, "token": 1.0}[reduction]
    sizes = [num_answers[index] ** power for index in members]
    return [(index, size / sum(sizes)) for index, size in zip(members, sizes, strict=True)]


def _dealt(members: list[int], weights: list[Entry], size: int, ranks: int) -> list[list[list[Entry]]]:
    entries = list(weights)
    if ranks > 1:
        entries += [(FILLER, 0.0)] * (-len(entries) % (size * ranks))
    micro = [entries[first : first + size] for first in range(0, len(entries), size)]
    return [micro[rank::ranks] for rank in range(ranks)]


def _units(members: Sequence[int], rows: Rows, family_of: dict[int, int], budget: int) -> list[_Unit]:
    """Neighbours of one family together, as far as the budget allows."""
    units: list[_Unit] = []
    family = -1
    for index in members:
        if units and family_of[index] == family:
            joined = (*units[-1].members, index)
            trie = Trie.of([rows[member] for member in joined])
            if trie.num_tokens <= budget:
                units[-1] = _Unit(joined, trie.num_tokens, trie.num_pairs)
                continue
        family = family_of[index]
        size = len(rows[index])
        units.append(_Unit((index,), size, size * (size + 1) // 2))
    return units


def _balanced(units: Sequence[_Unit], budget: int, count: int) -> list[list[_Unit]] | None:
    """``count`` packs within the budget, the most expensive first: each unit, in order of falling cost, goes to the
    cheapest pack so far. ``None`` if that does not fit."""
    heap = [(0, 0, number) for number in range(count)]
    bins: list[list[_Unit]] = [[] for _ in range(count)]
    for unit in sorted(units, key=lambda unit: -unit.cost):
        set_aside = []
        while heap and heap[0][1] + unit.num_tokens > budget:
            set_aside.append(heapq.heappop(heap))
        if not heap:
            return None
        cost, tokens, number = heapq.heappop(heap)
        bins[number].append(unit)
        for entry in (*set_aside, (cost + unit.cost, tokens + unit.num_tokens, number)):
            heapq.heappush(heap, entry)
    return sorted((pack for pack in bins if pack), key=lambda pack: -sum(unit.cost for unit in pack))


def _turns(packs: Sequence[list[_Unit]], ranks: int) -> Iterator[tuple[int, list[_Unit]]]:
    """Round-robin: in each round the most expensive pack goes to the least loaded rank."""
    work = [0] * ranks
    for start in range(0, len(packs), ranks):
        for rank, pack in zip(sorted(range(ranks), key=work.__getitem__), packs[start : start + ranks], strict=False):
            work[rank] += sum(unit.cost for unit in pack)
            yield rank, pack
