"""Speed of what can get slower unseen: ``make bench``. Each ratio is to the naive way, measured in the same test.

Tests only with ``--benchmark-only``; no time is asserted. ``make bench`` keeps a file of each call, and
``--benchmark-compare`` shows the drift from the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.data.pack import best_fit_decreasing
from longsafety.data.trie import Node, Trie
from longsafety.evaluation.asking.backend import Question
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.model.attention import trie_attention, varlen_attention
from longsafety.model.head import answer_loss
from longsafety.model.load import load_model
from longsafety.pipeline import addresses
from longsafety.planning.training import plan
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.settings import Model

pytestmark = pytest.mark.usefixtures("tiny_one_thread")
DRAW = np.random.default_rng(0)


def beside(benchmark: Any, ours: Callable[[], Any], naive: Callable[[], Any]) -> tuple[Any, Any]:
    """Times ``ours``, and keeps how many times as long one call of ``naive`` took; returns both results."""
    began = time.perf_counter()
    expected = naive()
    seconds = time.perf_counter() - began
    found = benchmark(ours)
    if benchmark.stats is not None:
        benchmark.extra_info["naive / ours"] = round(seconds / benchmark.stats.stats.median, 2)
    return found, expected


def test_packing(benchmark: Any) -> None:
    sizes = np.clip(DRAW.lognormal(8, 0.8, 2000), 64, 32_512).astype(int)

    def naive() -> list[list[int]]:
        packs: list[list[int]] = []
        for row in sorted(range(len(sizes)), key=lambda row: -sizes[row]):
            rooms = [32_512 - sum(sizes[other] for other in pack) for pack in packs]
            fits = [number for number, room in enumerate(rooms) if room >= sizes[row]]
            if fits:
                packs[min(fits, key=lambda number: rooms[number])].append(row)
            else:
                packs.append([row])
        return packs

    found, expected = beside(benchmark, lambda: best_fit_decreasing(sizes, 32_512), naive)
    assert len(found) == len(expected)


def test_trie(benchmark: Any) -> None:
    contexts = [DRAW.integers(3, 50_000, 2000) for _ in range(16)]
    rows = [np.concatenate([context, DRAW.integers(3, 50_000, 40)]) for context in contexts for _ in range(2)]

    def naive() -> int:
        root: dict[int, Any] = {}
        count = 0
        for row in rows:
            node = root
            for token in row.tolist():
                count += token not in node
                node = node.setdefault(token, {})
        return count

    found, expected = beside(benchmark, lambda: Trie.of(rows).num_tokens, naive)
    assert found == expected


def test_head(benchmark: Any) -> None:
    hidden, weight = torch.randn(2048, 128), torch.randn(8192, 128)
    head = torch.nn.Linear(128, 8192, bias=False)
    head.weight.data = weight
    read, targets = torch.arange(1984, 2048), torch.arange(64)

    def ours() -> float:
        loss = answer_loss(head, hidden[read].requires_grad_(), targets, torch.full((64,), 1 / 64))
        torch.autograd.backward(loss)
        return float(loss.detach())

    def naive() -> float:
        labels = torch.full((2048,), -100)
        labels[read] = targets
        loss = cross_entropy(head(hidden.clone().requires_grad_()).float(), labels)
        torch.autograd.backward(loss)
        return float(loss.detach())

    found, expected = beside(benchmark, ours, naive)
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("way", [trie_attention, varlen_attention])
def test_attention(benchmark: Any, way: Any) -> None:
    """An item and its needle's twin, forward and backward, beside both alone."""
    nodes = [Node(512), Node(512, (0,)), Node(512, (0,))]
    made = [torch.randn(1, heads, 1536, 32).requires_grad_() for heads in (4, 2, 2)]
    rows = [torch.cat([torch.arange(512), torch.arange(start, start + 512)]) for start in (512, 1024)]

    def run(tensors: Any, tree: list[Node]) -> torch.Tensor:
        output, _ = way(None, *tensors, None, nodes=tree, scaling=0.2)
        torch.autograd.grad(output.sum(), made)
        whole: torch.Tensor = output.detach()
        return whole

    def naive() -> list[torch.Tensor]:
        return [run([part[:, :, row] for part in made], [Node(1024)]) for row in rows]

    found, expected = beside(benchmark, lambda: run(made, nodes), naive)
    torch.testing.assert_close(found[:, rows[1]], expected[1], rtol=1e-4, atol=1e-4)


def test_asking(benchmark: Any, tiny_cache: Any, tiny_model: Model) -> None:
    """Four orders of options on one context, beside each alone."""
    backend = TransformersBackend(load_model(tiny_model, tiny_cache, seed=0), precision="32-true", accelerator="cpu")
    context, letters = DRAW.integers(3, 500, 900), [np.array([letter]) for letter in (31, 32, 33, 34)]
    questions = [Question(np.concatenate([context, DRAW.integers(3, 500, 40)]), letters) for _ in range(4)]

    def naive() -> list[np.ndarray]:
        return [backend.loglikelihoods([one])[0] for one in questions]

    found, expected = beside(benchmark, lambda: backend.loglikelihoods(questions), naive)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_assembly(benchmark: Any, made: dict[str, list[Sample]], tiny_encoder: ChatEncoder) -> None:
    """Prompts' token ids from their recipes, beside tokenising their texts."""
    samples = [sample.prompt() for sample in made["train"] if sample.num_tokens > 500][:20]
    plain = tiny_encoder.tokenizer.backend_tokenizer
    texts = [tiny_encoder.prompt_text(*sample) for sample in samples]

    def ours() -> list[list[int]]:
        for cache in (tiny_encoder._between, tiny_encoder._ends):
            cache.cache_clear()
        return [tiny_encoder.prompt_ids(*sample).tolist() for sample in samples]

    def naive() -> list[list[int]]:
        return [plain.encode(text, add_special_tokens=False).ids for text in texts]

    found, expected = beside(benchmark, ours, naive)
    assert found == expected


def test_plan(benchmark: Any) -> None:
    [job] = settle(compose_jobs(["scale=paper", "stages=[plan]"]))
    assert benchmark(plan, job).fits


def test_addresses(benchmark: Any) -> None:
    def fresh() -> str:
        addresses.code.cache_clear()
        return addresses.code("weights")

    assert benchmark(fresh) == addresses.code("weights")


def test_compose(benchmark: Any) -> None:
    assert benchmark(compose_jobs, ["scale=smoke"])
