"""Runs a network in vLLM's offline engine, which batches by itself and caches shared prefixes of prompts.

API: https://docs.vllm.ai/en/stable/api/vllm (LLM, SamplingParams). Not run on a GPU yet; tested against a stand-in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from longsafety.evaluation.asking.backend import Answered, Question, TokenBackend
from longsafety.evaluation.asking.trials import Trial
from longsafety.model.device import device_name
from longsafety.samples.encode import ChatEncoder
from longsafety.settings import Evaluation

_AT_ONCE = 256
"""Trials given to the engine between two writes of the journal."""
_TOP = 64
"""Log-probabilities fetched of a reply's first token; a letter that is not among them costs a prompt of its own."""


class VllmBackend(TokenBackend):
    """Writes the network to a temporary folder, from which the engine loads it onto the GPU."""

    def __init__(self, network: Any, tokenizer: Any, *, precision: str, window: int) -> None:
        from vllm import LLM

        self.precision = precision
        self.prefilled_tokens = self.reused_tokens = 0
        self._folder = tempfile.TemporaryDirectory(prefix="longsafety-vllm-")
        network.save_pretrained(self._folder.name)
        tokenizer.save_pretrained(self._folder.name)
        dtype = "float32" if precision == "32-true" else "bfloat16"
        self.engine = LLM(
            model=self._folder.name, dtype=dtype, max_model_len=window, enable_prefix_caching=True, max_logprobs=_TOP,
            seed=0,
        )  # fmt: skip

    def answers(
        self, batches: Iterable[Sequence[Trial]], encoder: ChatEncoder, evaluation: Evaluation
    ) -> Iterator[list[Answered]]:
        """Gives the engine many trials at once, whatever the batches."""
        trials = list(chain.from_iterable(batches))
        chunks = [trials[start : start + _AT_ONCE] for start in range(0, len(trials), _AT_ONCE)]
        return super().answers(chunks, encoder, evaluation)

    def facts(self) -> dict[str, int | str]:
        return {
            "prefilled_tokens": self.prefilled_tokens,
            "reused_tokens": self.reused_tokens,
            "processes": 1,
            "precision": self.precision,
            "device": device_name("auto"),
        }

    def loglikelihoods(self, questions: Sequence[Question]) -> list[np.ndarray]:
        single = [number for number, one in enumerate(questions) if all(len(ids) == 1 for ids in one.continuations)]
        found = dict(zip(single, self._first_tokens([questions[number] for number in single]), strict=True))
        rest = [number for number in range(len(questions)) if found.get(number) is None]
        rows = [(questions[number].prompt, ids) for number in rest for ids in questions[number].continuations]
        values = iter(self._continued(rows))
        for number in rest:
            found[number] = np.array([next(values) for _ in questions[number].continuations])
        return [np.asarray(found[number]) for number in range(len(questions))]

    def replies(
        self, prompts: Sequence[np.ndarray], *, max_new_tokens: int, end_ids: Sequence[int], pad_id: int
    ) -> Iterable[np.ndarray]:
        for output in self._run(prompts, max_tokens=max_new_tokens, stop_token_ids=list(end_ids)):
            ids = np.asarray(output.outputs[0].token_ids, dtype=np.int64)
            yield ids[:-1] if len(ids) and int(ids[-1]) in end_ids else ids

    def _first_tokens(self, questions: Sequence[Question]) -> list[np.ndarray | None]:
        """Log-probabilities of one-token continuations, from one pass of the prompt; ``None`` where one of them is not
        among the likeliest."""
        if not questions:
            return []
        found: list[np.ndarray | None] = []
        for one, output in zip(
            questions, self._run([q.prompt for q in questions], max_tokens=1, logprobs=_TOP), strict=True
        ):
            top = output.outputs[0].logprobs[0]
            ids = [int(continuation[0]) for continuation in one.continuations]
            found.append(
                np.array([top[token].logprob for token in ids]) if all(token in top for token in ids) else None
            )
        return found

    def _continued(self, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        if not rows:
            return []
        values = []
        prompts = [np.concatenate(row) for row in rows]
        for (prompt, ids), output in zip(rows, self._run(prompts, max_tokens=1, prompt_logprobs=0), strict=True):
            found = output.prompt_logprobs[len(prompt) :]
            values.append(sum(at[int(token)].logprob for at, token in zip(found, ids, strict=True)))
        return values

    def _run(self, prompts: Sequence[np.ndarray], **options: Any) -> Any:
        from vllm import SamplingParams

        outputs = self.engine.generate(
            [{"prompt_token_ids": prompt.tolist()} for prompt in prompts],
            SamplingParams(temperature=0.0, detokenize=False, **options),
            use_tqdm=False,
        )
        for prompt, output in zip(prompts, outputs, strict=True):
            reused = output.num_cached_tokens or 0
            self.prefilled_tokens += len(prompt) - reused
            self.reused_tokens += reused
        return outputs
