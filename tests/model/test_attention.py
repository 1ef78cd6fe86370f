"""Attention over a trie, each way the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import flex_attention as torch_flex
from torch.nn.attention.flex_attention import create_block_mask
from transformers.integrations import flex_attention as transformers_flex

from longsafety.data.trie import Node, Trie
from longsafety.errors import ConfigError
from longsafety.model import attention
from longsafety.model.attention import block_mask, flex_attention, trie_attention, varlen_attention
from longsafety.model.last_layer import ROWS, Read
from longsafety.model.module import use_attention

pytestmark = pytest.mark.usefixtures("tiny_one_thread")


def rows(*sizes: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(3, 500, size) for size in sizes]


def tries() -> dict[str, list[Node]]:
    """A single chat; chats that share nothing; families of several levels, two of them; one that ends in another."""
    first, second, third, *ends = rows(200, 90, 128, 40, 33, 7, 100)
    family = [
        np.concatenate(parts)
        for parts in ((first, second, ends[0]), (first, second, ends[1]), (first, ends[2]), (third, ends[3]), (third,))
    ]
    return {
        "one": Trie.of(rows(300)).nodes,
        "alone": Trie.of(rows(70, 128, 5, 300), share=False).nodes,
        "families": Trie.of(family).nodes,
    }


TRIES = tries()


def dense(nodes: list[Node]) -> torch.Tensor:
    """Who sees whom, ``[T, T]``, node by node."""
    owner = torch.repeat_interleave(torch.arange(len(nodes)), torch.tensor([node.num_tokens for node in nodes]))
    related = torch.eye(len(nodes), dtype=torch.bool)
    for number, node in enumerate(nodes):
        related[number, list(node.ancestors)] = True
    return related[owner][:, owner].tril()


def tensors(nodes: list[Node], device: str = "cpu", kind: torch.dtype = torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(0)
    size = sum(node.num_tokens for node in nodes)
    return [torch.randn(1, heads, size, 16, dtype=kind, device=device).requires_grad_() for heads in (4, 2, 2)]


class Layer:
    training = True


def results(way: Any, nodes: list[Node], made: list[torch.Tensor]) -> list[torch.Tensor]:
    """What it returns, and the gradients to query, key and value of a loss that weighs all of it differently."""
    output, _ = way(Layer(), *made, None, nodes=nodes, scaling=0.3, dropout=0.0)
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    return [output, *torch.autograd.grad((output.float() * weights).sum(), made)]


def assert_alike(first: list[torch.Tensor], second: list[torch.Tensor], tolerance: float) -> None:
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", TRIES)
def test_the_trie_against_a_dense_mask(name: str) -> None:
    nodes = TRIES[name]

    def reference(module: Any, query: Any, key: Any, value: Any, *_: Any, **options: Any) -> tuple[Any, None]:
        whole = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=dense(nodes), scale=options["scaling"], enable_gqa=True
        )
        return whole.transpose(1, 2), None

    assert_alike(
        results(trie_attention, nodes, tensors(nodes)), results(reference, nodes, tensors(nodes)), tolerance=1e-5
    )


@pytest.mark.parametrize("name", TRIES)
@pytest.mark.parametrize("block", [3, 512])
def test_at_the_rows_that_are_read(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK", block)
    nodes = TRIES[name]
    size = sum(node.num_tokens for node in nodes)
    read = torch.tensor(sorted({0, 7, size // 3, size // 2, size // 2 + 1, size - 9, size - 1}))
    chosen = Layer()
    setattr(chosen, ROWS, Read(read, tuple(read.tolist()), size))

    def at_rows(way: Any, module: Any) -> list[torch.Tensor]:
        made = tensors(nodes)
        output, _ = way(module, *made, None, nodes=nodes, scaling=0.3)
        weights = torch.linspace(-1, 1, output[:, read].numel()).view_as(output[:, read])
        gradients = torch.autograd.grad((output[:, read] * weights).sum(), made)
        return [output[:, read], *gradients]

    expected = at_rows(trie_attention, Layer())
    for way in (trie_attention, varlen_attention, flex_attention):
        assert_alike(at_rows(way, chosen), expected, tolerance=1e-5)


@pytest.mark.parametrize("name", TRIES)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_without_gradients_it_is_merged_from_parts(name: str, kind: torch.dtype) -> None:
    query, key, value = (tensor.detach().to(kind) for tensor in tensors(TRIES[name]))
    with_mask, _ = trie_attention(Layer(), query, key, value, None, nodes=TRIES[name], scaling=0.3)
    with torch.no_grad():
        merged, _ = trie_attention(Layer(), query, key, value, None, nodes=TRIES[name], scaling=0.3)
    tolerance = 1e-5 if kind == torch.float32 else 2e-2
    assert_alike([with_mask], [merged], tolerance=tolerance)
    assert not (any(node.ancestors for node in TRIES[name]) and torch.equal(with_mask, merged))


@pytest.mark.parametrize("name", TRIES)
@pytest.mark.parametrize("block", [16, 128])
def test_the_block_mask_has_the_tiles_that_torch_finds_from_all_pairs(name: str, block: int) -> None:
    nodes = TRIES[name]
    sees = dense(nodes)
    made = block_mask(tuple(nodes), torch.device("cpu"), block)
    size = len(sees)
    token = torch.arange(size)
    assert made.mask_mod is not None
    assert torch.equal(made.mask_mod(token[:1], token[:1], token[:, None], token[None]), sees)
    found = create_block_mask(lambda b, h, q, k: sees[q, k], None, None, size, size, device="cpu", BLOCK_SIZE=block)
    assert torch.equal(made.to_dense(), found.to_dense())
    assert made.full_kv_num_blocks is not None and found.full_kv_num_blocks is not None
    # torch's fill of the last tile counts as unseen, as ours does
    assert torch.equal(made.full_kv_num_blocks, found.full_kv_num_blocks)
    assert made.shape == found.shape and made.sparsity() == found.sparsity()


@pytest.mark.parametrize("name", TRIES)
def test_flex_attention_uncompiled_gives_the_trie_s_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor torch refuses to differentiate it, though its uncompiled form can be: the guard is lifted here."""
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)
    monkeypatch.setattr(
        transformers_flex,
        "compile_friendly_flex_attention",
        lambda *made, training, **options: torch_flex.flex_attention(*made, **options),
    )
    nodes = TRIES[name]
    assert_alike(
        results(attention.flex_attention, nodes, tensors(nodes)),
        results(trie_attention, nodes, tensors(nodes)),
        tolerance=1e-5,
    )


