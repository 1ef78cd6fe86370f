"""The client of an OpenAI-compatible server (vLLM, llama.cpp, ``transformers serve``, a paid one).

What a server sends is checked before anything uses it (``body``, ``completion``). What can pass is tried again
(``patience``); what concerns one request alone is its outcome; what concerns all of them ends the run (``problems``).
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn
from urllib.parse import urlsplit

from longsafety.chat.advice import failure
from longsafety.chat.body import NotJson, read_body
from longsafety.chat.completion import BadShape, Completion, as_chat, read_completion
from longsafety.chat.form import Form
from longsafety.chat.patience import Turnstile, asked_seconds, pause_seconds
from longsafety.chat.problems import BROKEN, LATE, UNREACHED, Problem, error_in, problem
from longsafety.chat.section import Section
from longsafety.chat.text import clean, one_line
from longsafety.errors import DataError
from longsafety.vocabulary import Outcome

logger = logging.getLogger(__name__)

FAILURES = 8
"""After so many requests in a row without a usable answer, each after its retries, no further one is sent."""
_CHANGES = 16
"""Most changes of a request's form, whatever bounds the server names next."""
_LARGEST = 64 * 2**20
"""Bytes of a response; none of a chat is larger."""
_OUTCOMES: Mapping[str, Outcome] = {"filtered": "filtered", "too_long": "too_long", "cut_off": "cut_off"}


class ServerFailure(DataError):
    """A server answers nothing. ``why`` is the reason in a few words, without texts of the server or a prompt."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class NoReply(ServerFailure):
    """One request has no reply, and others may have one. ``completion`` says what became of it."""

    def __init__(self, message: str, completion: Completion) -> None:
        super().__init__(message, (completion.reason or completion.outcome).split(":")[0])
        self.completion = completion

    @property
    def passes(self) -> bool:
        """Whether the request may have a reply another time."""
        return self.completion.outcome == "failed"


def server_problems(section: Section, key: str) -> list[str]:
    """The problems of a server's settings, a line each (cheap, for the checks before a run)."""
    problems = []
    url = urlsplit(section.base_url or "")
    if url.scheme not in ("http", "https") or not url.hostname:
        problems.append(
            f"{key}.base_url = {section.base_url!r}: must be the server's address, such as "
            "http://127.0.0.1:8000/v1; fix it"
        )
    value = os.environ.get(section.api_key_env or "", "")
    if section.api_key_env and not value:
        problems.append(
            f"{key}.api_key_env = {section.api_key_env}: the environment has no such variable; set it to the "
            "server's key, or leave the option out for a server without keys"
        )
    elif not value.isascii() or any(not one.isprintable() or one == " " for one in value):
        problems.append(
            f"{key}.api_key_env = {section.api_key_env}: the variable holds a space, a line break or a character that "
            "no key has; set it to the key alone"
        )
    return problems


