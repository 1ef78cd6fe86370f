"""Attention over a trie of chats: every node sees its ancestors and, causally, itself. No mask of tokens × tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from longsafety.data.trie import Node

NAME = "longsafety_trie"
_BLOCK = 512
"""Queries of a node below others that are computed at once: their mask has so many rows."""


def trie_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    nodes: Sequence[Node],
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """``query [1, H, T, D]``, ``key`` and ``value [1, K, T, D]`` → ``[1, T, H, D]``; K divides H.

    A node without ancestors is one causal call of torch's fused attention. One below others sees their keys and its
    own; its mask has a row a query and is made in blocks.
    """
    sizes = [node.num_tokens for node in nodes]
    queries, keys, values = (torch.split(tensor, sizes, dim=2) for tensor in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    repeats = (
        groups if query.device.type == "cpu" else 1
    )  # grouped heads take the processor's causal kernel 1.4 × as long
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout}
    outputs = []
    for number, node in enumerate(nodes):
        if not node.ancestors:
            k, v = (part[number].repeat_interleave(repeats, dim=1) for part in (keys, values))
            grouped = groups != repeats
            outputs.append(
                scaled_dot_product_attention(queries[number], k, v, is_causal=True, enable_gqa=grouped, **options)
            )
            continue
        seen = [*node.ancestors, number]
        k, v = (torch.cat([parts[index] for index in seen], dim=2) for parts in (keys, values))
        before = k.shape[2] - node.num_tokens
        for start in range(0, node.num_tokens, _BLOCK):
            block = queries[number][:, :, start : start + _BLOCK]
            stop = before + start + block.shape[2]
            mask = torch.ones(block.shape[2], stop, dtype=torch.bool, device=query.device).tril(before + start)
            outputs.append(
                scaled_dot_product_attention(
                    block, k[:, :, :stop], v[:, :, :stop], attn_mask=mask, enable_gqa=groups > 1, **options
                )
            )
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register(NAME, trie_attention)
AttentionMaskInterface.register(NAME, _no_mask)
