"""The first minute on a GPU: versions, the attention that is chosen, how fast each kernel is, whether they agree.

python tests/benchmarks/gpu_kernels.py [--shape tiny]

A line of JSON each. What fails prints its error and the rest goes on, so that one call tells all of a machine.
"""

from __future__ import annotations

import argparse
import json
import traceback
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import gpu_setting as gpu
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from longsafety.data.trie import Node, Trie
from longsafety.model.attention import cudnn_attention, flex_attention, trie_attention, varlen_attention
from longsafety.model.kernels import packed_attention, use_flash
from longsafety.model.shape import Shape


class Layer:
    training = True
    is_causal = True


def tries(tokens: int) -> dict[str, list[Node]]:
    """One chat; an item with a needle's twin from its half on; a context with many short endings."""
    half = tokens // 2
    return {
        "one chat": [Node(tokens)],
        "an item and its needle's twin": [Node(half), Node(half, (0,)), Node(half, (0,))],
        "a context with 24 endings": [Node(tokens), *[Node(120, (0,))] * 24],
    }


def made(nodes: list[Node], shape: Shape) -> list[torch.Tensor]:
    torch.manual_seed(0)
    size = sum(node.num_tokens for node in nodes)
    heads = (shape.heads, shape.kv_heads, shape.kv_heads)
    options: dict[str, Any] = {"dtype": torch.bfloat16, "device": gpu.DEVICE, "requires_grad": True}
    return [torch.randn(1, number, size, shape.head_dim, **options) for number in heads]


def results(way: Any, nodes: list[Node], tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    output, _ = way(Layer(), *tensors, None, nodes=nodes, scaling=tensors[0].shape[-1] ** -0.5)
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    return [output.detach(), *torch.autograd.grad((output.float() * weights).sum(), tensors)]


def speed(way: Any, nodes: list[Node], shape: Shape) -> dict[str, Any]:
    """Forward, and forward with backward: milliseconds, and FLOPs of the trie's own pairs a second."""
    tensors, pairs = made(nodes, shape), Trie(nodes=nodes).num_pairs
    if gpu.DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = gpu.peak_bytes()

    def forward() -> None:
        with torch.no_grad():
            way(Layer(), *tensors, None, nodes=nodes, scaling=0.1)

    first = gpu.seconds(lambda: results(way, nodes, tensors), 1)[0]
    alone, both = (median(gpu.seconds(run, 3)) for run in (forward, lambda: results(way, nodes, tensors)))
    flops = 4 * shape.query * pairs
    return {
        "forward ms": round(alone * 1e3, 2), "TFLOP/s": round(flops / alone / 1e12, 1),
        "with backward ms": round(both * 1e3, 2), "TFLOP/s of both": round(3.5 * flops / both / 1e12, 1),
        "first call ms": round(first * 1e3, 1), "GB beside": round((gpu.peak_bytes() - before) / 1e9, 2),
    }  # fmt: skip


def fused(kind: SDPBackend, tokens: int, shape: Shape) -> dict[str, Any]:
    """One chat by one of the kernels of torch's fused attention."""

    def way(_: Any, query: Any, key: Any, value: Any, *__: Any, **___: Any) -> tuple[torch.Tensor, None]:
        with sdpa_kernel([kind]):
            return scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True), None

    return speed(way, [Node(tokens)], shape)


def agreement(way: Any, shape: Shape) -> dict[str, Any]:
    """The largest relative difference in norm of outputs and gradients from torch's fused attention, node by node."""
    nodes = [Node(512), Node(130, (0,)), Node(64, (0, 1)), Node(70, (0, 1)), Node(333)]
    pairs = zip(*(results(one, nodes, made(nodes, shape)) for one in (way, trie_attention)), strict=True)
    off = [float((one.float() - other.float()).norm() / other.float().norm()) for one, other in pairs]
    return {"outputs": f"{off[0]:.1e}", "gradients": [f"{value:.1e}" for value in off[1:]]}


def attempt(what: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        found = run()
    except Exception as error:
        at = traceback.format_exc().splitlines()[-3].strip()
        found = {"error": f"{type(error).__name__}: {str(error)[:300]}", "at": at[-120:]}
    print(json.dumps({"what": what, **found}), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=gpu.SHAPES, default="8b")
    arguments = parser.parse_args()
    shape, tokens = gpu.SHAPES[arguments.shape], 32_768 // gpu.SHORTER[arguments.shape]
    on_gpu = gpu.DEVICE.type == "cuda"
    choice = packed_attention(gpu=on_gpu, half=True)
    use_flash(choice)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    found = {"versions": {"cuDNN": cudnn, "attention": choice.name, "reason": choice.reason}}
    print(json.dumps(found["versions"]), flush=True)
    ways = {"varlen": varlen_attention, "varlen+cudnn": cudnn_attention} | ({"flex": flex_attention} if on_gpu else {})
    for name, way in ways.items():
        found[f"{name} against sdpa"] = attempt(f"{name} against sdpa", partial(agreement, way, shape))
    for what, nodes in tries(tokens).items():
        for name, way in {**ways, "sdpa": trie_attention}.items():
            found[f"{what}, {name}"] = attempt(f"{what}, {name}", partial(speed, way, nodes, shape))
    for kind in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION) if on_gpu else ():
        found[f"one chat, {kind.name}"] = attempt(f"one chat, {kind.name}", partial(fused, kind, tokens, shape))
    gpu.keep("kernels", arguments.shape, found)


if __name__ == "__main__":
    main()
