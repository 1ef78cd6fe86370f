"""Sends requests to a model behind an OpenAI-compatible server, many at once. The server applies its chat template.

A chat server returns no likelihoods of given texts, so answers are read off letters and replies only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from longsafety.chat.server import BudgetSpent, ChatServer, tokens_spent
from longsafety.errors import DataError
from longsafety.evaluation.asking.answer import Answer, answer_from_letters, answer_from_reply
from longsafety.evaluation.asking.backend import Answered
from longsafety.evaluation.asking.trials import Trial, max_reply_tokens, shown_question
from longsafety.samples.encode import ChatEncoder
from longsafety.settings import Evaluation, Server
from longsafety.vocabulary import LETTERS

KEY = "evaluation.server"


class ServerBackend:
    """The backend for ``evaluation.server``."""

    def __init__(self, server: Server) -> None:
        self.settings = server
        self.server = ChatServer(server, model=server.model, key=KEY)
        self.prompt_tokens = self.reply_tokens = 0
        self._lock = threading.Lock()
        self._next_request = 0.0

    def facts(self) -> dict[str, int | str]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "reply_tokens": self.reply_tokens,
            "chat_template": "the server's",
            "precision": "unknown",
            "device": f"server {self.settings.base_url}",
        }

    def answers(
        self, batches: Iterable[Sequence[Trial]], encoder: ChatEncoder, evaluation: Evaluation
    ) -> Iterator[list[Answered]]:
        """Yields each answer as soon as it arrives.

        Raises:
            DataError: the server fails, or the budget is spent; answers to requests already sent are yielded before.
        """
        failed: DataError | None = None
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            sent = {
                pool.submit(self._answer, trial, encoder, evaluation): trial for batch in batches for trial in batch
            }
            left = len(sent)
            try:
                for future in as_completed(sent):
                    if future.cancelled():
                        continue
                    try:
                        found = future.result()
                    except DataError as error:
                        failed = failed or error
                        for other in sent:
                            other.cancel()
                        continue
                    left -= 1
                    yield [(sent[future], found)]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        if failed is not None:
            kept = "the others are kept, and the same command continues from there"
            raise DataError(f"{failed}; {left} answers are missing, {kept}") from failed

    def _answer(self, trial: Trial, encoder: ChatEncoder, evaluation: Evaluation) -> Answer:
        top = self.settings.top_logprobs
        messages = encoder.messages(*trial.item.prompt(shown_question(trial)))
        if trial.scorer != "letter":
            reply = self._chat(messages, max_tokens=max_reply_tokens(trial.scorer, evaluation))
        elif top is None:
            reply = self._chat(messages, max_tokens=evaluation.max_new_tokens)
        else:
            reply = self._chat(messages, max_tokens=1, logprobs=True, top_logprobs=top)
            if reply.logprobs is not None and reply.logprobs.content:
                return _answer_from_top(trial, reply.logprobs.content[0].top_logprobs, reply.message.content or "")
        return answer_from_reply(trial, reply.message.content or "")

    def _chat(self, messages: Sequence[dict[str, str]], **options: Any) -> Any:
        self._wait()
        completion = self.server.chat(messages, temperature=0.0, **options)
        prompt, reply = tokens_spent(completion, messages)
        with self._lock:
            self.prompt_tokens += prompt
            self.reply_tokens += reply
        return completion.choices[0]

    def _wait(self) -> None:
        """Waits until the next request may be sent. Raises ``BudgetSpent`` where none may."""
        budget, rate = self.settings.budget_tokens, self.settings.requests_per_minute
        with self._lock:
            spent = self.prompt_tokens + self.reply_tokens
            if budget is not None and spent >= budget:
                raise BudgetSpent(f"{KEY}.budget_tokens = {budget}: {spent} tokens are spent; raise it")
            if rate is None:
                return
            now = time.monotonic()
            start = max(now, self._next_request)
            self._next_request = start + 60 / rate
        time.sleep(start - now)


def _answer_from_top(trial: Trial, top: Sequence[Any], text: str) -> Answer:
    """Reads the letters' log-probabilities off the likeliest first tokens (``top``) of the reply.

    A letter that is not among them counts by its token with a space. If that is missing too, the letter has at most
    the log-probability of the last of them, and takes it. Where no letter is among them, the reply ``text`` is read.
    """
    assert trial.order is not None
    last = min(float(token.logprob) for token in top)
    exact = {str(token.token): float(token.logprob) for token in reversed(top)}
    found = {token.strip(): value for token, value in exact.items()} | exact
    shown = LETTERS[: len(trial.order)]
    if not any(letter in found for letter in shown):
        return answer_from_reply(trial, text)
    answer = answer_from_letters(trial, [found.get(letter, last) for letter in shown])
    return {**answer, "reply": text}
