"""Sends requests to a model behind an OpenAI-compatible server, many at once. The server applies its chat template.

A chat server returns no likelihoods of given texts, so answers are read off letters and replies only. A request that
has no reply is an answer too: unscored, with its outcome and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from longsafety.chat.completion import Completion
from longsafety.chat.server import ChatServer, NoReply
from longsafety.chat.spending import Budget
from longsafety.errors import DataError
from longsafety.evaluation.asking.answer import Answer, answer_from_letters, answer_from_reply, no_answer
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
        self.server = ChatServer(server, model=server.model, key=KEY, per_minute=server.requests_per_minute)
        self.budget = Budget(server, KEY)

    def facts(self) -> dict[str, Any]:
        return {
            "chat_template": "the server's",
            "precision": "unknown",
            "device": f"server {self.settings.base_url}",
            "server_takes": self.server.form.changes,
        }

    def answers(
        self, batches: Iterable[Sequence[Trial]], encoder: ChatEncoder, evaluation: Evaluation
    ) -> Iterator[list[Answered]]:
        """Yields each answer as soon as it arrives.

        Raises:
            DataError: the server answers nothing, or the budget is spent; answers to requests already sent are yielded
                before.
        """
        failed: DataError | None = None
        pool = ThreadPoolExecutor(self.settings.concurrency)
        sent = {pool.submit(self._answer, trial, encoder, evaluation): trial for batch in batches for trial in batch}
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
            pool.shutdown(wait=True, cancel_futures=True)
        if failed is not None:
            kept = "the others are kept, and the same command continues from there"
            raise DataError(f"{failed}; {left} answers are missing, {kept}") from failed

    def _answer(self, trial: Trial, encoder: ChatEncoder, evaluation: Evaluation) -> Answer:
        messages = encoder.messages(*trial.item.prompt(shown_question(trial)))
        top, whole = self.settings.top_logprobs, {"max_tokens": max_reply_tokens(trial.scorer, evaluation)}
        found = None
        if trial.scorer == "letter" and top is not None and not self.server.form.leaves_out("logprobs"):
            found = self._asked(messages, max_tokens=1, logprobs=True, top_logprobs=top)
            if not found.top and found.outcome == "cut_off":
                found = None  # a token without its alternatives says less than a reply
        found = found or self._asked(messages, **whole)
        answer = self._read(trial, found)
        return {**answer, "prompt_tokens": found.prompt_tokens, "reply_tokens": found.reply_tokens}

    def _asked(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Completion:
        self.budget.check()
        try:
            found = self.server.chat(messages, temperature=0.0, **options)
        except NoReply as failure:
            found = failure.completion
        self.budget.add(found.prompt_tokens, found.reply_tokens)
        return found

    def _read(self, trial: Trial, found: Completion) -> Answer:
        if not found.replied:
            return no_answer(trial, found.outcome, found.reason, found.text or None)
        if trial.scorer == "letter" and found.top:
            return _answer_from_top(trial, found.top, found.text)
        return {**answer_from_reply(trial, found.text), "outcome": found.outcome}


def _answer_from_top(trial: Trial, top: Sequence[tuple[str, float]], text: str) -> Answer:
    """Reads the letters' log-probabilities off the likeliest first tokens (``top``) of the reply.

    A letter that is not among them counts by its token with a space. If that is missing too, the letter has at most
    the log-probability of the last of them, and takes it. Where no letter is among them, the reply ``text`` is read.
    """
    assert trial.order is not None
    last = min(value for _, value in top)
    exact = dict(top)
    found = {token.strip(): value for token, value in reversed(top)} | exact
    shown = LETTERS[: len(trial.order)]
    if not any(letter in found for letter in shown):
        return answer_from_reply(trial, text)
    answer = answer_from_letters(trial, [found.get(letter, last) for letter in shown])
    return {**answer, "reply": text}
