"""vLLM's engine as a stand-in of the same interface around a tiny model: what is asked and read of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from longsafety.evaluation.asking.backend import Question
from longsafety.evaluation.backends import vllm as vllm_backend
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.evaluation.backends.vllm import VllmBackend
from longsafety.model.load import load_model, read_network
from longsafety.settings import Model

pytestmark = pytest.mark.usefixtures("tiny_one_thread")


class Engine:
    """``vllm.LLM``: only what is documented of it."""

    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, *, model: str, **options: Any) -> None:
        self.made.append(options)
        self.local = TransformersBackend(read_network(Path(model), "sdpa"), precision="32-true", accelerator="cpu")
        self.size = self.local.causal.config.vocab_size

    def generate(self, prompts: list[dict[str, Any]], params: Any, use_tqdm: bool) -> list[Any]:
        return [self._output(np.array(prompt["prompt_token_ids"]), params.options) for prompt in prompts]

    def _output(self, prompt: np.ndarray, options: dict[str, Any]) -> Any:
        assert options["temperature"] == 0
        (ids,) = self.local.replies([prompt], max_new_tokens=options["max_tokens"], end_ids=[], pad_id=0)
        stops = [place for place, token in enumerate(ids) if token in options.get("stop_token_ids", ())]
        output = SimpleNamespace(token_ids=ids[: stops[0] + 1] if stops else ids, logprobs=None)
        told = None
        if "logprobs" in options:
            output.logprobs = [self._top(prompt, options["logprobs"])]
        if "prompt_logprobs" in options:
            asked = [Question(prompt[:at], [prompt[at : at + 1]]) for at in range(1, len(prompt))]
            known = [float(values[0]) for values in self.local.loglikelihoods(asked)]
            of_prompt = zip(prompt[1:], known, strict=True)
            told = [None, *({int(token): SimpleNamespace(logprob=value)} for token, value in of_prompt)]
        return SimpleNamespace(outputs=[output], prompt_logprobs=told, num_cached_tokens=5)

    def _top(self, prompt: np.ndarray, count: int) -> dict[int, Any]:
        values = self.local.loglikelihoods([Question(prompt, [np.array([token]) for token in range(self.size)])])[0]
        return {int(token): SimpleNamespace(logprob=values[token]) for token in np.argsort(-values)[:count]}


@pytest.fixture
def backends(
    tiny_cache: Path, tiny_model: Model, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[TransformersBackend, VllmBackend]:
    module = ModuleType("vllm")
    module.LLM = Engine  # type: ignore[attr-defined]
    module.SamplingParams = lambda **options: SimpleNamespace(options=options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    network = load_model(tiny_model, tiny_cache, seed=5)
    return (
        TransformersBackend(network, precision="32-true", accelerator="cpu"),
        VllmBackend(network, tiny_tokenizer, precision="32-true", window=2048),
    )


def ids(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 400, size)


@pytest.mark.parametrize("top", [64, 2000])
def test_log_likelihoods_and_replies_are_those_of_the_network(
    backends: tuple[TransformersBackend, VllmBackend], monkeypatch: pytest.MonkeyPatch, top: int
) -> None:
    monkeypatch.setattr(vllm_backend, "_TOP", top)
    local, engine = backends
    questions = [
        Question(ids(30, 1), [np.array([token]) for token in (40, 41, 300)]),  # letters, likely or not
        Question(ids(20, 2), [ids(3, 4), ids(1, 5)]),
        Question(ids(30, 6), [np.array([7])]),
    ]
    for found, expected in zip(engine.loglikelihoods(questions), local.loglikelihoods(questions), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)
    prompts = [question.prompt for question in questions]
    (first,) = local.replies(prompts[:1], max_new_tokens=1, end_ids=[], pad_id=0)
    for ends in ([], [int(first[0])]):
        said = [backend.replies(prompts, max_new_tokens=5, end_ids=ends, pad_id=0) for backend in (engine, local)]
        assert [one.tolist() for one in said[0]] == [one.tolist() for one in said[1]]


def test_beginnings_are_shared_and_what_was_reused_is_counted(
    backends: tuple[TransformersBackend, VllmBackend],
) -> None:
    _, engine = backends
    list(engine.replies([ids(30, 1), ids(20, 2)], max_new_tokens=2, end_ids=[], pad_id=0))
    assert (engine.prefilled_tokens, engine.reused_tokens) == (40, 10)
    assert Engine.made[-1]["enable_prefix_caching"] is True and Engine.made[-1]["max_model_len"] == 2048
