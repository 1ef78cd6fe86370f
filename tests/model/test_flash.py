"""Flash calls over a trie: the numbers of masked attention, without a mask, in as many calls as the trie has depths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from longsafety.data.trie import Node, Trie
from longsafety.model import attention, flash
from longsafety.model.attention import cudnn_attention, trie_attention, varlen_attention
from longsafety.model.flash import trie_calls
from longsafety.model.last_layer import ROWS, Read

pytestmark = pytest.mark.usefixtures("tiny_one_thread")
DRAW = np.random.default_rng(0)


def ids(*sizes: int) -> list[np.ndarray]:
    return [DRAW.integers(3, 500, size) for size in sizes]


def random_trie(seed: int) -> list[Node]:
    """Any shape: each node hangs below any node on the path of the one before it, or below none."""
    draw = np.random.default_rng(seed)
    nodes = [Node(int(draw.integers(1, 90)))]
    for _ in range(int(draw.integers(1, 14))):
        path = (*nodes[-1].ancestors, len(nodes) - 1)
        nodes.append(Node(int(draw.integers(1, 90)), path[: int(draw.integers(0, len(path) + 1))]))
    return nodes


A, B, C, *ENDS = ids(200, 90, 128, 40, 33, 7, 100)
FAMILIES = ((A, B, ENDS[0]), (A, B, ENDS[1]), (A, ENDS[2]), (C, ENDS[3]), (C,))
TRIES = {
    "one": [Node(300)],
    "alone": [Node(70), Node(128), Node(5), Node(300)],
    "an item and its twin": [Node(180), Node(60, (0,)), Node(50, (0,))],
    "families": Trie.of([np.concatenate(part) for part in FAMILIES]).nodes,
    **{f"drawn {seed}": random_trie(seed) for seed in range(6)},
}  # fmt: skip


class Layer:
    training = True


def reading(nodes: list[Node], read: np.ndarray | None) -> Any:
    module = Layer()
    if read is not None:
        size = sum(node.num_tokens for node in nodes)
        setattr(module, ROWS, Read(torch.from_numpy(read), tuple(read.tolist()), size))
    return module


def results(way: Any, nodes: list[Node], kind: torch.dtype, read: np.ndarray | None = None) -> list[torch.Tensor]:
    """The output and the gradients of query, key and value, in float64."""
    torch.manual_seed(0)
    size = sum(node.num_tokens for node in nodes)
    made = [torch.randn(1, heads, size, 16).to(kind).requires_grad_() for heads in (4, 2, 2)]
    output, _ = way(reading(nodes, read), *made, None, nodes=nodes, scaling=0.3)
    output = output if read is None else output[:, read]
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    return [part.double() for part in (output, *torch.autograd.grad((output.float() * weights).sum(), made))]


def off(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest relative difference in norm."""
    return max(float((one - other).norm() / other.norm()) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", TRIES)
@pytest.mark.parametrize("way", [varlen_attention, cudnn_attention])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_outputs_and_gradients_are_those_of_sdpa(name: str, way: Any, kind: torch.dtype, tolerance: float) -> None:
    assert off(results(way, TRIES[name], kind), results(trie_attention, TRIES[name], kind)) < tolerance


@pytest.mark.parametrize("name", TRIES)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_error_is_that_of_sdpa(name: str, kind: torch.dtype) -> None:
    """Against float64, of the same rounded inputs."""
    nodes = TRIES[name]

    def exact(module: Any, *made: Any, **options: Any) -> Any:
        query, key, value, mask = made
        return trie_attention(module, query.double(), key.double(), value.double(), mask, **options)

    truth = results(exact, nodes, kind)
    ours, theirs = (results(way, nodes, kind) for way in (varlen_attention, trie_attention))
    for one, other, true in zip(ours, theirs, truth, strict=True):
        assert float((one - true).norm()) <= 1.5 * float((other - true).norm())


@pytest.mark.parametrize("name", TRIES)
def test_at_the_rows_that_are_read(name: str) -> None:
    size = sum(node.num_tokens for node in TRIES[name])
    read = np.unique(np.random.default_rng(1).integers(0, size, 9))
    found, expected = (results(way, TRIES[name], torch.float32, read) for way in (varlen_attention, trie_attention))
    assert off(found, expected) < 1e-5


@pytest.mark.parametrize("name", TRIES)
def test_a_call_for_each_depth(name: str) -> None:
    nodes = TRIES[name]
    spans, calls = trie_calls(nodes)
    assert len(calls) <= max(len(node.ancestors) for node in nodes) + 1
    assert spans[-1][1] == sum(node.num_tokens for node in nodes)
    pairs = sum(
        (q[1] - q[0]) * (q[1] - q[0] + 1) // 2 if call.causal else (q[1] - q[0]) * (k[1] - k[0])
        for call in calls for q, k in zip(call.queries, call.keys, strict=True)
    )  # fmt: skip
    trie = Trie(nodes=nodes)
    assert pairs == trie.num_pairs


class Census(TorchDispatchMode):
    """Each attention operator that is called: its name, and the heads of its queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "attention" in func.name():
            first = 1 if "backward" in func.name() else 0
            self.calls.append((func.name(), args[first].shape[1], args[first + 1].shape[1]))
        return func(*args, **(kwargs or {}))


def family() -> list[Node]:
    """As an evaluation asks: a context with a needle's twin from its half on, questions, wordings of each role."""
    nodes = [Node(20_850), Node(20_850, (0,)), Node(20_850, (0,))]
    for context in ((0, 1), (0, 1), (0, 2)):
        question = len(nodes)
        nodes += [Node(40, context), *[Node(18, (*context, question))] * 12]
        stem = len(nodes)
        nodes += [Node(32, context), *[Node(120, (*context, stem))] * 4]
    return sorted_depth_first(nodes)


def sorted_depth_first(nodes: list[Node]) -> list[Node]:
    paths = sorted((*node.ancestors, number) for number, node in enumerate(nodes))
    place = {path[-1]: at for at, path in enumerate(paths)}
    return [Node(nodes[path[-1]].num_tokens, tuple(place[one] for one in path[:-1])) for path in paths]


NODES = family()
SIZE = sum(node.num_tokens for node in NODES)
READ = np.cumsum([node.num_tokens for node in NODES])[3:] - 1


def grouped() -> tuple[torch.Tensor, ...]:
    """Queries of 32 heads, keys and values of 8, as large as those of a 7–8B model."""
    return tuple(torch.empty(1, heads, SIZE, 128, dtype=torch.bfloat16) for heads in (32, 8, 8))


@pytest.fixture
def gpu_branches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fake tensors take what a GPU's would: torch's build for processors cannot even index fake ones of a GPU."""
    monkeypatch.setattr(attention, "_on_processor", lambda tensor: False)
    monkeypatch.setattr(flash, "_on_cpu", flash._on_gpu)
    monkeypatch.setattr(flash, "_back_on_cpu", flash._back_on_gpu)
    flash._bounds.cache_clear()
    yield
    flash._bounds.cache_clear()


@pytest.mark.usefixtures("gpu_branches")
@pytest.mark.parametrize("read", [None, READ], ids=["all", "rows"])
@pytest.mark.parametrize("way", [trie_attention, varlen_attention, cudnn_attention])
def test_no_call_on_a_gpu_has_a_mask_and_grouped_heads(way: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which they are, on fake tensors: the functions take their GPU branches, and nothing is computed."""
    masks: list[bool] = []

    def pretended(query: Any, key: Any, value: Any, attn_mask: Any = None, **_: Any) -> Any:
        assert attn_mask is None or query.shape[1] == key.shape[1]
        masks.append(attn_mask is not None)
        return torch.empty_like(query)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", pretended)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        way(reading(NODES, read), *grouped(), None, nodes=NODES, scaling=0.1)
    assert any(masks) == (way is trie_attention), "flash calls have none"


@pytest.mark.slow
@pytest.mark.usefixtures("gpu_branches")
@pytest.mark.parametrize("read", [None, READ.tolist()], ids=["all", "rows"])
def test_census_of_a_layer(read: list[int] | None) -> None:
    """A default family of an evaluation at 42k: as many calls as depths and one, forward and backward."""
    sizes = [node.num_tokens for node in NODES]
    parents = [node.ancestors[-1] if node.ancestors else -1 for node in NODES]
    with FakeTensorMode(), Census() as census:
        query, key, value = (part[0].transpose(0, 1) for part in grouped())
        if read is not None:
            query = query[: sum(stop - start for start, stop in trie_calls(NODES, read)[0])]
        output, sums = flash.merged(query, key, value, sizes, parents, read, 0.1)
        flash.merged_backward(output, query, key, value, output, sums, sizes, parents, read, 0.1)
    depth = max(len(node.ancestors) for node in NODES)
    assert depth == 3
    assert Counter(name for name, *_ in census.calls) == {
        "aten::_flash_attention_forward": depth + 1, "aten::_flash_attention_backward": depth + 1
    }  # fmt: skip
    assert {(queries, keys) for _, queries, keys in census.calls} == {(32, 8)}, "grouped natively"
