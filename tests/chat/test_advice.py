"""What a user is told about a server that answers nothing: its words, and what can be done."""

from __future__ import annotations

from typing import Any

import pytest

from longsafety import settings
from longsafety.chat.advice import failure
from longsafety.chat.problems import error_in, problem
from longsafety.settings import Server

SERVER = Server(model="m", base_url="http://127.0.0.1/v1")
KEYED = Server(model="m", base_url="http://127.0.0.1/v1", api_key_env="THE_KEY")
WRONG_MODEL = "set evaluation.server.model to a name that the server knows"


def said(status: int, message: str, section: Any = SERVER, key: str = "evaluation.server", role: str = "user") -> str:
    sent = {"model": "m", "messages": [{"role": role, "content": "x"}], "max_tokens": 1}
    return failure(problem(status, error_in({"error": {"message": message}}), sent), section, key, 1)


@pytest.mark.parametrize(
    ("status", "message", "fix"),
    [
        (401, "Who are you?", "set evaluation.server.api_key_env to the name of an environment variable"),
        (400, "Invalid API key", "set evaluation.server.api_key_env to the name of an environment variable"),
        (404, "Not Found", WRONG_MODEL),
        (405, "Method Not Allowed", WRONG_MODEL),
        (400, "Invalid model name passed in model=m", WRONG_MODEL),
        (400, "The model `m` does not exist", WRONG_MODEL),
        (400, "System role not supported", "start the server with a chat template"),
        (400, "Conversation roles must alternate user/assistant", "start the server with a chat template"),
        (400, "max_tokens is too small: 1", "evaluation.server.top_logprobs=null"),
        (400, "the field foo is wanted", "change what its words name"),
        (429, "slow", "lower evaluation.server.concurrency"),
        (500, "segmentation fault", "see the server's log"),
    ],
)
def test_the_advice_fits_the_words_that_it_quotes(status: int, message: str, fix: str) -> None:
    line = said(status, message)
    assert line.startswith(f"the server refuses (HTTP {status}: {message}); ") and fix in line
    assert (fix == WRONG_MODEL) == ("base_url" in line) and "None" not in line


def test_a_key_that_was_sent_is_to_be_replaced() -> None:
    assert "into the environment variable THE_KEY (evaluation.server.api_key_env)" in said(401, "no", KEYED)


def test_a_system_message_can_be_left_out_where_a_setting_sends_it() -> None:
    words = "System role not supported"
    assert "set evaluation.system=none, or start the server" in said(400, words, role="system")
    assert "evaluation.system" not in said(400, words, key="evaluation.guards[0]", role="system")


def test_the_limit_of_a_section_is_its_own_setting() -> None:
    teacher = settings.Teacher(kind="openai", model="m", base_url="http://127.0.0.1/v1")
    assert "set teacher.max_reply_tokens to" in said(400, "max_tokens is too small: 1", teacher, "teacher")
