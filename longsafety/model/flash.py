"""Exact attention over a trie by flash calls without any mask: one for all nodes on themselves, one for each depth.

The nodes of a depth are seen by what stands below them: a call of variable lengths. The calls' outputs are merged by
the logarithms of their softmax sums. The backward pass hands every call the merged outputs and sums, as ring attention
does (arXiv 2310.01889), so that gradients are exact. Grouped heads are never repeated on a GPU.

torch's own operator runs FlashAttention 2, or the implementation that ``torch.nn.attention`` has activated. On a
processor each pair of a call is computed by torch's processor kernel: slow, and the reference of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch

from longsafety.data.trie import Node

aten: Any = torch.ops.aten
Spans = tuple[tuple[int, int], ...]
"""Ranges of tokens, ``(start, stop)``."""


class Call(NamedTuple):
    """Attention of each range of ``queries`` to the range of ``keys`` at the same place.

    ``causal``: the last query of a range sees all its keys, each query before it one less.
    """

    queries: Spans
    keys: Spans
    causal: bool


def trie_calls(nodes: Sequence[Node], read: Sequence[int] | None = None) -> tuple[Spans, list[Call]]:
    """The ranges of tokens that are computed, at most one a node; and the calls, at most one more than the depth.

    ``read``: ascending positions that are needed; a node's range is from its first to its last. ``None``: all tokens.
    Queries are counted within the joined ranges, keys within all tokens.
    """
    stops = list(accumulate(node.num_tokens for node in nodes))
    own = [(stop - node.num_tokens, stop) for stop, node in zip(stops, nodes, strict=True)]
    ranges = own if read is None else _ranges(own, read)
    bounds = list(accumulate((stop - start for start, stop in ranges), initial=0))
    last = list(range(len(nodes)))
    for number, node in enumerate(nodes):
        for ancestor in node.ancestors:
            last[ancestor] = number
    themselves, depths = [], dict[int, list[tuple[tuple[int, int], tuple[int, int]]]]()
    for number, node in enumerate(nodes):
        start, stop = ranges[number]
        if stop > start:
            themselves.append(((bounds[number], bounds[number + 1]), (own[number][0], stop)))
        below = (bounds[number + 1], bounds[last[number] + 1])
        if below[1] > below[0]:
            depths.setdefault(len(node.ancestors), []).append((below, own[number]))
    calls = []
    for pairs in (themselves, *(depths[depth] for depth in sorted(depths))):
        queries, keys = zip(*pairs, strict=True)
        calls.append(Call(queries, keys, causal=pairs is themselves))
    return tuple(one for one in ranges if one[1] > one[0]), calls


def _ranges(own: Sequence[tuple[int, int]], read: Sequence[int]) -> list[tuple[int, int]]:
    found = [(start, start) for start, _ in own]
    number = 0
    for at in read:
        while at >= own[number][1]:
            number += 1
        first = at if found[number][0] == found[number][1] else found[number][0]
        found[number] = (first, at + 1)
    return found


def flash_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    nodes: Sequence[Node],
    scale: float | None,
    read: Sequence[int] | None = None,
) -> tuple[torch.Tensor, Spans]:
    """``query [1, H, T, D]``, ``key`` and ``value [1, K, T, D]`` → ``[1, N, H, D]``, of the ranges returned."""
    parents = [node.ancestors[-1] if node.ancestors else -1 for node in nodes]
    sizes = [node.num_tokens for node in nodes]
    spans, _ = _calls(tuple(sizes), tuple(parents), None if read is None else tuple(read))
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    q = _joined(q, spans, 0)
    output, _ = torch.ops.longsafety.trie_flash(q, k, v, sizes, parents, None if read is None else list(read), scale)
    return output[None], spans


@lru_cache(maxsize=2)  # all layers of a pass use the same; the last layer's positions are others
def _calls(sizes: tuple[int, ...], parents: tuple[int, ...], read: tuple[int, ...] | None) -> tuple[Spans, list[Call]]:
    nodes: list[Node] = []
    for size, parent in zip(sizes, parents, strict=True):
        nodes.append(Node(size, () if parent < 0 else (*nodes[parent].ancestors, parent)))
    return trie_calls(nodes, read)


def merged(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sizes: Sequence[int],
    parents: Sequence[int],
    read: Sequence[int] | None,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``query [N, H, D]``, ``key`` and ``value [T, K, D]`` → outputs ``[N, H, D]``, logarithms of sums ``[H, N]``.

    One operator, so that selective recomputation keeps the merged outputs, and no call's own.
    """
    _, calls = _calls(tuple(sizes), tuple(parents), None if read is None else tuple(read))
    forward = _on_gpu if query.is_cuda else _on_cpu
    output, sums = forward(calls[0], query, key, value, scale)
    for call in calls[1:]:
        found, logs = forward(call, query, key, value, scale)
        at = 0
        for start, stop in call.queries:
            here = slice(at, at + stop - start)
            at = here.stop
            both = torch.logaddexp(sums[:, start:stop], logs[:, here])
            kept, added = ((part - both).exp().T[..., None] for part in (sums[:, start:stop], logs[:, here]))
            output[start:stop] = output[start:stop] * kept + found[here] * added
            sums[:, start:stop] = both
    return output, sums


