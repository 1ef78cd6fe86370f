"""The judge's server, and a detector that knows one phrase."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from longsafety.evaluation.open_replies import verdicts
from tests.evaluation.open_replies.judge_server import Server, running_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("longsafety.chat.patience.FIRST_PAUSE", 0.01)  # for speed only
    with running_server() as judge:
        yield judge


@pytest.fixture
def one_phrase(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector calls a reply a refusal where it says "I cannot"."""
    monkeypatch.setattr(verdicts, "declines", lambda reply: "I cannot" in reply)
