"""Asks a model behind an OpenAI-compatible server, many requests at once; the server applies its own chat template.

A chat server tells nothing of texts that it is given, so options are read off letters and replies only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from longsafety import settings
from longsafety.chat.server import BudgetSpent, ChatServer, tokens_spent
from longsafety.errors import DataError
from longsafety.evaluation.asking.ask import Ask, question_of, read_letters, read_reply, reply_tokens
from longsafety.samples.encode import ChatEncoder
from longsafety.vocabulary import LETTERS

KEY = "evaluation.server"


class ServerBackend:
    """``evaluation.server`` as who answers."""

    def __init__(self, server: settings.Server) -> None:
        self.settings = server
        self.server = ChatServer(server, model=server.model, key=KEY)
        self.prompt_tokens = self.reply_tokens = 0
        self._lock = threading.Lock()
        self._next_request = 0.0

    def answers(
        self, asks: Sequence[Ask], encoder: ChatEncoder, evaluation: settings.Evaluation
    ) -> Iterator[tuple[Ask, dict[str, Any]]]:
        """Each answer as soon as it has come.

        Raises:
            DataError: the server fails, or the budget is spent; what was under way is yielded before.
        """
        failed: DataError | None = None
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            under_way = {pool.submit(self._answer, one, encoder, evaluation): one for one in asks}
            left = len(under_way)
            try:
                for future in as_completed(under_way):
                    if future.cancelled():
                        continue
                    try:
                        found = future.result()
                    except DataError as error:
                        failed = failed or error
                        for other in under_way:
                            other.cancel()
                        continue
                    left -= 1
                    yield under_way[future], found
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        if failed is not None:
            kept = "the others are kept, and the same command goes on from there"
            raise DataError(f"{failed}; {left} answers are left, {kept}") from failed

    def _answer(self, one: Ask, encoder: ChatEncoder, evaluation: settings.Evaluation) -> dict[str, Any]:
        item, top = one.item, self.settings.top_logprobs
        messages = encoder.messages(*item.prompt(question_of(one)))
        if one.scorer != "letter":
            said = self._chat(messages, max_tokens=reply_tokens(one.scorer, evaluation))
            return read_reply(one, said.message.content or "")
        if top is not None:
            said = self._chat(messages, max_tokens=1, logprobs=True, top_logprobs=top)
            if said.logprobs is not None and said.logprobs.content:
                return _letters(one, said.logprobs.content[0].top_logprobs, said.message.content or "")
        else:
            said = self._chat(messages, max_tokens=evaluation.max_new_tokens)
        return read_reply(one, said.message.content or "")

    def _chat(self, messages: Sequence[dict[str, str]], **options: Any) -> Any:
        self._wait()
        completion = self.server.chat(messages, temperature=0.0, **options)
        prompt, reply = tokens_spent(completion, messages)
        with self._lock:
            self.prompt_tokens += prompt
            self.reply_tokens += reply
        return completion.choices[0]

    def _wait(self) -> None:
        """Until the next request may begin; BudgetSpent where none may."""
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


def _letters(one: Ask, top: Sequence[Any], text: str) -> dict[str, Any]:
    """The letters' log-probabilities as the reply's first token.

    A letter that is not among the likeliest tokens counts by its token with a space, and where that is not either, it
    has at most the log-probability of the last of them, and takes it. Where no letter is found, the reply is read.
    """
    assert one.order is not None
    last = min(float(token.logprob) for token in top)
    as_they_are = {str(token.token): float(token.logprob) for token in reversed(top)}
    found = {token.strip(): value for token, value in as_they_are.items()} | as_they_are
    shown = LETTERS[: len(one.order)]
    if not any(letter in found for letter in shown):
        return read_reply(one, text)
    return {**read_letters(one, [found.get(letter, last) for letter in shown]), "reply": text}
