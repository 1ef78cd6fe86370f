"""The feed-forward parts of a network over tiles of tokens: their wide intermediates exist for one tile at a time.

Each tile is recomputed in the backward pass, within what gradient checkpointing repeats. The computation is row-wise
and therefore exact; the weights' gradients are summed over tiles in the weights' precision.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def tiles_problem(network: Any) -> str | None:
    """Why a network's feed-forward parts cannot be tiled, or ``None``."""
    layers = getattr(network.base_model, "layers", None) or []
    plain = [hasattr(layer, "mlp") and not hasattr(layer.mlp, "experts") for layer in layers]
    if plain and all(plain):
        return None
    return f"{type(network).__name__} has no layers with a plain mlp; set it to null"


def tile_mlps(network: Any, tokens: int) -> None:
    """Makes every layer's ``mlp`` process so many tokens at a time; its hooks still see all tokens."""
    for layer in network.base_model.layers:
        layer.mlp.forward = partial(_tiled, layer.mlp.forward, tokens)


def _tiled(forward: Any, tokens: int, hidden: torch.Tensor) -> torch.Tensor:
    """``hidden [B, T, H]`` → ``[B, T, H]``."""
    flat = hidden.flatten(0, -2)
    if len(flat) <= tokens:
        whole: torch.Tensor = forward(hidden)
        return whole
    parts = [checkpoint(forward, part, use_reentrant=False) for part in torch.split(flat, tokens)]
    return torch.cat(parts).view_as(hidden)
