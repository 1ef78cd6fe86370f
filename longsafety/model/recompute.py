"""Which activations the backward pass computes again: ``model.gradient_checkpointing``."""

from __future__ import annotations

import importlib
import importlib.util
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import create_selective_checkpoint_contexts

import longsafety.model.flash  # noqa: F401  (registers its operator)
from longsafety.settings import full_layers


def _attention() -> list[Any]:
    """The operators whose results ``selective`` keeps; those of flash-attn exist once it is imported."""
    aten, kept = torch.ops.aten, []
    if importlib.util.find_spec("flash_attn") is not None:
        importlib.import_module("flash_attn")
        names = ("_flash_attn_forward", "_flash_attn_varlen_forward")
        kept = [getattr(torch.ops.flash_attn, name).default for name in names if hasattr(torch.ops.flash_attn, name)]
    return [
        aten._scaled_dot_product_flash_attention_for_cpu.default,
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
        torch.ops.longsafety.trie_flash.default,
        *kept,
    ]


def recompute(network: Any, kind: str) -> None:
    """Sets up ``network``, in place: ``none``, ``full``, ``selective``, or ``layers=k``: whole layers, the first k.

    The last layers are those whose activations are needed first, so that they are kept for a shorter time.
    """
    if kind == "none":
        return
    options: dict[str, Any] = {"use_reentrant": False}
    if kind == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _attention())
    network.gradient_checkpointing_enable(options)
    if (first := full_layers(kind)) is not None:
        for layer in network.base_model.layers[first:]:
            layer.gradient_checkpointing = False
