"""Attention over a trie of chats: every node sees its ancestors and, causally, itself. No mask of tokens × tokens.

Three implementations give the same numbers: torch's fused attention, node by node, on every device; flash calls of
variable lengths without masks, one for each depth of the trie, on GPUs (:mod:`longsafety.model.flash`); FlexAttention
on GPUs, with the trie as its block mask. In a network's last layer, where few positions are read, all three compute
those positions only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.masking_utils import AttentionMaskInterface

from longsafety.data.trie import Node
from longsafety.model.flash import flash_attention
from longsafety.model.last_layer import ROWS, Read, lay_rows

NAME, VARLEN, CUDNN, FLEX = "longsafety_trie", "longsafety_varlen", "longsafety_cudnn", "longsafety_flex"
PACKED = {"sdpa": NAME, "varlen": VARLEN, "varlen+cudnn": CUDNN, "flex": FLEX}
"""The chosen attention → the name under which transformers knows it, for packed chats."""
_BLOCK = 512
"""Queries of a node with ancestors that are computed at once: their mask has so many rows."""
_SHORT = 2048
"""Tokens of the longest node that shares a call with others of its length: a longer one fills a device by itself."""
_LONG = 8192
"""Tokens from which a chat by itself repays the plan that cuDNN makes for each new length (about 30 ms)."""
_FLASH_HEAD = 256
"""The largest head that the flash kernel takes."""


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

    Nodes without ancestors are causal calls of torch's fused attention, one call for all short ones of a length. A node
    with ancestors sees their keys and its own; its mask has a row a query and is made in blocks.
    """
    if (read := getattr(module, ROWS, None)) is not None:
        return _attention_at(read, query, key, value, nodes, scale=scaling, dropout_p=dropout), None
    if _on_processor(query) and not torch.is_grad_enabled() and not dropout:
        return _merged_attention(query, key, value, nodes, scaling), None
    sizes = [node.num_tokens for node in nodes]
    queries, keys, values = (torch.split(tensor, sizes, dim=2) for tensor in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    on_cpu = _on_processor(query)
    repeats = groups if on_cpu else 1  # the processor's causal kernel takes 1.4 × as long with grouped heads
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout}
    outputs: dict[int, torch.Tensor] = {}
    for group in _of_one_length([number for number, node in enumerate(nodes) if not node.ancestors], sizes):
        q, k, v = (_stacked([parts[number] for number in group]) for parts in (queries, keys, values))
        k, v = (part.repeat_interleave(repeats, dim=1) for part in (k, v))
        found = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=groups != repeats, **options)
        outputs |= zip(group, torch.split(found, 1), strict=True)
    for number, node in enumerate(nodes):
        if not node.ancestors:
            continue
        seen, blocks = [*node.ancestors, number], []
        k, v = (torch.cat([parts[index] for index in seen], dim=2) for parts in (keys, values))
        k, v = (k, v) if on_cpu else _all_heads(groups, k, v)
        before = k.shape[2] - node.num_tokens
        for start in range(0, node.num_tokens, _BLOCK):
            block = queries[number][:, :, start : start + _BLOCK]
            stop = before + start + block.shape[2]
            mask = torch.ones(block.shape[2], stop, dtype=torch.bool, device=query.device).tril(before + start)
            blocks.append(
                scaled_dot_product_attention(
                    block, k[:, :, :stop], v[:, :, :stop], attn_mask=mask, enable_gqa=on_cpu and groups > 1, **options
                )
            )
        outputs[number] = _joined(blocks)
    return _joined([outputs[number] for number in range(len(nodes))]).transpose(1, 2).contiguous(), None