def merged_backward(
    slope: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    output: torch.Tensor,
    sums: torch.Tensor,
    sizes: Sequence[int],
    parents: Sequence[int],
    read: Sequence[int] | None,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of query, key and value from that of the output, ``slope [N, H, D]``."""
    _, calls = _calls(tuple(sizes), tuple(parents), None if read is None else tuple(read))
    backward = _back_on_gpu if query.is_cuda else _back_on_cpu
    whole: list[torch.Tensor] = []
    for number, call in enumerate(calls):
        parts = backward(call, slope, query, key, value, output, sums, scale)
        if number == 0 and read is None:  # its ranges are all tokens
            whole = list(parts)
            continue
        whole = whole or [torch.zeros_like(part) for part in (query, key, value)]
        for target, part, spans in zip(whole, parts, (call.queries, call.keys, call.keys), strict=True):
            at = 0
            for start, stop in spans:
                target[start:stop] += part[at : at + stop - start]
                at += stop - start
    query_slope, key_slope, value_slope = whole
    return query_slope, key_slope, value_slope


_forward = torch.library.custom_op("longsafety::trie_flash", merged, mutates_args=())
_backward = torch.library.custom_op("longsafety::trie_flash_backward", merged_backward, mutates_args=())


@_forward.register_fake
def _(query: Any, key: Any, value: Any, sizes: Any, parents: Any, read: Any, scale: Any) -> tuple[Any, Any]:
    return torch.empty_like(query), query.new_empty(query.shape[1], query.shape[0], dtype=torch.float32)


@_backward.register_fake
def _(slope: Any, query: Any, key: Any, value: Any, *_: Any) -> tuple[Any, Any, Any]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    query, key, value, *ctx.rest = inputs
    ctx.save_for_backward(query, key, value, *output)
    ctx.mark_non_differentiable(output[1])


def _slopes(ctx: Any, slope: torch.Tensor, _: Any) -> tuple[Any, ...]:
    slope = slope if slope.stride(-1) == 1 else slope.contiguous()
    return *torch.ops.longsafety.trie_flash_backward(slope, *ctx.saved_tensors, *ctx.rest), None, None, None, None


_forward.register_autograd(_slopes, setup_context=_keep)


def _joined(part: torch.Tensor, spans: Spans, dim: int) -> torch.Tensor:
    """The ranges of one dimension, joined; a view where they follow each other."""
    if all(one[1] == other[0] for one, other in pairwise(spans)):
        return part.narrow(dim, spans[0][0], spans[-1][1] - spans[0][0])
    return torch.cat([part.narrow(dim, start, stop - start) for start, stop in spans], dim)


def _longest(spans: Spans) -> int:
    return max(stop - start for start, stop in spans)


@lru_cache(maxsize=32)
def _bounds(spans: Spans, device: torch.device) -> torch.Tensor:
    return torch.tensor(
        list(accumulate((stop - start for start, stop in spans), initial=0)), dtype=torch.int32, device=device
    )


def _on_gpu(call: Call, query: Any, key: Any, value: Any, scale: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    bounds = (_bounds(spans, query.device) for spans in (call.queries, call.keys))
    found = aten._flash_attention_forward(
        _joined(query, call.queries, 0), _joined(key, call.keys, 0), _joined(value, call.keys, 0), *bounds,
        _longest(call.queries), _longest(call.keys), 0.0, call.causal, False, scale=scale,
    )  # fmt: skip
    return found[0], found[1]


def _back_on_gpu(
    call: Call, slope: Any, query: Any, key: Any, value: Any, output: Any, sums: Any, scale: float | None
) -> tuple[torch.Tensor, ...]:
    bounds = (_bounds(spans, query.device) for spans in (call.queries, call.keys))
    slope, query, output = (_joined(part, call.queries, 0) for part in (slope, query, output))
    key, value = (_joined(part, call.keys, 0) for part in (key, value))
    no_dropout = torch.zeros(2, dtype=torch.uint64, device=query.device), query.new_empty(0)
    parts: tuple[torch.Tensor, ...] = aten._flash_attention_backward(
        slope, query, key, value, output, _joined(sums, call.queries, 1).contiguous(), *bounds,
        _longest(call.queries), _longest(call.keys), 0.0, call.causal, *no_dropout, scale=scale,
    )  # fmt: skip
    return parts


def _heads(part: torch.Tensor, span: tuple[int, int], groups: int = 1) -> torch.Tensor:
    return part[slice(*span)].transpose(0, 1)[None].repeat_interleave(groups, 1)


def _mask(causal: bool, queries: tuple[int, int], keys: tuple[int, int], like: torch.Tensor) -> dict[str, Any]:
    """The processor's kernel aligns its causal mask with the first key."""
    rows, columns = queries[1] - queries[0], keys[1] - keys[0]
    if not causal or rows == columns:
        return {"is_causal": causal}
    mask = like.new_full((rows, columns), float("-inf")).triu(columns - rows + 1)
    return {"is_causal": False, "attn_mask": mask}


def _on_cpu(call: Call, query: Any, key: Any, value: Any, scale: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    groups, outputs, sums = query.shape[1] // key.shape[1], [], []
    for queries, keys in zip(call.queries, call.keys, strict=True):
        k, v = (_heads(part, keys, groups) for part in (key, value))
        options = _mask(call.causal, queries, keys, query)
        found, logs = aten._scaled_dot_product_flash_attention_for_cpu(
            _heads(query, queries), k, v, 0.0, scale=scale, **options
        )
        outputs.append(found[0].transpose(0, 1))
        sums.append(logs[0])
    return torch.cat(outputs), torch.cat(sums, dim=1)


def _back_on_cpu(
    call: Call, slope: Any, query: Any, key: Any, value: Any, output: Any, sums: Any, scale: float | None
) -> tuple[torch.Tensor, ...]:
    groups = query.shape[1] // key.shape[1]
    found: list[list[torch.Tensor]] = [[], [], []]
    for queries, keys in zip(call.queries, call.keys, strict=True):
        options = _mask(call.causal, queries, keys, query)
        k, v = (_heads(part, keys, groups) for part in (key, value))
        parts = aten._scaled_dot_product_flash_attention_for_cpu_backward(
            _heads(slope, queries), _heads(query, queries), k, v, _heads(output, queries),
            sums[:, slice(*queries)][None].contiguous(), 0.0, scale=scale, **options,
        )  # fmt: skip
        for which, part in enumerate(parts):
            summed = part[0] if which == 0 else part[0].unflatten(0, (-1, groups)).sum(1)
            found[which].append(summed.transpose(0, 1))
    return tuple(torch.cat(part) for part in found)
