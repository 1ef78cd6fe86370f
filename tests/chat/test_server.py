"""The client and a server that fails: what is tried again, what is one request's outcome, and what ends all."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from longsafety.chat import patience
from longsafety.chat.completion import Completion
from longsafety.chat.patience import asked_seconds, pause_seconds
from longsafety.chat.server import FAILURES, ChatServer, NoReply, ServerFailure, server_problems
from longsafety.settings import Server
from tests.chat.odd_server import OddServer, Said, as_json, completion, error, serving, streamed

MESSAGES = [{"role": "user", "content": "Hello? \ud83d"}]
GOOD = as_json(completion("Hi."))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.002)


def opened(server: OddServer, **changes: Any) -> ChatServer:
    values: dict[str, Any] = {"model": "m", "base_url": server.url, "retries": 2, "timeout_seconds": 5}
    return ChatServer(Server(**values | changes), model="m", key="evaluation.server")


def ask(client: ChatServer, **options: Any) -> Completion:
    return client.chat(MESSAGES, max_tokens=9, temperature=0.0, **options)


PASSING: dict[str, Said] = {
    "reset": None,
    "half": (200, {"Content-Length": "999"}, b'{"choices": ['),
    "cut JSON": (200, {}, b'{"choices": ['),
    "nothing": (200, {}, b""),
    "web page": (200, {"Content-Type": "text/html"}, b"<html>Gateway</html>"),
    "bad gateway": (502, {"Content-Type": "text/html"}, b"<html>502</html>"),
    "overload": error(503, "overloaded"),
    "error in 200": as_json({"error": {"message": "rate limit", "code": 429}}),
    "no choice": as_json({"choices": []}),
    "stream that ends": streamed([{"choices": [{"index": 0, "delta": {"content": "Hi"}}]}], end=""),
    "stream with an error": streamed([{"error": {"message": "upstream died", "code": 502}}]),
    "chunks": (200, {"Transfer-Encoding": "chunked"}, b"zz\r\n"),
    "gzip": (200, {"Content-Encoding": "gzip"}, b"no gzip"),
}


@pytest.mark.parametrize("said", PASSING.values(), ids=PASSING)
def test_what_can_pass_is_tried_again_and_then_the_outcome_of_its_request(said: Said) -> None:
    with serving(lambda body, number: said if number in (2, 3) or number > 5 else GOOD) as server:
        client = opened(server)
        assert ask(client).text == "Hi."
        assert ask(client).text == "Hi."
        assert len(server.bodies) == 4
        assert ask(client).text == "Hi."
        with pytest.raises(NoReply) as failure:
            ask(client)
    assert len(server.bodies) == 8
    assert failure.value.completion.outcome == "failed" and failure.value.passes
    assert failure.value.completion.reason


@pytest.mark.parametrize(
    ("said", "outcome", "reason"),
    [
        (error(400, "prompt is too long: 9 tokens"), "too_long", "the prompt is longer than the server takes: prompt"),
        (error(400, "x", code="content_filter"), "filtered", "blocked by the provider's filter: the prompt: x"),
        (as_json(completion("Half", "content_filter")), "filtered", "blocked by the provider's filter: the reply"),
        (as_json(completion(None, refusal="I can't.")), "refused", "refused by the provider: I can't."),
        (error(400, "roles must alternate"), "failed", "HTTP 400: roles must alternate"),
    ],
)
def test_what_concerns_one_request_is_asked_once(said: Said, outcome: str, reason: str) -> None:
    with serving(lambda body, number: said if number == 1 else GOOD) as server:
        client = opened(server)
        with pytest.raises(NoReply) as failure:
            ask(client)
        assert ask(client).text == "Hi."
    assert failure.value.completion.outcome == outcome
    assert str(failure.value.completion.reason).startswith(reason)
    assert failure.value.why == reason.split(":")[0]
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (error(401, "no"), r"HTTP 401: no\); set evaluation\.server\.api_key_env"),
        (error(404, "no such model"), r"set evaluation\.server\.model"),
        (error(402, "pay"), "pay for more"),
    ],
)
def test_what_concerns_all_ends_the_run_at_once(said: Said, fix: str) -> None:
    with serving(lambda body, number: said) as server:
        with pytest.raises(ServerFailure, match=fix) as failure:
            ask(opened(server))
        assert not isinstance(failure.value, NoReply) and len(server.bodies) == 1


def test_a_refused_key_after_answers_is_one_requests_failure_and_many_end_the_run() -> None:
    with serving(lambda body, number: GOOD if number == 1 else error(403, "no")) as server:
        client = opened(server)
        ask(client)
        for _ in range(FAILURES - 1):
            with pytest.raises(NoReply):
                ask(client)
        with pytest.raises(ServerFailure, match="HTTP 403: no") as failure:
            ask(client)
    assert not isinstance(failure.value, NoReply)


def test_a_server_that_is_not_there_ends_the_run_at_once() -> None:
    with serving(lambda body, number: GOOD) as server:
        pass
    with pytest.raises(ServerFailure, match=r"cannot be reached in 3 tries \(.+\); start it") as failure:
        ask(opened(server))
    assert not isinstance(failure.value, NoReply)


def test_a_pause_that_the_server_asks_for_is_no_retry_and_holds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    later = as_json({"error": {"message": "slow down"}}, 429, retry_after_ms="30")
    with serving(lambda body, number: later if number <= 5 else GOOD) as server:
        assert ask(opened(server, retries=0)).text == "Hi."
    hour = as_json({"error": {"message": "slow down"}}, 429, Retry_After="3600")
    with serving(lambda body, number: hour) as server:
        with pytest.raises(NoReply, match="slow down") as failure:
            ask(opened(server))
        assert len(server.bodies) == 1
    assert failure.value.completion.reason == "HTTP 429, which asks for a pause of 3600 s: slow down"
    none = as_json({"error": {"message": "slow down"}}, 429, Retry_After="0")
    with serving(lambda body, number: none) as server, pytest.raises(NoReply):
        ask(opened(server))
    assert len(server.bodies) == 3


def test_pauses_in_all_notations() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (asked_seconds({"retry-after": date}) or 0) < 91
    assert asked_seconds({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}) == 0
    assert asked_seconds({"retry-after": "1.5"}) == 1.5
    assert asked_seconds({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert asked_seconds({}, "Please try again in 20s.") == 20
    assert asked_seconds({}, "Please retry after 2 minutes") == 120
    assert asked_seconds({}, "rate limit, retry in 1 second") == 1
    assert asked_seconds({}, "Please try again in 7m12.5s. Visit") == 432.5
    assert asked_seconds({}, "try again in 1 hour") == 3600
    for odd in ("soon", "", "-3", "nan", "inf", "Fri, 99 Dec"):
        assert asked_seconds({"retry-after": odd}) is None
    assert pause_seconds(1) < pause_seconds(2) <= pause_seconds(40) == patience.LONGEST_PAUSE


@pytest.mark.slow
def test_a_response_that_is_late_is_left() -> None:
    over = threading.Event()
    with serving(lambda body, number: GOOD if over.wait(20) else None) as server:
        with pytest.raises(
            NoReply, match=r"no answer within 1 s in 1 tries; raise evaluation\.server\.timeout_seconds"
        ):
            ask(opened(server, timeout_seconds=1, retries=0))
        over.set()


@pytest.mark.parametrize("text", ["max_tokens", "max_completion_tokens"])
def test_the_limit_is_sent_under_the_name_that_the_server_knows(text: str) -> None:
    def say(body: dict[str, Any], number: int) -> Said:
        return GOOD if text in body else error(400, f"Unsupported parameter: 'max_tokens'. Use '{text}' instead.")

    with serving(say) as server:
        client = opened(server)
        assert ask(client).text == ask(client).text == "Hi."
    assert len(server.bodies) == (2 if text == "max_tokens" else 3)
    assert server.bodies[-1][text] == 9 and len({"max_tokens", "max_completion_tokens"} & {*server.bodies[-1]}) == 1
    assert client.form.changes == ([] if text == "max_tokens" else ["max_tokens is sent as max_completion_tokens"])


def test_a_server_that_takes_no_limit_at_all_fails() -> None:
    def say(body: dict[str, Any], number: int) -> Said:
        name = next(name for name in body if name.startswith("max"))
        return error(400, f"Unsupported parameter: '{name}'")

    with serving(say) as server, pytest.raises(NoReply, match="Unsupported parameter: 'max_completion_tokens'"):
        ask(opened(server))
    assert len(server.bodies) == 2


def test_parameters_that_the_server_refuses_are_left_out_or_lowered() -> None:
    def say(body: dict[str, Any], number: int) -> Said:
        if "temperature" in body:
            return error(400, "Unsupported value: 'temperature' does not support 0, only the default (1)")
        if "seed" in body:
            return error(422, "Extra inputs are not permitted", param="seed")
        if body.get("top_logprobs", 0) > 5:
            return error(400, "top_logprobs must be less than or equal to 5")
        return GOOD

    with serving(say) as server:
        client = opened(server, retries=0)
        assert ask(client, logprobs=True, top_logprobs=20, seed=4).text == "Hi."
        assert ask(client, logprobs=True, top_logprobs=20, seed=4).text == "Hi."
    assert len(server.bodies) == 5
    assert {**server.bodies[-1], "messages": None} == {
        "model": "m", "messages": None, "max_tokens": 9, "logprobs": True, "top_logprobs": 5,
    }  # fmt: skip
    assert client.form.changes == [
        "temperature is left out, which the server refuses",
        "seed is left out, which the server refuses",
        "top_logprobs is 5, the most that the server takes",
    ]


def test_a_number_beyond_the_servers_bounds_is_brought_within_them() -> None:
    top = [{"token": "B", "logprob": -0.5}, {"token": "A", "logprob": -2.0}]
    tokens = [{"token": "B", "logprob": -0.5, "top_logprobs": top}, {"token": ".", "logprob": -0.1, "top_logprobs": []}]

    def say(body: dict[str, Any], number: int) -> Said:
        if not 12 <= body["max_tokens"] <= 64:
            return error(400, f"Invalid 'max_output_tokens': must be between 12 and 64, but got {body['max_tokens']}")
        if body.get("top_logprobs", 0) > 4:
            return error(400, "Requested logprobs of 9, which is greater than max allowed: 4")
        return as_json(completion("B.", "length", logprobs={"content": tokens}))

    with serving(say) as server:
        client = opened(server, retries=0)
        for limit in (1, 100, 30, 1):
            found = client.chat(MESSAGES, max_tokens=limit, logprobs=True, top_logprobs=9)
            assert found.top == (("B", -0.5), ("A", -2.0))
    good = [body["max_tokens"] for body in server.bodies if body["top_logprobs"] == 4]
    assert good == [12, 100, 64, 30, 12] and len(server.bodies) == 7
    assert client.form.changes == [
        "top_logprobs is 4, the most that the server takes",
        "max_tokens is 64, the most that the server takes",
        "max_tokens is 12, the least that the server takes",
    ]


def test_bounds_that_recede_are_followed_so_far() -> None:
    def say(body: dict[str, Any], number: int) -> Said:
        return error(400, f"max_tokens: at most {body['max_tokens'] - 1}")

    with serving(say) as server, pytest.raises(NoReply, match="at most 983"):
        opened(server).chat(MESSAGES, max_tokens=1000)
    assert len(server.bodies) == 17


def test_a_prompt_that_a_failing_server_filters_is_sent_once() -> None:
    said = error(500, "ContentPolicyViolationError: unsafe content")
    with serving(lambda body, number: said) as server, pytest.raises(NoReply) as failure:
        ask(opened(server))
    assert failure.value.completion.outcome == "filtered" and len(server.bodies) == 1


def test_filtered_prompts_never_end_the_run() -> None:
    blocked = as_json({"choices": [], "promptFeedback": {"blockReason": "SAFETY"}})
    with serving(lambda body, number: blocked) as server:
        client = opened(server)
        for _ in range(FAILURES + 1):
            with pytest.raises(NoReply, match="blockReason SAFETY"):
                ask(client)


def test_the_advice_after_many_refusals_is_about_their_words() -> None:
    with serving(lambda body, number: error(400, "System role not supported")) as server:
        client = opened(server)
        messages = [{"role": "system", "content": "Be brief."}, *MESSAGES]
        for _ in range(FAILURES - 1):
            with pytest.raises(NoReply):
                client.chat(messages, max_tokens=9)
        with pytest.raises(ServerFailure, match=r"System role not supported\); set evaluation\.system=none") as failure:
            client.chat(messages, max_tokens=9)
    assert "evaluation.server.model to" not in str(failure.value)


def test_a_refusal_of_log_probabilities_leaves_both_parameters_out() -> None:
    def say(body: dict[str, Any], number: int) -> Said:
        return error(403, "You are not allowed to request logprobs", param="logprobs") if "logprobs" in body else GOOD

    with serving(say) as server:
        client = opened(server)
        assert ask(client, logprobs=True, top_logprobs=20).text == "Hi."
    assert "top_logprobs" not in server.bodies[-1] and client.form.leaves_out("logprobs")


@pytest.mark.parametrize("value", ["two words", "key\n", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_a_problem(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", value)
    section = Server(model="m", base_url="http://127.0.0.1/v1", api_key_env="THE_KEY")
    (line,) = server_problems(section, "evaluation.server")
    assert line.startswith("evaluation.server.api_key_env = THE_KEY: ") and value not in line
