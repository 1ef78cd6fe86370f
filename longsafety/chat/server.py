"""The client of an OpenAI-compatible server (vLLM, llama.cpp, ``transformers serve``, a paid one), and its failures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import urlsplit

from longsafety.errors import DataError


class Section(Protocol):
    """The settings of a server."""

    @property
    def base_url(self) -> str | None: ...
    @property
    def api_key_env(self) -> str | None: ...
    @property
    def retries(self) -> int: ...
    @property
    def timeout_seconds(self) -> int: ...
    @property
    def concurrency(self) -> int: ...


class ServerFailure(DataError):
    """A server did not answer. ``why`` is the reason in a few words, without texts of the server or a prompt."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class BudgetSpent(DataError):
    """The token budget is spent."""


def server_problems(section: Section, key: str) -> list[str]:
    """The problems of a server's settings, a line each (cheap, for the checks before a run)."""
    problems = []
    url = urlsplit(section.base_url or "")
    if url.scheme not in ("http", "https") or not url.hostname:
        problems.append(
            f"{key}.base_url = {section.base_url!r}: must be the server's address, such as "
            "http://127.0.0.1:8000/v1; fix it"
        )
    if section.api_key_env and not os.environ.get(section.api_key_env):
        problems.append(
            f"{key}.api_key_env = {section.api_key_env}: the environment has no such variable; set it to the "
            "server's key, or leave the option out for a server without keys"
        )
    return problems


class ChatServer:
    """Requests chat completions; may be used by several threads.

    The client retries ``retries`` times, with growing pauses, if the server cannot be reached, is overloaded or fails.
    ``key`` is the dotted key of the section, for messages.
    """

    def __init__(self, section: Section, *, model: str, key: str) -> None:
        self.settings, self.model, self.key = section, model, key

    @cached_property
    def client(self) -> Any:
        from openai import OpenAI

        return OpenAI(
            base_url=self.settings.base_url,
            api_key=os.environ.get(self.settings.api_key_env or "") or "none",
            max_retries=self.settings.retries,
            timeout=self.settings.timeout_seconds,
        )

    def chat(self, messages: Sequence[dict[str, str]], **options: Any) -> Any:
        """A completion with at least one choice and its message. Raises ServerFailure."""
        import openai

        try:
            completion = self.client.chat.completions.create(model=self.model, messages=list(messages), **options)
            _ = completion.choices[0].message.content
        except openai.OpenAIError as error:
            raise self._failure(error) from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:  # the response of another kind of server
            raise ServerFailure(
                f"{self.key}.base_url = {self.settings.base_url}: its response is no chat completion; "
                "give the address of an OpenAI-compatible server, up to /v1",
                "its response is no chat completion",
            ) from error
        return completion

    def _failure(self, error: Exception) -> ServerFailure:
        import openai

        section, key = self.settings, self.key
        where = f"{key}.base_url = {section.base_url}, {key}.model = {self.model}"
        tries = f"{section.retries + 1} tries"
        if isinstance(error, openai.APITimeoutError):
            fix = f"raise {key}.timeout_seconds"
            message = f"{where}: no answer within {section.timeout_seconds} s in {tries}; {fix}"
            return ServerFailure(message, "no answer in time")
        if isinstance(error, openai.APIConnectionError):
            cause = f"{type(error.__cause__).__name__}: {error.__cause__}" if error.__cause__ else str(error)
            message = f"{where}: the server cannot be reached in {tries} ({cause}); start it, or fix the address"
            return ServerFailure(message, "cannot be reached")
        status = getattr(error, "status_code", None)
        fix = "see the server's log"
        if status in (401, 403):
            fix = f"put its key into the environment variable {section.api_key_env} ({key}.api_key_env)"
        elif status in (400, 404, 422):
            fix = f"set {key}.model to a name that the server knows, or fix {key}.base_url, which ends with /v1"
        elif status == 429:
            fix = f"lower {key}.concurrency, or raise {key}.retries"
        message = " ".join(str(error).split())[:300]
        return ServerFailure(f"{where}: the server refuses ({message}); {fix}", f"HTTP {status or 'error'}")


def tokens_spent(completion: Any, messages: Sequence[dict[str, str]]) -> tuple[int, int]:
    """Prompt and reply tokens of a completion; if the server reports no usage their bytes, an upper bound."""
    if completion.usage is not None:
        return completion.usage.prompt_tokens, completion.usage.completion_tokens
    text = completion.choices[0].message.content or ""
    return sum(len(one["content"].encode()) for one in messages), len(text.encode("utf-8", "replace"))