def test_under_autocast_all_have_one_kind() -> None:
    """Rotary positions leave query and key in float32; these kernels want what the matrices compute in."""
    nodes = TRIES["one"]
    query, key, value = tensors(nodes)
    with torch.autocast("cpu", torch.bfloat16):
        assert {made.dtype for made in attention._one_kind(query, key, value.bfloat16())} == {torch.bfloat16}
    assert {made.dtype for made in attention._one_kind(query, key, value)} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("way", [varlen_attention, attention.cudnn_attention, attention.flex_attention])
@pytest.mark.parametrize("name", TRIES)
def test_kernels_of_a_gpu(way: Any, name: str) -> None:
    nodes = TRIES[name]
    made = results(way, nodes, tensors(nodes, "cuda", torch.bfloat16))
    expected = results(trie_attention, nodes, tensors(nodes, "cuda", torch.bfloat16))
    assert_alike(made, expected, tolerance=2e-2)


def test_a_network_that_keeps_its_own_attention() -> None:
    class Stubborn:
        class config:
            _attn_implementation = "sdpa"

        def set_attn_implementation(self, name: str) -> None:
            """Transformers warns, and changes nothing."""

    with pytest.raises(ConfigError, match=r"training\.packing = packed: Stubborn has .*; set packing=none"):
        use_attention(Stubborn(), attention.NAME)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grad", [True, False])
def test_chats_of_one_length_share_a_call_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, kind: torch.dtype, grad: bool
) -> None:
    nodes = [Node(70), Node(128), Node(70), Node(9, (2,)), Node(9, (2, 3)), Node(128), Node(70)]
    found = []
    for short in (0, attention._SHORT):
        monkeypatch.setattr(attention, "_SHORT", short)
        query, key, value = tensors(nodes, kind=kind)
        with torch.set_grad_enabled(grad):
            output, _ = trie_attention(None, query, key, value, None, nodes=nodes)
        if grad:
            output.float().pow(2).sum().backward()
        found.append([output.detach(), *((query.grad, key.grad, value.grad) if grad else ())])
    assert attention._of_one_length(range(len(nodes)), [node.num_tokens for node in nodes]) == [
        [0, 2, 6], [1, 5], [3, 4]
    ]  # fmt: skip
    for alone, together in zip(*found, strict=True):
        assert torch.equal(alone, together)
