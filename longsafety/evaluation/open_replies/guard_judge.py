"""A guard model as judge, on a backend of our own: from request and reply to a verdict.

The judged text is data: control tokens and the format's marks in it are broken into letters. What does not fit the
guard's window whole is unscored, never cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longsafety import settings
from longsafety.evaluation.asking.backend import Question, TokenBackend
from longsafety.evaluation.open_replies.guards import GUARDS
from longsafety.evaluation.open_replies.judge import EMPTY, Case
from longsafety.evaluation.open_replies.labelled import LABELLED
from longsafety.evaluation.open_replies.verdict_text import Verdict, unscored
from longsafety.samples.control import ControlTokens

TOO_LONG = unscored("longer than the guard's window")


class GuardJudge:
    """Judges by ``backend``, which holds the guard's network; ``window``: its tokens."""

    def __init__(self, guard: settings.Guard, backend: TokenBackend, tokenizer: Any, window: int) -> None:
        self.format, self.backend, self.tokenizer, self.window = GUARDS[guard.format], backend, tokenizer, window
        self.model = f"{guard.format}:{Path(guard.model).name}"
        self.labelled = Path(guard.labelled or LABELLED).expanduser()
        self.control = ControlTokens(tokenizer)

    def verdicts(self, cases: Sequence[Case], scoring: str = "fixed") -> list[Verdict]:
        """A verdict on each case, whatever the ``scoring``: a guard has one rubric, its own."""
        prompts = [self._prompts(case) if case.reply.strip() else [] for case in cases]
        answers: dict[tuple[int, int], list[str]] = {}
        left = {
            (at, place): prompt
            for at, own in enumerate(prompts)
            if own and max(map(len, own)) + self._answer_tokens <= self.window
            for place, prompt in enumerate(own)
        }
        for key in left:
            answers[key] = []
        for step in self.format.steps:
            left = {key: np.concatenate([prompt, self._ids(step.before)]) for key, prompt in left.items()}
            words = [self._ids(word) for word in step.words]
            scores = self.backend.loglikelihoods([Question(prompt, words) for prompt in left.values()]) if left else []
            for (key, prompt), score in zip(list(left.items()), scores, strict=True):
                best = int(np.argmax(score))
                answers[key].append(step.words[best])
                left[key] = np.concatenate([prompt, words[best]])
        return [self._verdict(case, at, len(prompts[at]), answers) for at, case in enumerate(cases)]

    def _verdict(self, case: Case, at: int, count: int, answers: dict[tuple[int, int], list[str]]) -> Verdict:
        if not count:
            return EMPTY
        if (at, 0) not in answers:
            return TOO_LONG
        return self.format.verdict([answers[at, place] for place in range(count)], case.reply, harmful=case.harmful)

    @property
    def _answer_tokens(self) -> int:
        longest = (step.before + max(step.words, key=len) for step in self.format.steps)
        return len(self._ids("".join(longest))) + len(self.format.steps)

    def _prompts(self, case: Case) -> list[np.ndarray]:
        request, reply = (self.format.broken(self.control.broken(text)) for text in (case.request or "", case.reply))
        if self.format.prompts is not None:
            return [self._ids(text) for text in self.format.prompts(request, reply)]
        chat = [{"role": "user", "content": request}, {"role": "assistant", "content": reply}]
        return [self._ids(str(self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)))]

    def _ids(self, text: str) -> np.ndarray:
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
