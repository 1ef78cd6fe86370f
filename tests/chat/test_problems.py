"""What servers' errors mean; the texts are written after those of the servers that are named."""

from __future__ import annotations

from typing import Any

import pytest

from longsafety.chat.problems import error_in, problem

SENT = {"model": "m", "messages": [], "max_tokens": 9, "temperature": 0.0, "logprobs": True, "top_logprobs": 20}


def meaning(status: int, body: Any) -> tuple[str, str | None]:
    found = problem(status, error_in(body, failed=status >= 400) if isinstance(body, dict) else None, SENT)
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
        (500, one("the input length exceeds the context length")),
        (500, one("prompt is too long: 40000 tokens > 32768 maximum")),
        (400, one("Prompt length 5000 is greater than max_seq_len 4096")),
        (400, one("Range of input length should be [1, 6000]", code="InvalidParameter")),
        (400, one("输入文本长度超过限制")),
        (400, one("提示词过长")),
        (400, one("max_tokens must be at least 1, got -186.")),
        (400, {"message": "Input is too long for requested model."}),
        (400, {"Message": "expected maxLength: 20000, actual: 30000"}),
        (400, one("Provider returned error", metadata={"raw": {"error": {"message": "Input is too long"}}})),
        (400, one("70000 tokens exceed the limit")),
        (200, {"base_resp": {"status_code": 1039, "status_msg": "input is too long"}, "choices": None}),
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
        (400, one("The prompt holds sensitive words that breach our Responsible AI practices.")),
        (400, one("The input may contain sensitive information", code="InputTextSensitiveContentDetected")),
        (400, one("Unsafe content was found")),
        (422, one("rejected: disallowed content")),
        (400, one("The message contains harmful material")),
        (400, one("The prompt is likely harmful")),
        (400, one("This text violates our community guidelines")),
        (451, "<html>"),
        (451, one("Unavailable")),
        (500, one("InternalServerError: ContentPolicyViolationError")),
        (502, one("upstream: the output was blocked by a guardrail")),
        (200, {"choices": [], "promptFeedback": {"blockReason": "OTHER"}}),
        (200, {"prompt_feedback": {"block_reason": 2}}),
        (200, {"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": True}}}]}),
        (200, {"choices": None, "base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}),
        (200, {"error_code": 336104, "error_msg": "the safety check failed"}),
        (400, one("内容审核未通过")),
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
        (500, one("the moderation service is unavailable")),
        (503, one("content filter timed out")),
        (500, one("CUDA out of memory; reduce the length of the prompt")),
        (503, one("rate limit: tokens exceeded")),
        (200, {"error": "rate limit exceeded: 9000 tokens per minute"}),
        (200, {"error_code": 18, "error_msg": "并发超过限制"}),
        (200, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
        (429, one(f"You exceeded your quota, check your billing details. {'* Metric ' * 50}Please retry in 7s")),
        (498, one("Flex tier capacity exceeded")),
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
        (400, one("Request blocked: invalid API key"), "all"),
        (403, one("Prompt blocked: the api_key is of another project"), "all"),
        (403, one("Your account violates our usage policies and was suspended; requests are blocked"), "all"),
        (400, one("The model `content-moderation` does not exist"), "all"),
        (400, one("Rate limit: content moderation takes 5 requests per minute"), "item"),
        (400, one("Field names are case-sensitive text"), "item"),
        (400, one("An explicit content type is wanted"), "item"),
        (400, one("参数大小写敏感"), "item"),
        (400, one("Request violates the schema"), "item"),
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
        (404, one("No endpoints found that support the requested parameters: seed, logprobs"), "logprobs"),
        (400, one("Requested sample logprobs of 20, which is greater than max allowed: 5"), "logprobs"),
        (400, one("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16"), "max_tokens"),
        (400, one("x", param="max_completion_tokens", code="invalid_value"), "max_tokens"),
        (400, one("maxTokens: 9 exceeds the number of output tokens, 8"), "max_tokens"),
        (400, one("max_tokens is too large: 9. The model supports at most 4 completion tokens"), "max_tokens"),
    ],
)
def test_a_parameter_that_the_server_refuses_is_named(status: int, body: Any, parameter: str) -> None:
    assert meaning(status, body) == ("item", parameter)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"error": None, "choices": [1]},
        {"message": "hello"},
        {"choices": []},
        {"message": {"content": "x"}, "code": 0},
        {"choices": [{"flagged": True}]},
        {"promptFeedback": {"blocked": False}},
    ],
)
def test_what_is_no_error(body: dict[str, Any]) -> None:
    assert error_in(body) is None
