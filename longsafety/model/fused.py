"""Fuses what a layer computes row by row between its matrix products: RMS norms and the gated activation.

By ``torch.compile``, with the number of tokens left open, so that packs of any length share one kernel. The products,
attention, and adapters stay as they are; losses and gradients are the same but for rounding.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch

_GATED = ("gate_proj", "up_proj", "down_proj", "act_fn")


def fuse(network: Any) -> int:
    """Compiles the row-wise parts of ``network``, in place; returns how many. Nothing is compiled before its first use.

    A feed-forward part is changed only if it computes ``down(act(gate(x)) * up(x))``, which is tried on a few rows.
    """
    found = 0
    for part in network.modules():
        if type(part).__name__.endswith("RMSNorm"):
            part.forward = torch.compile(part.forward, dynamic=True)
            found += 1
        elif all(hasattr(part, name) for name in _GATED) and _is_gated(part):
            part.forward = partial(_gated, part)
            found += 1
    return found


def _is_gated(part: Any) -> bool:
    weight = next(part.parameters())
    if weight.numel() == 0 or weight.is_meta:  # sharded or without contents: what its class computes is known
        return type(part).__name__.endswith(("LlamaMLP", "Qwen2MLP", "Qwen3MLP", "MistralMLP"))
    rows = torch.linspace(-1, 1, 2 * weight.shape[1], device=weight.device, dtype=weight.dtype).view(1, 2, -1)
    with torch.no_grad():
        expected = part(rows)
        plain = part.down_proj(part.act_fn(part.gate_proj(rows)) * part.up_proj(rows))
    return bool(torch.equal(expected, plain))


def _gated(part: Any, hidden: torch.Tensor) -> torch.Tensor:
    """``hidden [B, T, H]`` → ``[B, T, H]``."""
    product = _compiled_product()(part.act_fn, part.gate_proj(hidden), part.up_proj(hidden))
    result: torch.Tensor = part.down_proj(product)
    return result


@cache
def _compiled_product() -> Any:
    """One for all layers. To name ``torch.compile`` imports its compiler, which takes seconds."""
    return torch.compile(_product, dynamic=True)


def _product(act: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = act(gate) * up
    return result
