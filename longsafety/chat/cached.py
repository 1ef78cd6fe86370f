"""A teacher whose replies are kept on disk, so that nothing is asked for twice."""

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

logger = logging.getLogger(__name__)


ASK_AGAIN_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a teacher is asked. ``attempt`` counts from 0; an attempt after a rejected reply is another prompt."""

    kind: str
    text: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A teacher's reply as it came, and who wrote it (``openai:qwen2.5-7b``)."""

    text: str
    writer: str


class CachedTeacher(ABC):
    """What both teachers share: the cache, the budget, and prompts under way at once.

    A prompt asked again is sampled (temperature at least 0.7), for a greedy model would reply as before; the seed
    comes from the prompt, so that the same settings ask for the same replies. ``budget_tokens`` counts what this
    object asks; no prompt is begun once it is spent, so it is exceeded at most by the prompts then under way.
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
        self.spent_tokens = 0
        self._spending = threading.Lock()
        local = Path(self.model).expanduser()
        self.writer = f"{teacher.kind}:{local.name if local.is_absolute() else self.model}"

    def write(self, prompts: Sequence[Prompt]) -> list[Written]:
        """Asks what the cache does not hold; the same prompt once. Each reply is on disk as soon as it has come."""
        return [Written(self.replies[key].text, self.writer) for key in self._asked(prompts)]

    def _asked(self, prompts: Sequence[Prompt]) -> list[str]:
        """The prompts' keys, once those that the cache did not hold were asked."""
        keys = [self._key(prompt) for prompt in prompts]
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if self.replies.get(key) is None}
        if missing:
            asked = len(set(keys))
            logger.info("%s %s: %d prompts, %d cached", self.section, self.writer, asked, asked - len(missing))
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
                pool.shutdown(wait=True, cancel_futures=True)  # those under way finish, and are kept
                left = sum(self.replies.get(key) is None for key in missing)
                kept = (
                    f"{left} prompts are left; the {len(self.replies)} replies in {self.replies.path} are kept, "
                    "and the same command goes on from there"
                )
                if isinstance(error, DataError):
                    raise DataError(f"{error}; {kept}") from error
                raise

    def _answer(self, key: str, prompt: Prompt) -> None:
        if self.replies.get(key) is not None:  # another process was faster
            return
        budget = self.settings.budget_tokens
        with self._spending:
            if budget is not None and self.spent_tokens >= budget:
                raise BudgetSpent(
                    f"{self.section}.budget_tokens = {budget}: {self.spent_tokens} tokens are spent; raise it, "
                    "or run again to spend as many once more"
                )
        reply = self._ask(prompt, self._temperature(prompt), int(key[:7], 16))
        with self._spending:
            self.spent_tokens += reply.prompt_tokens + reply.reply_tokens
        self.replies.put(key, reply, kind=prompt.kind, writer=self.writer, attempt=prompt.attempt)

    def _key(self, prompt: Prompt) -> str:
        """Fixes a reply, wherever the server runs: who is asked what, how, and for the which time."""
        section = self.settings
        parts = (section.kind, self._identity, self._temperature(prompt), section.max_reply_tokens)
        return hashlib.sha256(json.dumps([*parts, prompt.text, prompt.attempt]).encode()).hexdigest()

    def _temperature(self, prompt: Prompt) -> float:
        asked = self.settings.temperature
        return max(asked, ASK_AGAIN_TEMPERATURE) if prompt.attempt else asked

    @cached_property
    def _identity(self) -> str:
        return self.model

    @abstractmethod
    def _prepare(self) -> None:
        """Loads what asking needs, once something has to be asked."""

    @abstractmethod
    def _ask(self, prompt: Prompt, temperature: float, seed: int) -> Reply:
        """One reply, from ``concurrency`` threads at once. Raises DataError."""


class OpenAITeacher(CachedTeacher):
    """A server with the chat completions of OpenAI; where it reports no usage, bytes are charged as tokens."""

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