def _on_processor(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu"


def _all_heads(groups: int, *parts: torch.Tensor) -> list[torch.Tensor]:
    """Keys and values for every query's head: with a mask and grouped heads a GPU has only the kernel that holds all
    scores in float32."""
    return [part.repeat_interleave(groups, dim=1) for part in parts]


def _of_one_length(numbers: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """The nodes grouped by length, in order; each longer than ``_SHORT`` by itself."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number in numbers:
        groups.setdefault((sizes[number], number if sizes[number] > _SHORT else -1), []).append(number)
    return list(groups.values())


def _stacked(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat(list(parts), dim=2) if len(parts) > 1 else parts[0]


def _attention_at(
    read: Read,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    nodes: Sequence[Node],
    **options: Any,
) -> torch.Tensor:
    """:func:`trie_attention` at the rows ``read``, zeros elsewhere.

    The rows of a tree see its keys in one call, with a mask of rows × keys that is made in blocks.
    """
    rows, places, size = read
    query, key, value = _one_kind(query, key, value)
    if not _on_processor(query):
        key, value = _all_heads(query.shape[1] // key.shape[1], key, value)
    ends = _ends(nodes).to(query.device)
    stops = list(accumulate(node.num_tokens for node in nodes))
    roots = [stop - node.num_tokens for stop, node in zip(stops, nodes, strict=True) if not node.ancestors]
    outputs = []
    for begin, stop in pairwise([*roots, size]):
        low, high = bisect_left(places, begin), bisect_left(places, stop)
        for start in range(low, high, _BLOCK):
            at = rows[start : min(start + _BLOCK, high)]
            seen = slice(begin, places[start + len(at) - 1] + 1)
            keys = torch.arange(seen.start, seen.stop, device=query.device)
            mask = (keys <= at[:, None]) & (at[:, None] < ends[seen])
            k, v = key[:, :, seen], value[:, :, seen]
            grouped = query.shape[1] != key.shape[1]
            outputs.append(
                scaled_dot_product_attention(query[:, :, at], k, v, attn_mask=mask, enable_gqa=grouped, **options)
            )
    return lay_rows(torch.cat(outputs, dim=2).transpose(1, 2), rows, size)


def _merged_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, nodes: Sequence[Node], scaling: float | None
) -> torch.Tensor:
    """:func:`trie_attention` without gradients, on processors, without any mask.

    The descendants of a node follow it without a gap and see it in one call. The outputs of several calls are merged by
    the logarithms of their softmax sums.
    """
    query, key, value = _one_kind(query, key, value)
    groups = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))

    def attend(queries: Sequence[slice], keys: Sequence[slice], causal: bool) -> tuple[torch.Tensor, torch.Tensor]:
        q = _stacked([query[:, :, at] for at in queries])
        k, v = (_stacked([part[:, :, at] for at in keys]) for part in (key, value))
        found, log = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, scale=scaling)
        return found, log[..., None]

    sizes = [node.num_tokens for node in nodes]
    stops = list(accumulate(sizes))
    own = [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
    parts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for group in _of_one_length(range(len(nodes)), sizes):
        places = [own[number] for number in group]
        found, log = attend(places, places, True)
        parts |= zip(group, zip(torch.split(found, 1), torch.split(log, 1), strict=True), strict=True)
    output, sums = (
        torch.cat(kind, dim=2) for kind in zip(*(parts[number] for number in range(len(nodes))), strict=True)
    )
    last = list(stops)
    for number, node in enumerate(nodes):
        for ancestor in node.ancestors:
            last[ancestor] = max(last[ancestor], stops[number])
    for place, stop, end in zip(own, stops, last, strict=True):
        if end > stop:
            below = slice(stop, end)
            found, log = attend([below], [place], False)
            both = torch.logaddexp(sums[:, :, below], log)
            kept, added = ((part - both).exp().to(query.dtype) for part in (sums[:, :, below], log))
            output[:, :, below] = output[:, :, below] * kept + found * added
            sums[:, :, below] = both
    return output.transpose(1, 2).contiguous()


def varlen_attention(
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
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As :func:`trie_attention`, by flash calls (without dropout, and where the kernel takes the heads' size)."""
    if dropout or query.shape[-1] % 8 or query.shape[-1] > _FLASH_HEAD:
        return trie_attention(module, query, key, value, None, nodes=nodes, scaling=scaling, dropout=dropout)
    query, key, value = _one_kind(query, key, value)
    read: Read | None = getattr(module, ROWS, None)
    output, spans = flash_attention(query, key, value, nodes, scaling, None if read is None else read.places)
    if read is None:
        return output, None
    computed = np.concatenate([np.arange(start, stop) for start, stop in spans])
    at = torch.from_numpy(np.searchsorted(computed, np.array(read.places))).to(output.device)
    return lay_rows(output[:, at], read.rows, read.size), None


def cudnn_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    nodes: Sequence[Node],
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As :func:`varlen_attention`; long chats that share nothing by torch's fused attention, which is cuDNN's on
    Hopper."""
    alone = not any(node.ancestors for node in nodes) and min(node.num_tokens for node in nodes) >= _LONG
    way = trie_attention if alone and getattr(module, ROWS, None) is None else varlen_attention
    return way(module, query, key, value, None, nodes=nodes, **options)


def flex_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    nodes: Sequence[Node],
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As :func:`trie_attention`, by transformers' FlexAttention, which compiles it. Without dropout."""
    if getattr(module, ROWS, None):
        return trie_attention(module, query, key, value, None, nodes=nodes, scaling=options.get("scaling"))
    mask = block_mask(tuple(nodes), query.device)
    query, key, value = _one_kind(query, key, value)
    output: tuple[torch.Tensor, torch.Tensor | None] = flex_attention_forward(
        module, query, key, value, mask, **options
    )
    return output


@lru_cache(maxsize=1)  # all layers of a pass use the same
def block_mask(nodes: tuple[Node, ...], device: torch.device, block: int = 128) -> BlockMask:
    """The trie's mask, from its bounds alone. Nodes are in depth-first order: a token is seen by the tokens after it,
    up to the end of its node's last descendant.
    """
    ends = _ends(nodes).to(device)
    size = len(ends)
    tiles = pad(ends, (0, -size % block), value=0).view(-1, block)
    first = torch.arange(len(tiles), device=device) * block
    below = first[:, None] > first[None]
    seen = (tiles.amax(1)[None] > first[:, None]) & below | torch.eye(len(tiles), dtype=torch.bool, device=device)
    full = (tiles.amin(1)[None] >= first[:, None] + block) & below

    def visible(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (key <= query) & (query < ends[key])

    return BlockMask.from_kv_blocks(
        *_listed(seen & ~full), *_listed(full), BLOCK_SIZE=block, mask_mod=visible, seq_lengths=(size, size)
    )


def _listed(tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of booleans ``[Q, K]``: the number in each row ``[1, 1, Q]``; the columns, true ones first, ``[1, 1, Q, K]``."""
    order = tiles.int().argsort(dim=1, descending=True, stable=True)
    return tiles.sum(1, dtype=torch.int32)[None, None], order.int()[None, None].contiguous()


def _ends(nodes: Sequence[Node]) -> torch.Tensor:
    """``[T]``: for each token, the end of its node's last descendant."""
    stops = list(accumulate(node.num_tokens for node in nodes))
    last = list(stops)
    for number, node in enumerate(nodes):
        for ancestor in node.ancestors:
            last[ancestor] = max(last[ancestor], stops[number])
    sizes = torch.tensor([node.num_tokens for node in nodes])
    return torch.repeat_interleave(torch.tensor(last), sizes, output_size=stops[-1])


def _one_kind(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """Casts to one dtype: autocast leaves query and key in float32 and does not know these kernels."""
    device = tensors[0].device.type
    lowered = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensors[-1].dtype
    return [tensor.to(lowered) for tensor in tensors]


def _no_mask(*_: Any, **__: Any) -> None:
    return None


for _name, _way in (
    (NAME, trie_attention), (VARLEN, varlen_attention), (CUDNN, cudnn_attention), (FLEX, flex_attention),
):  # fmt: skip
    AttentionInterface.register(_name, _way)
    AttentionMaskInterface.register(_name, _no_mask)
