"""Which rows share a pack within a token budget: best-fit decreasing, from the lengths alone."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from longsafety.errors import DataError


def best_fit_decreasing(lengths: Sequence[int] | np.ndarray, budget: int) -> list[list[int]]:
    """Packs of row numbers whose lengths sum to at most ``budget``: the longest rows first, each into the fullest pack
    that still takes it. Ties go to the lower row number. Raises DataError for a row that is longer than the budget.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable").tolist()
    if order and int(sizes[order[0]]) > budget:
        raise DataError(
            f"row {order[0]} has {int(sizes[order[0]])} tokens, more than the budget of {budget}; raise the budget"
        )
    packs: list[list[int]] = []
    rooms: list[int] = []
    """The room left in packs, ascending."""
    with_room: dict[int, list[int]] = {}
    for row in order:
        size = int(sizes[row])
        at = bisect_left(rooms, size)
        if at < len(rooms):
            room = rooms[at]
            candidates = with_room[room]
            pack = candidates.pop()
            if not candidates:
                del rooms[at], with_room[room]
            packs[pack].append(row)
        else:
            room, pack = budget, len(packs)
            packs.append([row])
        room -= size
        if room:
            if room not in with_room:
                with_room[room] = []
                insort(rooms, room)
            with_room[room].append(pack)
    return packs
