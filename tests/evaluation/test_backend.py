"""The cache that prompts share changes nothing: every answer equals a plain forward pass over the whole text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longsafety.evaluation import backend as backend_module
from longsafety.evaluation.backend import TransformersBackend
from longsafety.model.load import load_model
from longsafety.settings import Model


@pytest.fixture(scope="module")
def network(tiny_cache: Path, tiny_model: Model) -> Any:
    return load_model(tiny_model, tiny_cache, seed=5)


pytestmark = pytest.mark.usefixtures("tiny_one_thread")


@pytest.fixture
def backend(network: Any) -> TransformersBackend:
    return TransformersBackend(network, precision="32-true", accelerator="cpu")


def ids(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 1900, size)


LONG = ids(120, 0)
PROMPTS = {
    "the same again": [LONG, LONG, LONG],
    "a longer one": [LONG[:50], LONG],
    "a shorter one": [LONG, LONG[:50]],
    "shorter by one": [LONG, LONG[:-1]],
    "longer by one": [LONG[:-1], LONG],
    "another end": [
        np.append(LONG[:90], ids(20, 1)),
        np.append(LONG[:90], ids(40, 2)),
        np.append(LONG[:90], ids(9, 3)),
    ],
    "another last token": [LONG, np.append(LONG[:-1], 5)],
    "another needle": [LONG, np.concatenate([LONG[:60], ids(7, 4), LONG[60:]]), LONG],
    "nothing in common": [LONG, ids(80, 6), ids(130, 7)],
    "one token": [LONG, LONG[:1], ids(1, 8), LONG],
    "there and back": [LONG, ids(30, 9), LONG, LONG[:10], LONG],
}
CONTINUATIONS = [ids(5, 20), ids(1, 21), ids(9, 22), ids(5, 20), ids(2, 23)]


def naive_next(network: Any, prompt: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return torch.log_softmax(network(torch.from_numpy(prompt)[None], use_cache=False).logits[0, -1].float(), dim=-1)


def naive_continuations(network: Any, prompt: np.ndarray, continuations: Sequence[np.ndarray]) -> list[float]:
    sums = []
    for continuation in continuations:
        whole = torch.from_numpy(np.concatenate([prompt, continuation]))
        with torch.inference_mode():
            logprobs = torch.log_softmax(network(whole[None], use_cache=False).logits[0].float(), dim=-1)
        sums.append(sum(float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(continuation)))
    return sums


def assert_next(backend: TransformersBackend, network: Any, prompt: np.ndarray) -> None:
    torch.testing.assert_close(backend.next_token(prompt), naive_next(network, prompt), rtol=0, atol=1e-4)


def assert_continuations(
    backend: TransformersBackend, network: Any, prompt: np.ndarray, continuations: Sequence[np.ndarray] = CONTINUATIONS
) -> None:
    found = backend.continuations(prompt, continuations)
    assert all(type(value) is float for value in found)
    assert found == pytest.approx(naive_continuations(network, prompt, continuations), abs=1e-4, rel=0)


@pytest.mark.parametrize("sequence", PROMPTS)
def test_next_tokens(backend: TransformersBackend, network: Any, sequence: str) -> None:
    for prompt in PROMPTS[sequence]:
        assert_next(backend, network, prompt)


@pytest.mark.parametrize("sequence", PROMPTS)
def test_continuations(backend: TransformersBackend, network: Any, sequence: str) -> None:
    for prompt in PROMPTS[sequence]:
        assert_continuations(backend, network, prompt)


@pytest.mark.parametrize("sequence", PROMPTS)
def test_both_in_turns(backend: TransformersBackend, network: Any, sequence: str) -> None:
    for number, prompt in enumerate(PROMPTS[sequence]):
        for ask in (assert_next, assert_continuations)[:: 1 if number % 2 else -1]:
            ask(backend, network, prompt)


def test_random_prompts_with_random_beginnings_in_common(backend: TransformersBackend, network: Any) -> None:
    random = np.random.default_rng(1)
    prompt = LONG
    for number in range(30):
        prompt = np.append(
            prompt[: random.integers(0, len(prompt) + 1)], ids(int(random.integers(1, 40)), 100 + number)
        )
        if random.random() < 0.5:
            assert_next(backend, network, prompt)
        else:
            assert_continuations(backend, network, prompt, CONTINUATIONS[: random.integers(1, 6)])


@pytest.mark.parametrize("chunk", [1, 7, 119, 120, 121])
def test_prefilling_in_chunks(
    monkeypatch: pytest.MonkeyPatch, backend: TransformersBackend, network: Any, chunk: int
) -> None:
    monkeypatch.setattr(backend_module, "_CHUNK", chunk)
    assert_continuations(backend, network, LONG)
    assert_next(backend, network, np.append(LONG[:70], ids(30, 3)))
    assert_continuations(backend, network, LONG)


def test_chunks_are_no_longer_than_they_may_be(
    monkeypatch: pytest.MonkeyPatch, backend: TransformersBackend, network: Any
) -> None:
    monkeypatch.setattr(backend_module, "_CHUNK", 50)
    sizes: list[int] = []
    hook = network.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    backend.next_token(LONG)
    hook.remove()
    assert sizes == [50, 50, 20]


def test_continuations_do_not_see_each_other(backend: TransformersBackend) -> None:
    alone = [backend.continuations(LONG, [continuation])[0] for continuation in CONTINUATIONS]
    together = backend.continuations(LONG, CONTINUATIONS)
    reordered = backend.continuations(LONG, CONTINUATIONS[::-1])[::-1]
    assert together == pytest.approx(alone, abs=1e-4)
    assert reordered == pytest.approx(alone, abs=1e-4)


def test_continuations_of_one_token_are_next_tokens(backend: TransformersBackend) -> None:
    tokens = [3, 99, 1500]
    logprobs = backend.next_token(LONG)
    found = backend.continuations(LONG, [np.array([token]) for token in tokens])
    assert found == pytest.approx([float(logprobs[token]) for token in tokens], abs=1e-6)


def test_log_probabilities_are_normalised_and_in_float32(backend: TransformersBackend, network: Any) -> None:
    logprobs = backend.next_token(LONG)
    assert logprobs.dtype == torch.float32
    assert tuple(logprobs.shape) == (network.config.vocab_size,)
    assert float(logprobs.exp().sum()) == pytest.approx(1, abs=1e-5)


# What is counted


def counted(backend: TransformersBackend, prompts: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """(prefilled, reused) of each prompt."""
    rows = []
    for prompt in prompts:
        before = backend.prefilled_tokens, backend.reused_tokens
        backend.continuations(prompt, CONTINUATIONS)
        rows.append((backend.prefilled_tokens - before[0], backend.reused_tokens - before[1]))
    return rows


def test_what_is_in_common_is_computed_once(backend: TransformersBackend) -> None:
    other = np.append(LONG[:90], np.where(ids(20, 1) == LONG[90], 3, ids(20, 1)))
    assert counted(backend, [LONG, other, LONG[:50], LONG]) == [(120, 0), (20, 90), (1, 49), (70, 50)]


def test_a_prompt_asked_again_costs_nothing(backend: TransformersBackend, network: Any) -> None:
    backend.next_token(LONG)
    before = backend.prefilled_tokens
    passes: list[int] = []
    hook = network.register_forward_hook(lambda *args: passes.append(1))
    backend.next_token(LONG)
    assert passes == []
    backend.continuations(LONG, CONTINUATIONS)
    hook.remove()
    assert len(passes) == 1
    assert backend.prefilled_tokens == before == 120


def test_every_token_is_either_prefilled_or_reused(backend: TransformersBackend) -> None:
    prompts = [*PROMPTS["another end"], *PROMPTS["another needle"], *PROMPTS["there and back"][1:]]
    rows = counted(backend, prompts)
    assert [sum(row) for row in rows] == [len(prompt) for prompt in prompts]
    assert all(prefilled >= 1 for prefilled, _ in rows)


def test_other_precisions_stay_near(network: Any) -> None:
    import copy

    expected = naive_next(network, LONG)
    for precision in ("bf16-true", "bf16-mixed"):
        backend = TransformersBackend(copy.deepcopy(network), precision=precision, accelerator="cpu")
        found = backend.next_token(LONG)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=0.1)
        assert not torch.equal(found, expected)
        assert backend.continuations(LONG, CONTINUATIONS) == pytest.approx(
            naive_continuations(network, LONG, CONTINUATIONS), abs=0.5
        )
