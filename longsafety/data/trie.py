"""Chats with shared prefixes as a trie: each shared prefix is stored, and computed, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from itertools import pairwise
from typing import NamedTuple

import numpy as np

MIN_SHARED = 64
"""Shared tokens that are worth a node of their own."""


class Node(NamedTuple):
    """A span of tokens, and the nodes before it on its path, the root first."""

    num_tokens: int
    ancestors: tuple[int, ...] = ()


@dataclass
class Trie:
    """``ids [T]`` and ``positions [T]`` of all nodes, concatenated; ``paths[r]`` are the nodes of row ``r``.

    A row's tokens are the nodes of its path, joined; a token's position is its index in its row.
    """

    nodes: list[Node] = field(default_factory=list)
    paths: list[tuple[int, ...]] = field(default_factory=list)
    _ids: list[np.ndarray] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Sequence[np.ndarray], *, share: bool = True, min_shared: int = MIN_SHARED) -> Trie:
        """From token rows ``[T_r]``, none empty. ``share=False``: one node per row."""
        trie = cls(paths=[()] * len(rows))
        if not share or len(rows) == 1:
            for number, row in enumerate(rows):
                trie._add(row, 0, (), [number])
            return trie
        order, shared = neighbours(rows)
        for cluster, inside in _clusters(order, shared, min_shared):
            trie._grow(rows, cluster, inside, 0, (), min_shared)
        return trie

    def _grow(
        self,
        rows: Sequence[np.ndarray],
        order: list[int],
        shared: list[int],
        start: int,
        ancestors: tuple[int, ...],
        min_shared: int,
    ) -> None:
        """Adds rows whose first ``start`` tokens are ``ancestors``' and which share ``min_shared`` more, or one row."""
        stop = min(shared, default=len(rows[order[0]]))
        above = (*ancestors, self._add(rows[order[0]][start:stop], start, ancestors, order))
        if len(order) == 1:
            return
        ended = sum(len(rows[row]) == stop for row in order)  # they come first: shorter sorts before longer
        for cluster, inside in _clusters(order[ended:], shared[ended:], stop + min_shared):
            self._grow(rows, cluster, inside, stop, above, min_shared)

    def _add(self, ids: np.ndarray, start: int, ancestors: tuple[int, ...], rows: Sequence[int]) -> int:
        number = len(self.nodes)
        self.nodes.append(Node(len(ids), ancestors))
        self._ids.append(ids)
        self._starts.append(start)
        for row in rows:
            self.paths[row] = (*ancestors, number)
        return number

    @property
    def num_tokens(self) -> int:
        return sum(node.num_tokens for node in self.nodes)

    @property
    def num_pairs(self) -> int:
        """Pairs of a token and a token that it sees, itself included: the cost of attention."""
        pairs = 0
        for node in self.nodes:
            before = sum(self.nodes[ancestor].num_tokens for ancestor in node.ancestors)
            pairs += node.num_tokens * before + node.num_tokens * (node.num_tokens + 1) // 2
        return pairs

    @property
    def ids(self) -> np.ndarray:
        return np.concatenate(self._ids)

    @property
    def positions(self) -> np.ndarray:
        spans = zip(self._starts, self.nodes, strict=True)
        return np.concatenate([np.arange(start, start + node.num_tokens) for start, node in spans])

    def places(self, row: int) -> np.ndarray:
        """The indices of the row's tokens in ``ids``."""
        offsets = np.cumsum([0, *(node.num_tokens for node in self.nodes)])
        return np.concatenate([np.arange(offsets[node], offsets[node + 1]) for node in self.paths[row]])


def neighbours(rows: Sequence[np.ndarray]) -> tuple[list[int], list[int]]:
    """Row numbers in lexicographic order, and the length of the prefix that each row shares with the next."""

    def compare(one: int, other: int) -> int:
        common = _common(rows[one], rows[other])
        if common == min(len(rows[one]), len(rows[other])):
            return len(rows[one]) - len(rows[other])
        return int(rows[one][common]) - int(rows[other][common])

    order = sorted(range(len(rows)), key=cmp_to_key(compare))
    return order, [_common(rows[one], rows[other]) for one, other in pairwise(order)]


def families(rows: Sequence[np.ndarray]) -> list[list[int]]:
    """Row numbers in groups: rows of a family share at least half of the shorter row, and ``MIN_SHARED`` tokens.

    Families and their members are in the order of their row numbers.
    """
    order, shared = neighbours(rows)
    found, family = [], order[:1]
    for number, row in enumerate(order[1:]):
        shorter = min(len(rows[order[number]]), len(rows[row]))
        if shared[number] >= max(MIN_SHARED, shorter / 2):
            family.append(row)
        else:
            found.append(sorted(family))
            family = [row]
    return sorted([*found, sorted(family)] if family else found)


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """The length of the common prefix."""
    size = min(len(one), len(other))
    for start, stop in ((0, min(size, 256)), (256, size)):  # most rows differ early
        differ = one[start:stop] != other[start:stop]
        if differ.any():
            return start + int(differ.argmax())
    return size


def _clusters(order: list[int], shared: list[int], at_least: int) -> Iterator[tuple[list[int], list[int]]]:
    """Runs of neighbours that share at least so many tokens, with the lengths of their shared prefixes."""
    first = 0
    for at in range(1, len(order) + 1):
        if at == len(order) or shared[at - 1] < at_least:
            yield order[first:at], shared[first : at - 1]
            first = at
