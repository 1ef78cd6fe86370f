"""What servers' errors mean; the texts are written after those of the servers that are named."""

from __future__ import annotations

from typing import Any

import pytest

from longsafety.chat.problems import error_in, problem

SENT = {"model": "m", "messages": [], "max_tokens": 9, "temperature": 0.0, "logprobs": True, "top_logprobs": 20}


def meaning(status: int, body: Any) -> tuple[str, str | None]:
    found = problem(status, error_in(body) if isinstance(body, dict) else None, SENT)
    return found.meaning, found.parameter


def one(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, one("This model's maximum context length is 4096 tokens. Reduce the length of the messages.")),
        (400, one("x", code="context_length_exceeded")),
        (400, one("the request exceeds the available context size", type="exceed_context_size_error")),
        (400, one("'max_tokens' is too large: 9. This model's maximum context length is 64 tokens")),
        (400, {"object": "error", "message": "The prompt is longer than the maximum model length", "code": 400}),
        (400, one("prompt is too long: 210000 tokens > 200000 maximum")),
        (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"}),
        (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048."}),
        (413, "<html>"),
        (429, one("Request too large for gpt on tokens per min (TPM): Limit 6000, Requested 9000")),
        (200, one("Input is too long for requested model.", code=400)),
    ],
)
def test_too_long(status: int, body: Any) -> None:
    assert meaning(status, body) == ("too_long", None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, one("The response was filtered.", code="content_filter", param="prompt")),
        (400, one("x", innererror={"code": "ResponsibleAIPolicyViolation"})),
        (400, one("Your request was rejected as a result of our safety system.")),
        (400, one("Input data may contain inappropriate content.", code="data_inspection_failed")),
        (400, one("Content Exists Risk", type="invalid_request_error")),
        (403, one("Your chosen model requires moderation and your input was flagged for violence")),
        (403, one("Content violates usage guidelines.")),
        (400, one("Output blocked by content filtering policy")),
        (400, one("系统检测到输入或生成内容可能包含不安全或敏感内容")),
        (200, one("Provider returned error", code=403, metadata={"raw": "prompt was blocked: content policy"})),
    ],
)
def test_filtered(status: int, body: Any) -> None:
    assert meaning(status, body) == ("filtered", None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "<html>"),
        (502, None),
        (503, one("Loading model")),
        (529, one("Overloaded", type="overloaded_error")),
        (408, {}),
        (429, one("Rate limit reached. Please try again in 7 s.")),
        (429, one("Requests have exceeded token rate limit of your current tier.")),
        (429, one("You exceeded your current quota, please retry in 20s")),
        (200, one("Provider returned error: rate limit", code=429)),
        (200, {"error": "upstream timed out"}),
        (200, {"code": 1302, "message": "concurrency too high"}),
        (200, {"success": False, "message": "busy"}),
    ],
)
def test_it_can_pass(status: int, body: Any) -> None:
    assert meaning(status, body) == ("later", None)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, one("Incorrect API key provided"), "all"),
        (403, one("Your IP is blocked"), "all"),
        (404, one("The model `m` does not exist", code="model_not_found"), "all"),
        (404, "<html>", "all"),
        (400, one("Invalid API key"), "all"),
        (429, one("You exceeded your current quota, check your billing details.", code="insufficient_quota"), "stop"),
        (402, one("Insufficient credits"), "stop"),
        (400, one("messages: roles must alternate"), "item"),
        (422, {"detail": [{"loc": ["body", "messages", 0], "msg": "Field required"}]}, "item"),
        (400, one("Could not finish the message because max_tokens or model output limit was reached."), "cut_off"),
    ],
)
def test_the_others(status: int, body: Any, expected: str) -> None:
    assert meaning(status, body) == (expected, None)


@pytest.mark.parametrize(
    ("status", "body", "parameter"),
    [
        (400, one("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."), "max_tokens"),
        (400, one("x", param="max_tokens", code="unsupported_parameter"), "max_tokens"),
        (400, one("'temperature' does not support 0 with this model. Only the default (1) value is"), "temperature"),
        (400, one("You are not allowed to request logprobs from this model"), "logprobs"),
        (400, one("Invalid value for 'top_logprobs': must be less than or equal to 5."), "top_logprobs"),
        (422, {"detail": [{"loc": ["body", "top_logprobs"], "msg": "Extra inputs are not permitted"}]}, "top_logprobs"),
        (400, {"detail": "Unexpected fields in the request: {'temperature'}"}, "temperature"),
        (200, one("logprobs is not supported", code=400), "logprobs"),
    ],
)
def test_a_parameter_that_the_server_refuses_is_named(status: int, body: Any, parameter: str) -> None:
    assert meaning(status, body) == ("item", parameter)


@pytest.mark.parametrize("body", [{}, {"error": None, "choices": [1]}, {"message": "hello"}, {"choices": []}])
def test_what_is_no_error(body: dict[str, Any]) -> None:
    assert error_in(body) is None