class ChatServer:
    """Requests completions of chats and of raw texts; may be used by several threads.

    ``key`` is the dotted key of the section, for messages. ``per_minute``: most requests a minute.
    """

    def __init__(self, section: Section, *, model: str, key: str, per_minute: int | None = None) -> None:
        self.settings, self.model, self.key = section, model, key
        self.form = Form()
        self._turnstile = Turnstile(per_minute)
        self._lock = threading.Lock()
        self._failed_in_a_row = 0
        self._some_answered = False

    @cached_property
    def client(self) -> Any:
        import httpx2

        key = os.environ.get(self.settings.api_key_env or "") or "none"
        return httpx2.Client(
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
            timeout=httpx2.Timeout(self.settings.timeout_seconds, connect=min(self.settings.timeout_seconds, 30)),
            limits=httpx2.Limits(max_connections=self.settings.concurrency, max_keepalive_connections=None),
            follow_redirects=True,
        )

    def chat(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Completion:
        """The reply, whole or cut off. Optional parameters that the server refuses are left out or renamed (``form``).

        A failure that can pass is tried again ``retries`` times, with growing pauses; where the server names a longer
        pause all threads keep it, and it is no try. All of it takes at most ``patience_seconds``. Raises NoReply where
        this request has none, ServerFailure where no other would have one.
        """
        said = [{name: clean(text) for name, text in message.items()} for message in messages]
        return self._completed({"messages": said}, sum(len(message["content"].encode()) for message in said), options)

    def complete(self, prompt: str, **options: Any) -> Completion:
        """What the model writes after a raw text, as :meth:`chat` otherwise: no chat template, and the server puts its
        tokenizer's first token before it."""
        text = clean(prompt)
        return self._completed({"prompt": text}, len(text.encode()), options)

    def _completed(self, asked_for: Mapping[str, Any], size: int, options: Mapping[str, Any]) -> Completion:
        deadline, tries, changed = time.monotonic() + self.settings.patience_seconds, 0, 0
        while True:
            self._turnstile.wait()
            filled = self.form.filled(options)
            found, asked = self._sent({"model": self.model, **asked_for, **filled}, size, deadline)
            if isinstance(found, Completion):
                return self._answered(found)
            named = found.parameter if changed < _CHANGES else None
            if named is not None and self.form.without(named, found.words, options, filled):
                changed += 1
                logger.info("%s: %s; now %s", self.key, found.reason, ", ".join(self.form.changes))
                continue
            if outcome := _OUTCOMES.get(found.meaning):
                return self._answered(Completion(outcome, reason=found.reason))
            if found.meaning == "stop" or (found.meaning == "all" and not self._some_answered):
                raise ServerFailure(self._message(found, tries + 1), found.why)
            if asked is not None and asked < pause_seconds(tries + 1):
                asked = None
            tries += asked is None
            pause = pause_seconds(tries) if asked is None else asked
            if found.meaning != "later" or tries > self.settings.retries or time.monotonic() + pause > deadline:
                self._fail(found, tries, asked)
            logger.info("%s: %s; again in %.1f s", self.key, found.reason, pause)
            if asked is None:
                time.sleep(pause)
            else:
                self._turnstile.close(asked)

    def _sent(self, body: Mapping[str, Any], size: int, deadline: float) -> tuple[Completion | Problem, float | None]:
        """One request: its completion, or its problem; and the pause that the server asks for."""
        import httpx2

        try:
            status, headers, content = self._posted(body, deadline)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            return Problem("later", UNREACHED, _cause(error)), None
        except httpx2.TimeoutException:
            return Problem("later", LATE), None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            return Problem("later", BROKEN, _cause(error)), None
        try:
            answer = read_body(content)
        except NotJson as odd:
            if status >= 400:
                found = problem(status, None, body)
                return found._replace(words=one_line(str(odd))), asked_seconds(headers)
            return Problem("later", *_split(str(odd)), status), None
        told = error_in(answer, failed=status >= 400)
        if status >= 400 or told is not None:
            return problem(status, told, body), asked_seconds(headers, told.words if told else "")
        try:
            return read_completion(as_chat(answer) if "prompt" in body else answer, size), None
        except BadShape as bad:
            return Problem("later", *_split(str(bad)), status), None

    def _posted(self, body: Mapping[str, Any], deadline: float) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the response, which may take until the deadline."""
        import httpx2

        kind = "completions" if "prompt" in body else "chat/completions"
        url = f"{(self.settings.base_url or '').rstrip('/')}/{kind}"
        content, size = [], 0
        with self.client.stream("POST", url, content=json.dumps(body).encode()) as response:
            for part in response.iter_bytes():
                content.append(part)
                size += len(part)
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the response does not end")
                if size > _LARGEST:
                    raise httpx2.ReadError(f"the response is larger than {_LARGEST} bytes")
            return response.status_code, response.headers, b"".join(content)

    def _answered(self, found: Completion) -> Completion:
        with self._lock:
            self._failed_in_a_row, self._some_answered = 0, True
        if not found.replied:
            raise NoReply(f"{self._where}: {found.reason}", found)
        return found

    def _fail(self, found: Problem, tries: int, asked: float | None) -> NoReturn:
        """Raises NoReply; ServerFailure after too many requests in a row, or where no server ever answered."""
        with self._lock:
            self._failed_in_a_row += 1
            stop = self._failed_in_a_row >= FAILURES or (found.why == UNREACHED and not self._some_answered)
        message = self._message(found, tries)
        if stop:
            raise ServerFailure(message, found.why)
        why = f"{found.why}, which asks for a pause of {asked:.0f} s" if asked is not None else found.why
        raise NoReply(message, Completion("failed", reason=found._replace(why=why).reason))

    def _message(self, found: Problem, tries: int) -> str:
        return f"{self._where}: {failure(found, self.settings, self.key, tries)}"

    @property
    def _where(self) -> str:
        return f"{self.key}.base_url = {self.settings.base_url}, {self.key}.model = {self.model}"


def _split(text: str) -> tuple[str, str]:
    """What is ours, and what the server said."""
    ours, _, words = text.partition(": ")
    return ours, words


def _cause(error: BaseException) -> str:
    """The innermost error that says something, with its type."""
    while (inner := error.__cause__ or error.__context__) is not None and str(inner):
        error = inner
    return one_line(f"{type(error).__name__}: {error}")
