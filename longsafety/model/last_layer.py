"""The last layer of a network, computed at the positions whose hidden states are read, and nowhere else.

Nothing looks at the others' output: of them only keys and values are needed. What is row by row there (projections of
queries and outputs, the feed-forward part) is given the read rows alone and its output laid into zeros, which is exact
where it is read, forward and backward; attention skips the other queries (:mod:`longsafety.model.attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from longsafety.data.trie import Node

ROWS = "longsafety_rows"
"""The attribute of the last layer's attention that says which rows are read in the call that is under way."""
_MOST = 4
"""Rows are chosen where at most one in so many is read: choosing costs copies, and attention by rows a mask."""


def read_rows(causal: Any, positions: torch.Tensor, nodes: Sequence[Node], size: int) -> dict[str, Any]:
    """What the base model is called with beside ``nodes``, where only ``positions [N]`` (repeats allowed) of its hidden
    states ``[1, size, H]`` are read. Nothing, where that would gain nothing, or other ranks have a part of the tokens.
    """
    rows = torch.unique(positions)
    last = next(reversed(getattr(causal.base_model, "layers", None) or []), None)
    attention = getattr(last, "self_attn", None)
    whole = size == sum(node.num_tokens for node in nodes)
    if attention is None or not whole or not 0 < _MOST * len(rows) <= size:
        return {}
    if not hasattr(attention, ROWS):
        _prepare(last)
    return {"read_rows": (rows, size)}


def _prepare(layer: Any) -> None:
    """Hooks, on parts that run within what gradient checkpointing repeats: the layer's own run outside of it."""
    attention = layer.self_attn
    setattr(attention, ROWS, None)

    def enter(_: Any, args: Any, options: dict[str, Any]) -> None:
        setattr(attention, ROWS, options.get("read_rows"))

    def choose(_: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        found = getattr(attention, ROWS)
        return None if found is None else (args[0][:, found[0]], *args[1:])

    def lay(_: Any, args: Any, output: torch.Tensor) -> torch.Tensor | None:
        found = getattr(attention, ROWS)
        return None if found is None else lay_rows(output, *found)

    attention.register_forward_pre_hook(enter, with_kwargs=True)
    mlp = getattr(layer, "mlp", None)
    parts = [getattr(attention, "q_proj", None), getattr(attention, "o_proj", None)]
    parts.append(None if hasattr(mlp, "experts") else mlp)  # which may return more than its output
    for part in parts:
        if part is not None:
            part.register_forward_pre_hook(choose)
            part.register_forward_hook(lay)


def lay_rows(chosen: torch.Tensor, rows: torch.Tensor, size: int) -> torch.Tensor:
    """``[1, N, …]`` laid at ``rows [N]``, all different, of zeros ``[1, size, …]``."""
    whole = chosen.new_zeros(chosen.shape[0], size, *chosen.shape[2:])
    return whole.index_copy(1, rows, chosen)
