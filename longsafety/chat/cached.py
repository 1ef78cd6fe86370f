"""A teacher (or judge) whose replies are kept on disk, so that no prompt is sent twice."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from longsafety import settings
from longsafety.chat.replies import Reply, ReplyCache
from longsafety.chat.server import BudgetSpent, ChatServer, tokens_spent
from longsafety.errors import DataError
from longsafety.files import user_path

logger = logging.getLogger(__name__)

RETRY_TEMPERATURE = 0.7
"""The least temperature of a prompt that is sent again because its reply was rejected."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt for a teacher. ``attempt`` counts from 0; each attempt after a rejected reply is a prompt of its own."""

    kind: str
    text: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A teacher's unchanged reply, and its writer (``openai:qwen2.5-7b``)."""

    text: str
    writer: str


@dataclass(frozen=True, slots=True)
class Spending:
    """What was sent and what it cost; replies of the cache cost nothing."""

    prompts: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.reply_tokens

    def money(self, price: settings.Price) -> float:
        """In the price's currency."""
        return (self.prompt_tokens * price.prompt + self.reply_tokens * price.reply) / 1_000_000

    def plus(self, reply: Reply) -> Spending:
        return Spending(
            self.prompts + 1, self.prompt_tokens + reply.prompt_tokens, self.reply_tokens + reply.reply_tokens
        )


class CachedTeacher(ABC):
    """The common part of all teachers: the cache, the budget, and concurrent prompts.

    After a rejected reply a prompt is sampled (temperature at least 0.7), because a greedy model would give the same
    reply again. The seed is derived from the prompt, so that the same settings give the same requests.
    ``budget_tokens`` counts the tokens of this object's prompts and replies, ``budget_money`` their cost at ``price``.
    No prompt is sent once either is spent, so it is exceeded at most by the prompts then in flight.
    """

    concurrency = 1
    section: ClassVar[str] = "teacher"
    """The dotted key of its settings, for messages; its last part names the folder of the replies."""

    def __init__(self, teacher: settings.Teacher, cache: Path) -> None:
        self.settings = teacher
        self.cache = cache
        self.retries = teacher.retries
        self.model = str(teacher.model)
        self.replies = ReplyCache(cache / self.section.split(".")[-1])
        self.spent = Spending()
        self._spending = threading.Lock()
        local = user_path(self.model)
        self.writer = f"{teacher.kind}:{local.name if local.is_absolute() else self.model}"

    def write(self, prompts: Sequence[Prompt]) -> list[Written]:
        """Replies to all prompts. Those not in the cache are sent, equal ones once; each reply is saved at once."""
        return [Written(self.replies[key].text, self.writer) for key in self._fetched(prompts)]

    def _fetched(self, prompts: Sequence[Prompt]) -> list[str]:
        """The prompts' keys, once the cache has all their replies."""
        keys = [self._key(prompt) for prompt in prompts]
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if self.replies.get(key) is None}
        if missing:
            total = len(set(keys))
            logger.info("%s %s: %d prompts, %d cached", self.section, self.writer, total, total - len(missing))
            self._ask_all(missing)
        return keys

    def _ask_all(self, missing: dict[str, Prompt]) -> None:
        self._prepare()
        with ThreadPoolExecutor(self.concurrency) as pool:
            futures = [pool.submit(self._answer, key, prompt) for key, prompt in missing.items()]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException as error:
                pool.shutdown(wait=True, cancel_futures=True)  # prompts in flight finish, and their replies are kept
                left = sum(self.replies.get(key) is None for key in missing)
                kept = (
                    f"{left} prompts are left; the {len(self.replies)} replies in {self.replies.path} are kept, "
                    "and the same command continues from there"
                )
                if isinstance(error, DataError):
                    raise DataError(f"{error}; {kept}") from error
                raise

    def _answer(self, key: str, prompt: Prompt) -> None:
        if self.replies.get(key) is not None:  # another process sent it
            return
        with self._spending:
            self._check_budget()
        reply = self._ask(prompt, self._temperature(prompt), int(key[:7], 16))
        with self._spending:
            self.spent = self.spent.plus(reply)
        self.replies.put(key, reply, kind=prompt.kind, writer=self.writer, attempt=prompt.attempt)

    def _check_budget(self) -> None:
        tokens, money = self.settings.budget_tokens, self.settings.budget_money
        again = "raise it, or run again to spend the same budget once more"
        if tokens is not None and self.spent.tokens >= tokens:
            raise BudgetSpent(f"{self.section}.budget_tokens = {tokens}: {self.spent.tokens} tokens are spent; {again}")
        cost = self.spent.money(self.settings.price)
        if money is not None and cost >= money:
            raise BudgetSpent(f"{self.section}.budget_money = {money:g}: {cost:.4g} is spent; {again}")

    def _key(self, prompt: Prompt) -> str:
        """Identifies a reply, wherever the server runs: model, prompt, sampling and attempt."""
        section = self.settings
        parts = (section.kind, self._identity, self._temperature(prompt), section.max_reply_tokens)
        return hashlib.sha256(json.dumps([*parts, prompt.text, prompt.attempt]).encode()).hexdigest()

    def _temperature(self, prompt: Prompt) -> float:
        temperature = self.settings.temperature
        return max(temperature, RETRY_TEMPERATURE) if prompt.attempt else temperature

    @cached_property
    def _identity(self) -> str:
        return self.model

    @abstractmethod
    def _prepare(self) -> None:
        """Loads the client or model, before the first prompt is sent."""

    @abstractmethod
    def _ask(self, prompt: Prompt, temperature: float, seed: int) -> Reply:
        """One reply; called from ``concurrency`` threads. Raises DataError."""


class OpenAITeacher(CachedTeacher):
    """A server with OpenAI's chat completions. If it reports no usage, bytes are counted as tokens."""

    def __init__(self, teacher: settings.Teacher, cache: Path) -> None:
        super().__init__(teacher, cache)
        self.concurrency = teacher.concurrency
        self.server = ChatServer(teacher, model=self.model, key=self.section)

    def _prepare(self) -> None:
        _ = self.server.client

    def _ask(self, prompt: Prompt, temperature: float, seed: int) -> Reply:
        messages = [{"role": "user", "content": prompt.text}]
        completion = self.server.chat(
            messages,
            max_tokens=self.settings.max_reply_tokens,
            temperature=temperature,
            **({"seed": seed} if temperature else {}),
        )
        return Reply(completion.choices[0].message.content or "", *tokens_spent(completion, messages))
