"""What questions share changes nothing: every answer equals a plain forward pass over the whole text."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import longsafety.evaluation.backends.transformers as backend_module
from longsafety.evaluation.asking.backend import Question
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.model.load import load_model
from longsafety.settings import Model

Forward = Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def network(tiny_cache: Path, tiny_model: Model) -> Any:
    return load_model(tiny_model, tiny_cache, seed=5)


pytestmark = pytest.mark.usefixtures("tiny_one_thread")


@pytest.fixture
def backend(network: Any) -> TransformersBackend:
    return TransformersBackend(network, precision="32-true", accelerator="cpu")


def said(backend: TransformersBackend, prompt: np.ndarray, size: int, end_ids: list[int]) -> np.ndarray:
    return next(iter(backend.replies([prompt], max_new_tokens=size, end_ids=end_ids, pad_id=0)))


def ids(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 1900, size)


LONG = ids(120, 0)
FAMILIES = {
    "one": [LONG],
    "the same again": [LONG, LONG],
    "a longer and a shorter one": [LONG, LONG[:50], LONG[:-1]],
    "another end": [np.append(LONG[:90], ids(size, size)) for size in (20, 40, 9)],
    "another last token": [LONG, np.append(LONG[:-1], 5)],
    "another needle": [LONG, np.concatenate([LONG[:60], ids(7, 4), LONG[60:]])],
    "nothing in common": [LONG, ids(80, 6), ids(130, 7)],
    "one token": [LONG[:1], ids(1, 8), LONG],
}
CONTINUATIONS = [ids(5, 20), ids(1, 21), ids(9, 22), ids(5, 20), ids(2, 23), np.append(ids(5, 20), 7), ids(40, 24)]


def naive(network: Any, prompt: np.ndarray, continuations: Sequence[np.ndarray]) -> list[float]:
    sums = []
    for continuation in continuations:
        whole = torch.from_numpy(np.concatenate([prompt, continuation]))
        with torch.inference_mode():
            logprobs = torch.log_softmax(network(whole[None], use_cache=False).logits[0].float(), dim=-1)
        sums.append(sum(float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(continuation)))
    return sums


def assert_equal(
    backend: TransformersBackend, reference: Any, prompts: Sequence[np.ndarray], tolerance: float = 1e-4
) -> None:
    found = backend.loglikelihoods([Question(prompt, CONTINUATIONS) for prompt in prompts])
    for prompt, values in zip(prompts, found, strict=True):
        assert values.dtype == np.float64
        assert values.tolist() == pytest.approx(naive(reference, prompt, CONTINUATIONS), abs=tolerance, rel=0)


@pytest.fixture(scope="module")
def reference(network: Any) -> Any:
    """The same network, left as it is."""
    return copy.deepcopy(network)


@pytest.mark.parametrize("family", FAMILIES)
def test_log_likelihoods(backend: TransformersBackend, reference: Any, family: str) -> None:
    assert_equal(backend, reference, FAMILIES[family])


def test_questions_may_have_different_continuations(backend: TransformersBackend, reference: Any) -> None:
    questions = [Question(LONG, CONTINUATIONS[:2]), Question(LONG[:70], CONTINUATIONS[2:]), Question(LONG, [ids(3, 9)])]
    for question, values in zip(questions, backend.loglikelihoods(questions), strict=True):
        assert values.tolist() == pytest.approx(naive(reference, *question), abs=1e-4)


def test_logits_are_read_in_blocks(
    monkeypatch: pytest.MonkeyPatch, backend: TransformersBackend, reference: Any
) -> None:
    monkeypatch.setattr(backend_module, "_LOGITS", 3 * reference.config.vocab_size)
    assert_equal(backend, reference, FAMILIES["another end"])


def test_a_network_that_cannot_share_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, network: Any, reference: Any
) -> None:
    monkeypatch.setattr(backend_module, "training_problem", lambda *_: "slides")
    backend = TransformersBackend(copy.deepcopy(reference), precision="32-true", accelerator="cpu")
    assert not backend.shares
    assert_equal(backend, reference, FAMILIES["another end"])
    assert backend.reused_tokens == 0


@pytest.mark.parametrize("shares", [True, False])
def test_feed_forward_parts_in_chunks_give_the_same_and_are_put_back(
    monkeypatch: pytest.MonkeyPatch, reference: Any, shares: bool
) -> None:
    network = copy.deepcopy(reference)
    backend = TransformersBackend(network, precision="32-true", in_place=True)
    backend.shares = shares
    questions = [Question(prompt, CONTINUATIONS) for prompt in FAMILIES["another end"]]
    whole, reply = backend.loglikelihoods(questions), said(backend, LONG, 6, [0])
    seen: list[int] = []
    kinds = {type(layer.mlp) for layer in network.model.layers}
    for kind in kinds:
        plain: Forward = kind.forward

        def noted(part: torch.nn.Module, x: torch.Tensor, plain: Forward = plain) -> torch.Tensor:
            seen.append(x.shape[1])
            return plain(part, x)

        monkeypatch.setattr(kind, "forward", noted)
    monkeypatch.setattr(backend_module, "_FEED_FORWARD", 7)
    chunked = backend.loglikelihoods(questions)
    np.testing.assert_allclose(np.concatenate(chunked), np.concatenate(whole), atol=1e-5, rtol=0)
    assert said(backend, LONG[::-1].copy(), 1, [0]).size and said(backend, LONG, 6, [0]).tolist() == reply.tolist()
    assert seen and max(seen) == 7
    assert not any("forward" in vars(part) for part in network.modules())


def test_feed_forward_parts_of_experts_are_left_whole() -> None:
    class Mixes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

    by_row = backend_module._by_row
    plain, experts = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.SiLU()), torch.nn.Linear(2, 2)
    experts.experts = torch.nn.Linear(2, 2)
    assert by_row(plain)
    assert not by_row(experts)
    assert not by_row(torch.nn.Sequential(plain, Mixes()))


def test_what_is_in_common_is_computed_once(backend: TransformersBackend) -> None:
    letters = [np.array([token]) for token in (3, 99, 1500)]
    backend.loglikelihoods([Question(np.append(LONG, ids(20, seed)), letters) for seed in range(4)])
    assert backend.prefilled_tokens == 120 + 4 * 20
    assert backend.reused_tokens == 4 * 3 * 140 - (120 + 4 * 20)


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_are_the_greedy_ones_whatever_was_asked_before(
    backend: TransformersBackend, reference: Any, family: str
) -> None:
    for number, prompt in enumerate(FAMILIES[family]):
        if number % 2:
            backend.loglikelihoods([Question(prompt, CONTINUATIONS)])
        found = said(backend, prompt, 6, [0])
        whole = prompt
        for _ in range(6):
            with torch.inference_mode():
                token = int(reference(torch.from_numpy(whole)[None], use_cache=False).logits[0, -1].argmax())
            if token == 0:
                break
            whole = np.append(whole, token)
        assert found.tolist() == whole[len(prompt) :].tolist()


def test_a_reply_ends_at_its_end_token(backend: TransformersBackend) -> None:
    first = said(backend, LONG, 6, [0])[0]
    assert said(backend, LONG, 6, [int(first)]).tolist() == []


def test_replies_reuse_what_the_last_prompt_had(backend: TransformersBackend) -> None:
    said(backend, LONG, 3, [0])
    said(backend, np.append(LONG[:90], ids(9, 2)), 3, [0])
    assert (backend.prefilled_tokens, backend.reused_tokens) == (120 + 9, 90)


def test_other_precisions_stay_near(reference: Any) -> None:
    for precision in ("bf16-true", "bf16-mixed"):
        backend = TransformersBackend(copy.deepcopy(reference), precision=precision, accelerator="cpu")
        assert_equal(backend, reference, [LONG], tolerance=1.5)
        exact = naive(reference, LONG, CONTINUATIONS)
        assert backend.loglikelihoods([Question(LONG, CONTINUATIONS)])[0].tolist() != exact


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_half_precision_does_not_make_letters_tie(network: Any, precision: str) -> None:
    letters = [np.array([token]) for token in range(3, 1003)]
    copied = copy.deepcopy(network)
    (found,) = TransformersBackend(copied, precision=precision, accelerator="cpu").loglikelihoods(
        [Question(LONG, letters)]
    )
    rounded = torch.from_numpy(found).to(torch.bfloat16)
    assert len(np.unique(found)) > 990 > 2 * len(rounded.unique())
