"""The form of requests to a server: which of the optional parameters it takes, learnt from its refusals."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from longsafety.chat.bounds import SIZE, Bound, named_bound

_RENAMED = {"max_tokens": "max_completion_tokens"}
_TOGETHER = dict.fromkeys(_LOGPROBS := ("logprobs", "top_logprobs"), _LOGPROBS)
"""What is left out together."""
_FEWEST_ALTERNATIVES = 2
"""Fewer alternatives of a token compare nothing."""


class Form:
    """Shared by all threads; every refusal of a parameter changes it for all later requests."""

    def __init__(self) -> None:
        self._names: dict[str, str | None] = {}
        self._bounds: dict[str, dict[str, int]] = {"most": {}, "least": {}}
        self._lock = threading.Lock()

    @property
    def changes(self) -> list[str]:
        """What differs from what was asked for, a line each."""
        with self._lock:
            left = [
                f"{name} is left out, which the server refuses" if new is None else f"{name} is sent as {new}"
                for name, new in self._names.items()
            ]
            return left + [
                f"{name} is {value}, the {side} that the server takes"
                for side, bounds in self._bounds.items()
                for name, value in bounds.items()
                if self._names.get(name, name) is not None
            ]

    def leaves_out(self, parameter: str) -> bool:
        """Whether the server is known to refuse it."""
        with self._lock:
            return self._names.get(parameter, parameter) is None

    def filled(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as this server takes them."""
        with self._lock:
            named = {self._names.get(name, name): self._bounded(name, value) for name, value in options.items()}
        return {name: value for name, value in named.items() if name is not None}

    def without(self, parameter: str, words: str, options: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
        """Learns that the server refuses ``parameter`` of what was ``sent`` for ``options``; whether a changed request
        is worth a try."""
        if self.filled(options) != sent:
            return True  # another thread has learnt it meanwhile
        with self._lock:
            asked = next((name for name, new in self._names.items() if new == parameter), parameter)
            sized = asked
            if parameter in _LOGPROBS and "top_logprobs" in sent:
                sized = parameter = "top_logprobs"  # of the two the one that has a size
            if (bound := _bound(sized, words, sent[parameter])) is not None:
                self._bounds[bound.side][sized] = bound.value
            elif (
                asked == parameter and (other := _RENAMED.get(parameter)) and (other in words or not SIZE.search(words))
            ):
                self._names[parameter] = other
            elif asked in _RENAMED:
                return False  # neither name of the limit is taken: without a limit a reply has no end
            else:
                self._names |= dict.fromkeys(_TOGETHER.get(parameter, (parameter,)))
        return self.filled(options) != sent

    def _bounded(self, name: str, value: Any) -> Any:
        if type(value) is not int:
            return value
        value = max(value, self._bounds["least"].get(name, value))
        return min(value, self._bounds["most"].get(name, value))


def _bound(name: str, words: str, sent: Any) -> Bound | None:
    """The bound of a limit or a number of alternatives; of other parameters no other value will do."""
    if type(sent) is not int or name not in (*_RENAMED, *_LOGPROBS):
        return None
    bound = named_bound(words, sent)
    if bound and name in _LOGPROBS and (bound.side == "least" or bound.value < _FEWEST_ALTERNATIVES):
        return None
    return bound
