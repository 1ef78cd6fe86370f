"""Signals that end a command: how they reach the worker, and when one may interrupt what it does.

The launcher passes them on (:class:`Relay`). A worker stops where it is, but a training only at the end of a step, with
a checkpoint (:func:`held`). Signals that were ignored when the process began (``nohup``) stay ignored.
"""

from __future__ import annotations

import atexit
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
HEARD = tuple(number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN)
"""Those that this process reacts to."""
AGAIN_SECONDS = 10
"""A signal is passed on again after so long: a library may catch every exception."""
_SOON_SECONDS = 0.05
_TWICE_SECONDS = 5
"""A terminal's Ctrl-C reaches the worker itself and through the launcher; the second of both raises nothing."""
_WRAPPED_SECONDS = 1
"""A terminal's Ctrl-C reaches the launcher itself, and again through a wrapper that passes signals on (``timeout``)."""


class _State:
    received: int | None = None
    held = 0
    raised = float("-inf")


def listen() -> None:
    """From now on a signal raises KeyboardInterrupt in the main thread, or is noted within :func:`held`.

    Python drops what is raised within a finaliser: there it is raised again a moment later.
    """
    for number in HEARD:
        signal.signal(number, _note)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _dropped
        signal.signal(signal.SIGALRM, _note)
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # later nobody handles it: it would end the process


def _dropped(dropped: sys.UnraisableHookArgs) -> None:
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    _State.raised = float("-inf")
    signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS)


def _note(number: int, _: FrameType | None) -> None:
    if _State.received is None:
        _State.received = number
    now = time.monotonic()
    if not _State.held and now - _State.raised > _TWICE_SECONDS:
        _State.raised = now
        raise KeyboardInterrupt


def received() -> int | None:
    """The first signal that this process has noted and that nobody has acted upon."""
    return _State.received


def raise_received() -> None:
    """Raises KeyboardInterrupt if a signal was noted while it could interrupt nothing."""
    if _State.received is not None:
        _State.received = None
        raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[None]:
    """Within it a signal is only noted; what is inside asks :func:`received` and ends by itself."""
    before: dict[int, Any] = {number: signal.getsignal(number) for number in HEARD}
    listen()
    _State.held, _State.received = _State.held + 1, None  # one that came before has raised
    try:
        yield
    finally:
        _State.held -= 1
        for number, handler in before.items():
            signal.signal(number, handler)


class Relay:
    """In the launcher: passes signals to the process that works for it.

    ``send`` takes a signal's number; while ``busy`` is not set, no process works and a signal raises KeyboardInterrupt.
    The second signal by hand ends the process at once; the same signal again within a second is none by hand.
    """

    def __init__(self, send: Callable[[int], None]) -> None:
        self.send = send
        self.busy = False
        self.received: int | None = None
        self._at = float("-inf")
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Relay:
        self._before = {number: signal.signal(number, self._arrived) for number in HEARD}
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._again)
        return self

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, _: FrameType | None) -> None:
        repeated, self.received = self.received is not None, self.received or number
        now = time.monotonic()
        if repeated and number == self.received and now - self._at < _WRAPPED_SECONDS:
            return
        self._at = now
        if not self.busy:
            raise KeyboardInterrupt
        self.send(signal.SIGKILL if repeated else number)
        signal.alarm(AGAIN_SECONDS)

    def _again(self, *_: object) -> None:
        if self.busy and self.received is not None:
            self.send(self.received)
            signal.alarm(AGAIN_SECONDS)
