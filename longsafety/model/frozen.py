"""Frozen weights in the precision that they are multiplied in, so that they are cast once and not in every pass."""

from __future__ import annotations

from typing import Any

import torch


def cast_frozen(network: Any, dtype: torch.dtype) -> int:
    """Casts the frozen weights of ``network``'s linear layers to ``dtype``, in place; returns how many.

    Under autocast to ``dtype`` losses and gradients stay the same bits: autocast casts both factors of a linear layer,
    and keeps no cast of a weight that is not trained. The output head, and an embedding that shares its weights with
    it, stay as they are.
    """
    head = network.get_output_embeddings()
    embeddings = {id(module.weight) for module in network.modules() if isinstance(module, torch.nn.Embedding)}
    count = 0
    for module in network.modules():
        if type(module) is not torch.nn.Linear or module is head or id(module.weight) in embeddings:
            continue
        frozen = [value for value in (module.weight, module.bias) if value is not None and not value.requires_grad]
        for value in frozen:
            value.data = value.data.to(dtype)
        count += bool(frozen)
    return count
