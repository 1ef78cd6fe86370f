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
from longsafety.evaluation.asking.answer import Answer, answer_from_letters, answer_from_said, no_answer
from longsafety.evaluation.asking.backend import Answered
from longsafety.evaluation.asking.letters import letter_scores
from longsafety.evaluation.asking.trials import Trial, max_reply_tokens, shown_question
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.thoughts import part_thoughts
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
        top = self.settings.top_logprobs
        answer: Answer | None = None
        spent: list[Completion] = []
        if trial.scorer == "letter" and top is not None and not self.server.form.leaves_out("logprobs"):
            found = self._asked(messages, max_tokens=1, logprobs=True, top_logprobs=top)
            answer = _from_first_token(trial, found)
            spent.append(found)
        if answer is None:
            found = self._asked(messages, max_tokens=max_reply_tokens(trial.scorer, evaluation))
            answer = _from_reply(trial, found)
            spent.append(found)
        answer["prompt_tokens"] = sum(one.prompt_tokens for one in spent)
        answer["reply_tokens"] = sum(one.reply_tokens for one in spent)
        return answer

    def _asked(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Completion:
        self.budget.check()
        try:
            found = self.server.chat(messages, temperature=0.0, **options)
        except NoReply as failure:
            found = failure.completion
        self.budget.add(found.prompt_tokens, found.reply_tokens)
        return found


def _from_first_token(trial: Trial, found: Completion) -> Answer | None:
    """By the letters' log-probabilities; without usable ones by the reply if it is whole, else ``None``. The first
    token of a thought that the server gives apart is no letter."""
    assert trial.order is not None
    if not found.replied:
        return _from_reply(trial, found)
    scores = letter_scores(found.top, LETTERS[: len(trial.order)])
    if scores.values is not None and not found.thoughts:
        return {**answer_from_letters(trial, scores.values), "reply": found.text}
    return _from_reply(trial, found) if found.outcome == "answered" and found.text.strip() else None


def _from_reply(trial: Trial, found: Completion) -> Answer:
    if not found.replied:
        return no_answer(trial, found.outcome, found.reason, found.text or None)
    said = part_thoughts(found.text, reasoning=found.thoughts, cut_short=found.outcome == "cut_off")
    return {**answer_from_said(trial, said), "outcome": found.outcome}
