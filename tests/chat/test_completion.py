"""Shapes of completions: what says the same is read as the same, and nothing else gets through the door."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from longsafety.chat.body import NotJson, read_body
from longsafety.chat.completion import BadShape, Completion, first_tokens, read_completion
from tests.chat.odd_server import completion


def read(body: dict[str, Any]) -> Completion:
    return read_completion(json.loads(json.dumps(body)), 100)


@pytest.mark.parametrize(
    "content",
    [
        "Paris.",
        [{"type": "text", "text": "Par"}, {"type": "text", "text": "is."}],
        [{"type": "output_text", "text": "Paris."}],
        ["Paris."],
        {"type": "text", "text": "Paris."},
        [{"type": "text", "text": {"value": "Paris."}}],
    ],
)
def test_content_in_any_shape_is_its_text(content: Any) -> None:
    found = read(completion(content))
    assert (found.outcome, found.text, found.thoughts) == ("answered", "Paris.", None)
    assert (found.prompt_tokens, found.reply_tokens) == (7, 3)


@pytest.mark.parametrize(
    "body",
    [
        completion("D", reasoning_content="Hm."),
        completion("D", reasoning="Hm."),
        completion("D", reasoning={"text": "Hm."}),
        completion("D", reasoning_details=[{"type": "reasoning.text", "text": "Hm."}]),
        completion(
            [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "D"}]
        ),
        completion([{"type": "reasoning", "text": "Hm."}, "D"]),
    ],
)
def test_thoughts_in_a_field_of_their_own_are_no_reply(body: dict[str, Any]) -> None:
    found = read(body)
    assert (found.text, found.thoughts) == ("D", "Hm.")


def test_an_empty_reply_is_an_answer_and_nothing_else_is() -> None:
    assert read(completion(None)).text == read(completion("")).text == ""
    assert read(completion(None)).outcome == "answered"
    assert read(completion(None, "length", reasoning_content="Well, …")) == Completion(
        "cut_off", "", "Well, …", None, (), 7, 3
    )


def by_gateway(content: str, native: str) -> dict[str, Any]:
    body = completion(content)
    body["choices"][0]["native_finish_reason"] = native
    return body


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (completion("Half a", "length"), "cut_off"),
        (completion("Half a", "MAX_TOKENS"), "cut_off"),
        (completion("Whole", "FinishReason.STOP"), "answered"),
        (completion("Whole", None), "answered"),
        (completion("Whole", "<|im_end|>"), "answered"),
        (completion("Whole", {"type": "stop"}), "answered"),
        (completion("Sorry.", refusal=""), "answered"),
        (completion("Fine.", refusal=None), "answered"),
        (completion(None, refusal="I can't help."), "refused"),
        (completion("", refusal=True), "refused"),
        (completion([{"type": "refusal", "refusal": "I can't help."}]), "refused"),
        (completion("", "refusal"), "refused"),
        (completion("Half a", "content_filter"), "filtered"),
        (completion(None, "SAFETY"), "filtered"),
        ({"choices": [{"finish_reason": "content_filter", "message": None}]}, "filtered"),
        (completion("", "Content_Filter: HATE"), "filtered"),
        (completion("Half a", "FINISH_REASON_SAFETY"), "filtered"),
        (completion("", "moderation"), "filtered"),
        (completion("", "recitation"), "filtered"),
        (completion("", "in_blocklist"), "filtered"),
        (completion("", "policy_violation"), "filtered"),
        (completion("Half a", "max_output_tokens_reached"), "cut_off"),
        (completion("Half a", {"type": "length"}), "cut_off"),
        (completion("Whole", "end_turn"), "answered"),
        (completion("Whole", "tool_calls"), "answered"),
        (completion("Whole", tool_calls=[{}]), "answered"),
        (by_gateway("", "SAFETY"), "filtered"),
        (by_gateway("", "refusal"), "refused"),
        (by_gateway("Half a", "MAX_TOKENS"), "cut_off"),
        (by_gateway("Whole", "STOP"), "answered"),
        ({"choices": [{"finish_reason": "length"}]}, "cut_off"),
    ],
)
def test_every_ending_has_its_outcome(body: dict[str, Any], outcome: str) -> None:
    found = read(body)
    assert found.outcome == outcome
    assert (found.reason is None) == found.replied == (outcome in ("answered", "cut_off"))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{"text": "the older interface"}]},
        {"choices": [{"message": "text"}]},
        completion(7),
        completion([7]),
        completion("x", "error"),
        completion("x", "request_timeout"),
        {"choices": [completion("x")["choices"][0] | {"error": {"message": "upstream died"}}]},
        {"id": "x", "data": []},
    ],
)
def test_what_is_no_completion_does_not_pass(body: dict[str, Any]) -> None:
    with pytest.raises(BadShape):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        completion(None, "tool_calls", tool_calls=[{}]),
        completion("", "tool_calls"),
        completion("", tool_calls=[{"id": "1"}]),
        completion(" \n", "length", tool_calls=[{"id": "1"}]),
        completion(None, "stop", function_call={"name": "f"}),
        completion([{"type": "tool_use", "name": "f", "input": {}}]),
    ],
)
def test_a_tool_call_without_a_text_is_no_empty_reply(body: dict[str, Any]) -> None:
    with pytest.raises(BadShape, match="it calls a tool in place of a reply"):
        read(body)


@pytest.mark.parametrize(
    ("content", "names"),
    [({"letter": "B"}, "letter"), ([{"b": 1, "a": 2}], "a, b"), ([{"type": "image_url", "url": ""}], "type, url")],
)
def test_an_object_without_a_text_is_no_empty_reply(content: Any, names: str) -> None:
    with pytest.raises(BadShape, match=f"its content is an object without a text: {names}"):
        read(completion(content))


@pytest.mark.parametrize("content", [{"type": "text", "text": ""}, [], {}, [""]])
def test_an_empty_text_is_an_empty_reply(content: Any) -> None:
    assert (read(completion(content)).outcome, read(completion(content)).text) == ("answered", "")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, (100, 5)),
        ({}, (100, 5)),
        ([], (100, 5)),
        ({"prompt_tokens": None, "completion_tokens": None, "total_tokens": 0}, (100, 5)),
        ({"prompt_tokens": "12", "completion_tokens": 2.0}, (12, 2)),
        ({"prompt_tokens": -1, "completion_tokens": math.nan}, (100, 5)),
        ({"prompt_tokens": 12, "total_tokens": 15}, (12, 3)),
        ({"input_tokens": 12, "output_tokens": 2}, (12, 2)),
        ({"prompt_tokens": True, "completion_tokens": {}}, (100, 5)),
        ({"prompt_tokens": 10**400, "completion_tokens": -(10**400)}, (100, 5)),
        ({"prompt_tokens": 2**63, "completion_tokens": 1e300}, (100, 5)),
        ({"prompt_tokens": "9" * 30, "completion_tokens": "٣"}, (100, 3)),
        ({"prompt_tokens": 12, "total_tokens": 10**400}, (12, 5)),
    ],
)
def test_without_counts_bytes_are_tokens(usage: Any, expected: tuple[int, int]) -> None:
    found = read(completion("12345") | {"usage": usage})
    assert (found.prompt_tokens, found.reply_tokens) == expected


def test_text_that_utf_8_cannot_hold_is_mended() -> None:
    found = read(completion("half \ud83d, whole \ud83d\ude00, nul \0.", reasoning="\udc00"))
    assert found.text == "half \ufffd, whole 😀, nul \ufffd."
    assert found.thoughts == "\ufffd"


@pytest.mark.parametrize("top", [[], None, {}, [{}], [None], [{"token": "A"}], [{"token": 1, "logprob": -1}], "x", 3])
def test_without_usable_alternatives_there_are_none(top: Any) -> None:
    assert first_tokens({"content": [{"token": "A", "logprob": -0.1, "top_logprobs": top}]}) == ()


@pytest.mark.parametrize("logprobs", [None, {}, [], "x", {"content": None}, {"content": []}, {"content": [None]}])
def test_without_log_probabilities_there_are_none(logprobs: Any) -> None:
    assert first_tokens(logprobs) == ()


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"top_logprobs": [{"token": "A", "logprob": -0.5}, {"token": " B", "logprob": -1.0}]}]},
        {"content": [{"top_logprobs": [{"token": "A", "logprob": "-0.5"}, {"token": "ĠB", "logprob": -1}]}]},
        {"content": [{"top_logprobs": {"A": -0.5, "▁B": -1.0}}]},
        {"content": [{"top_logprobs": {"A": {"logprob": -0.5}, " B": {"logprob": -1.0}}}]},
        {"tokens": ["A"], "token_logprobs": [-0.5], "top_logprobs": [{"A": -0.5, " B": -1.0}]},
    ],
)
def test_log_probabilities_in_any_shape(logprobs: Any) -> None:
    assert first_tokens(logprobs) == (("A", -0.5), (" B", -1.0))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1e-7, 0.0), (0, 0.0), (-99, -99.0), ("-1e-3", -0.001)],
)
def test_a_log_probability_is_finite_and_at_most_0(value: Any, expected: float) -> None:
    assert first_tokens({"content": [{"top_logprobs": [{"token": "A", "logprob": value}]}]}) == (("A", expected),)


@pytest.mark.parametrize(
    "value",
    [None, math.nan, "nan", "much", True, 0.9, math.inf, [], {"logprob": None}, -9999.0, -math.inf, "-inf", -3.4e38],
)
def test_what_is_no_log_probability_is_left_out(value: Any) -> None:
    top = [{"token": "A", "logprob": value}, {"token": "B", "logprob": -2.0}]
    assert first_tokens({"content": [{"top_logprobs": top}]}) == (("B", -2.0),)


TOP = [{"token": "A", "logprob": -3.2}, {"token": "B", "logprob": -4.0}]


def first(token: Any, top: Any = TOP, **given: Any) -> tuple[tuple[str, float], ...]:
    found = first_tokens({"content": [{"token": token, **given, "top_logprobs": top}]})
    older = {"tokens": [token], "top_logprobs": [{one["token"]: one["logprob"] for one in top}]}
    assert first_tokens(older | {"token_logprobs": list(given.values())[:1]}) == found
    return found


def test_the_first_token_itself_is_one_of_them() -> None:
    assert first("D", logprob=-0.05) == (("A", -3.2), ("B", -4.0), ("D", -0.05))
    assert first("ĠD", logprob="-0.05")[-1] == (" D", -0.05)
    assert first("B", logprob=-0.5) == (("A", -3.2), ("B", -4.0))
    assert first("B") == (("A", -3.2), ("B", -4.0))
    assert first(None, logprob=-0.05) == (("A", -3.2), ("B", -4.0))


@pytest.mark.parametrize("token", ["A", "D"])
@pytest.mark.parametrize("value", [None, math.nan, 0.7, math.inf, "likely", [], True, 10**400])
def test_a_first_token_without_a_log_probability_leaves_none(token: str, value: Any) -> None:
    assert first(token, logprob=value) == ()


def test_a_first_token_that_is_called_impossible_is_no_alternative() -> None:
    assert first("A", logprob=-9999.0) == (("A", -3.2), ("B", -4.0))
    assert first("D", logprob=-9999.0) == first("D", logprob=-math.inf) == first("D") == ()


# --- bodies

CHUNKS = [
    {"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "I "}}]},
    {"id": "1", "choices": [{"index": 0, "delta": {"content": "won't.", "reasoning_content": "No."}}]},
    {"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
]
EVENTS_END = '"delta": {}, "finish_reason"'
EVENTS_WHOLE = '"message": {"role": "assistant", "content": "I won\'t."}, "finish_reason"'
EVENTS = "".join(f": comment\r\ndata: {json.dumps(chunk)}\r\n\r\n" for chunk in CHUNKS)


@pytest.mark.parametrize(
    "text",
    [
        EVENTS + "data: [DONE]\n\n",
        EVENTS,
        "event: message\n" + EVENTS.replace("data: ", "data:"),
        "\n".join(json.dumps(chunk) for chunk in CHUNKS),
        EVENTS.replace(EVENTS_END, EVENTS_WHOLE),
    ],
)
def test_a_stream_that_nobody_asked_for_is_put_together(text: str) -> None:
    found = read_completion(read_body(text.encode()), 100)
    assert found == Completion("answered", "I won't.", "No.", None, (), 5, 2)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_an_end_of_line_ends_an_event(mark: str, end: str) -> None:
    event = json.dumps(completion(f"one{mark}two"), ensure_ascii=False)
    for text in (f"data: {event}{end}{end}data: [DONE]{end}{end}", f": wait{end}{end}{event}", f"{event}{end}{{}}"):
        assert read_completion(read_body(text.encode()), 1).text == f"one{mark}two"


def test_a_stream_that_says_that_it_is_done_needs_no_reason() -> None:
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS[:2])
    found = read_completion(read_body(f"{events}data: [DONE]\n\n".encode()), 100)
    assert (found.outcome, found.text, found.thoughts) == ("answered", "I won't.", "No.")
    with pytest.raises(NotJson, match="ends early"):
        read_body(events.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + json.dumps(completion("x")).encode(),
        b"\n \n" + json.dumps(completion("x")).encode() + b"\n",
        json.dumps(completion("x")).encode("utf-16"),
        b": PROCESSING\n\n: PROCESSING\n\n" + json.dumps(completion("x")).encode(),
        json.dumps([completion("x")]).encode(),
        json.dumps(json.dumps(completion("x"))).encode(),
    ],
)
def test_a_padded_or_wrapped_body_is_read(body: bytes) -> None:
    assert read_completion(read_body(body), 1).text == "x"


WHOLE = json.dumps(completion("x")).encode()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"upstream connect error", "is no JSON: upstream connect error"),
        (WHOLE[: len(WHOLE) // 2], "is JSON that ends early"),
        (WHOLE[:-1], "is JSON that ends early"),
        (b"[" * 100_000, "is JSON that ends early"),
        (b"3", "no object"),
        (b"null", "no object"),
        (b"\xff\xfe\xfd\xfc\xfb", "is no JSON"),
        (EVENTS.split("data: " + json.dumps(CHUNKS[2]))[0].encode(), "stream that ends early"),
        (EVENTS[: len(EVENTS) // 3].encode(), "stream that ends early"),
    ],
)
def test_a_body_that_is_no_json_says_what_it_is(body: bytes, what: str) -> None:
    with pytest.raises(NotJson, match=what):
        read_body(body)
