"""The form of requests to a server: which of the optional parameters it takes, learnt from its refusals."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

_RENAMED = {"max_tokens": "max_completion_tokens"}
_TOGETHER = dict.fromkeys(_LOGPROBS := ("logprobs", "top_logprobs"), _LOGPROBS)
"""What is left out together."""


class Form:
    """Shared by all threads; every refusal of a parameter changes it for all later requests."""

    def __init__(self) -> None:
        self._names: dict[str, str | None] = {}
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def changes(self) -> list[str]:
        """What differs from what was asked for, a line each."""
        with self._lock:
            left = [
                f"{name} is left out, which the server refuses" if new is None else f"{name} is sent as {new}"
                for name, new in self._names.items()
            ]
            return left + [f"{name} is {value}, the most that the server takes" for name, value in self._values.items()]

    def leaves_out(self, parameter: str) -> bool:
        """Whether the server is known to refuse it."""
        with self._lock:
            return self._names.get(parameter, parameter) is None

    def filled(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as this server takes them."""
        with self._lock:
            named = {self._names.get(name, name): self._values.get(name, value) for name, value in options.items()}
        return {name: value for name, value in named.items() if name is not None}

    def without(self, parameter: str, words: str, options: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
        """Learns that the server refuses ``parameter`` of what was ``sent`` for ``options``; whether a changed request
        is worth a try."""
        if self.filled(options) != sent:
            return True  # another thread has learnt it meanwhile
        with self._lock:
            asked = next((name for name, new in self._names.items() if new == parameter), parameter)
            if parameter == "top_logprobs" and (most := _most(words, int(sent[parameter]))) is not None:
                self._values[parameter] = most
            elif asked == parameter and parameter in _RENAMED:
                self._names[parameter] = _RENAMED[parameter]
            elif asked in _RENAMED:
                return False  # neither name of the limit is taken: without a limit a reply has no end
            else:
                self._names |= dict.fromkeys(_TOGETHER.get(parameter, (parameter,)))
        return True


def _most(words: str, sent: int) -> int | None:
    """The greatest number below the one sent that the server's words name."""
    below = [int(number) for number in re.findall(r"\d+", words) if 1 < int(number) < sent]
    return max(below, default=None)
