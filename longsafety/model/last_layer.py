"""The last layer of a network, computed only at the positions whose hidden states are read.

The other positions contribute keys and values only. Row-wise modules (the query and output projections, the
feed-forward part) run on the read positions; their results are scattered into zeros. This is exact at the read
positions, forward and backward. Attention skips the other queries (:mod:`longsafety.model.attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from longsafety.data.trie import Node

ROWS = "longsafety_rows"
"""The attribute of the last layer's attention that holds the rows read in the current call."""
_MOST = 4
"""Rows are selected if at most one in so many is read: selecting costs copies, and attention by rows needs a mask."""


class Read(NamedTuple):
    """Rows that are read: their ascending positions, on the device and on the host; and the number of all."""

    rows: torch.Tensor
    places: tuple[int, ...]
    size: int


def read_rows(causal: Any, rows: np.ndarray, nodes: Sequence[Node], size: int, device: torch.device) -> dict[str, Any]:
    """Keyword arguments for the base model if only the ascending ``rows [N]`` of its hidden states ``[1, size, H]`` are
    read. Empty if nothing would be gained, or if other ranks hold a part of the tokens.
    """
    last = next(reversed(getattr(causal.base_model, "layers", None) or []), None)
    attention = getattr(last, "self_attn", None)
    whole = size == sum(node.num_tokens for node in nodes)
    if attention is None or not whole or not 0 < _MOST * len(rows) <= size:
        return {}
    if not hasattr(attention, ROWS):
        _prepare(last)
    return {"read_rows": Read(torch.from_numpy(rows).to(device), tuple(rows.tolist()), size)}


def _prepare(layer: Any) -> None:
    """Registers hooks on the layer's parts: gradient checkpointing repeats those, but not hooks of the layer itself."""
    attention = layer.self_attn
    setattr(attention, ROWS, None)

    def enter(_: Any, args: Any, options: dict[str, Any]) -> None:
        setattr(attention, ROWS, options.get("read_rows"))

    def choose(_: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        found = getattr(attention, ROWS)
        return None if found is None else (args[0][:, found.rows], *args[1:])

    def lay(_: Any, args: Any, output: torch.Tensor) -> torch.Tensor | None:
        found = getattr(attention, ROWS)
        return None if found is None else lay_rows(output, found.rows, found.size)

    attention.register_forward_pre_hook(enter, with_kwargs=True)
    mlp = getattr(layer, "mlp", None)
    parts = [getattr(attention, "q_proj", None), getattr(attention, "o_proj", None)]
    parts.append(None if hasattr(mlp, "experts") else mlp)  # which may return more than its output
    for part in parts:
        if part is not None:
            part.register_forward_pre_hook(choose)
            part.register_forward_hook(lay)


def lay_rows(chosen: torch.Tensor, rows: torch.Tensor, size: int) -> torch.Tensor:
    """``chosen [1, N, …]`` scattered to the distinct ``rows [N]`` of zeros ``[1, size, …]``."""
    whole = chosen.new_zeros(chosen.shape[0], size, *chosen.shape[2:])
    return whole.index_copy(1, rows, chosen)
