"""Signals: what they interrupt in a worker, and how the launcher passes them on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from longsafety.host import interrupts
from longsafety.host.interrupts import SIGNALS, Relay, held, listen, raise_received, received


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a terminal, also where the tests run in a shell's background, which ignores some signals."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    monkeypatch.setattr(interrupts, "HEARD", SIGNALS)
    interrupts._State.received, interrupts._State.raised = None, float("-inf")
    yield
    interrupts._State.received = None
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_once_and_its_double_does_not(number: signal.Signals) -> None:
    listen()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    signal.raise_signal(signal.SIGTERM)
    assert received() == number


def test_within_held_it_is_noted_and_interrupts_what_follows() -> None:
    listen()
    with held():
        signal.raise_signal(signal.SIGUSR1)
        assert received() == signal.SIGUSR1
    with pytest.raises(KeyboardInterrupt):
        raise_received()
    raise_received()


def test_handlers_are_afterwards_what_they_were() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with held():
        assert signal.getsignal(signal.SIGHUP) is not before
    assert signal.getsignal(signal.SIGHUP) is before


def test_the_launcher_passes_a_signal_on_and_kills_at_the_second() -> None:
    sent: list[int] = []
    with Relay(sent.append) as relay, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)  # nothing works: there is nobody to pass it on to
    with Relay(sent.append) as relay:
        relay.busy = True
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGALRM)
        assert (sent, relay.received) == ([signal.SIGUSR1] * 2, signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)  # a shell's background job ignores SIGINT
        assert sent[2:] == [signal.SIGKILL]
        assert relay.received == signal.SIGUSR1
    assert signal.alarm(0) == 0


def test_a_signal_that_a_wrapper_passes_on_too_kills_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    with Relay(sent.append) as relay:
        relay.busy = True
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        assert sent == [signal.SIGINT]
        monkeypatch.setattr(interrupts, "_WRAPPED_SECONDS", 0)
        signal.raise_signal(signal.SIGINT)
        assert sent[1:] == [signal.SIGKILL], "the second by hand"


def test_what_nohup_ignores_stays_ignored() -> None:
    code = "import signal; from longsafety.host.interrupts import HEARD; print(signal.SIGHUP in HEARD)"
    for ignored in (False, True):
        shown = subprocess.run(
            [sys.executable, "-c", code],
            preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL),
            env=os.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout == f"{not ignored}\n"


DROPPED = """
import signal, time, weakref
from longsafety.host.interrupts import listen

class Thing:
    pass

listen()
thing = Thing()
kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
try:
    del thing
    time.sleep(30)
    print("slept")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_what_a_finaliser_drops_interrupts_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROPPED], env=os.environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


AT_THE_END = (
    DROPPED.split("try:")[0]
    + """
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(0.3)

slow = Slow()
del thing
"""
)


def test_what_is_dropped_at_the_very_end_does_not_kill_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END], env=os.environ, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
