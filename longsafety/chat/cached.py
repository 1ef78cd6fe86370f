"""A teacher (or judge) whose replies are kept on disk, so that no prompt is sent twice."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from longsafety import settings
from longsafety.chat.replies import Reply, ReplyCache
from longsafety.chat.server import ChatServer, NoReply
from longsafety.chat.spending import Budget, Spending
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
    """Empty where there is none."""
    writer: str
    failure: str | None = None
    """Why there is no reply, in a few words of ours: the provider refuses or filters this prompt, say."""


class CachedTeacher(ABC):
    """The common part of all teachers: the cache, the budget, and concurrent prompts.

    After a rejected reply a prompt is sampled (temperature at least 0.7), because a greedy model would give the same
    reply again. The seed is derived from the prompt, so that the same settings give the same requests.
    ``budget_tokens`` counts the tokens of this object's prompts and replies, ``budget_money`` their cost at ``price``.
    A prompt that alone has no reply is not kept: a later run sends it again.
    """

    concurrency = 1
    needs_all: ClassVar[bool] = True
    """Whether a run ends where a prompt has no reply although it may have one later."""
    section: ClassVar[str] = "teacher"
    """The dotted key of its settings, for messages; its last part names the folder of the replies."""

    def __init__(self, teacher: settings.Teacher, cache: Path) -> None:
        self.settings = teacher
        self.cache = cache
        self.retries = teacher.retries
        self.model = str(teacher.model)
        self.replies = ReplyCache(cache / self.section.split(".")[-1])
        self.budget = Budget(teacher, self.section)
        self.failures: dict[str, str] = {}
        """Why a prompt (by its key) has no reply."""
        local = user_path(self.model)
        self.writer = f"{teacher.kind}:{local.name if local.is_absolute() else self.model}"

    @property
    def spent(self) -> Spending:
        return self.budget.spent

    def write(self, prompts: Sequence[Prompt]) -> list[Written]:
        """Replies to all prompts. Those not in the cache are sent, equal ones once; each reply is saved at once."""
        return [self._written(key) for key in self._fetched(prompts)]

    def _written(self, key: str) -> Written:
        reply = self.replies.get(key)
        if reply is None:
            return Written("", self.writer, self.failures[key])
        return Written(reply.text, self.writer)

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
        self.budget.check()
        try:
            reply = self._ask(prompt, self._temperature(prompt), int(key[:7], 16))
        except NoReply as failure:
            if failure.passes and self.needs_all:
                raise
            self.failures[key] = failure.why
            self.budget.add(failure.completion.prompt_tokens, failure.completion.reply_tokens)
            return
        self.budget.add(reply.prompt_tokens, reply.reply_tokens)
        self.replies.put(key, reply, kind=prompt.kind, writer=self.writer, attempt=prompt.attempt)

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
        """One reply; called from ``concurrency`` threads. Raises NoReply where there is none to this prompt alone,
        another DataError where the run ends."""


class OpenAITeacher(CachedTeacher):
    """A server with OpenAI's chat completions."""

    def __init__(self, teacher: settings.Teacher, cache: Path) -> None:
        super().__init__(teacher, cache)
        self.concurrency = teacher.concurrency
        self.server = ChatServer(teacher, model=self.model, key=self.section)

    def _prepare(self) -> None:
        _ = self.server.client

    def _ask(self, prompt: Prompt, temperature: float, seed: int) -> Reply:
        """Raises NoReply where this prompt alone has none, ServerFailure where none would have one."""
        found = self.server.chat(
            [{"role": "user", "content": prompt.text}],
            max_tokens=self.settings.max_reply_tokens,
            temperature=temperature,
            **({"seed": seed} if temperature else {}),
        )
        return Reply(found.text, found.prompt_tokens, found.reply_tokens)
