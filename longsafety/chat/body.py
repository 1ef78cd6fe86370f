"""A server's body as JSON: also where it streams unasked, pads, or sends a web page."""

from __future__ import annotations

import json
import re
from typing import Any

from longsafety.chat.text import one_line

_DONE = "[DONE]"


class NotJson(ValueError):
    """The body holds no JSON object; the message says in a few words what it is."""


def read_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, whatever its content type says.

    Server-sent events (and lines of JSON) are put together to the completion that they are parts of. A list of one
    object, as one gateway wraps errors, and an object inside a JSON string count as the object. Raises NotJson.
    """
    text = _decoded(body).strip().lstrip("\ufeff").strip()
    if not text:
        raise NotJson("its response is empty")
    if text.startswith("<"):
        raise NotJson("its response is a web page")
    if text.startswith(("data:", "event:", "id:", "retry:", ":")):
        events = [line[5:].strip() for line in _lines(text) if line.startswith("data:")]
        if events or not (text := _without_comments(text)):
            return _joined([one for one in events if one and one != _DONE], done=_DONE in events)
    try:
        return _object(json.loads(text))
    except (ValueError, RecursionError) as error:
        lines = [line for line in _lines(text) if line.strip()]
        if len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines):
            return _joined(lines, done=False)
        if isinstance(error, NotJson):
            raise
        what = "is JSON that ends early" if text[0] in "{[" else "is no JSON"
        raise NotJson(
            f"its response {what}: {one_line(text, 60)}" if text[0] not in "{[" else f"its response {what}"
        ) from error


def _decoded(body: bytes) -> str:
    return body.decode(json.detect_encoding(body), "replace")


def _lines(text: str) -> list[str]:
    """The lines of a stream: other ends of lines that Unicode has (U+2028, U+0085) are text inside of JSON."""
    return re.split(r"\r\n|\n|\r", text)


def _without_comments(text: str) -> str:
    """Without the comments that a gateway sends to keep the connection open."""
    return "\n".join(line for line in _lines(text) if not line.startswith(":")).strip()


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = json.loads(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise NotJson(f"its response is a JSON {type(value).__name__}, no object")
    return value


def _joined(events: list[str], *, done: bool) -> dict[str, Any]:
    """One completion out of the parts of a stream. A stream without an end (a ``finish_reason``, or ``done``) was
    cut."""
    whole: dict[str, Any] = {}
    message: dict[str, Any] = {}
    finish, logprobs = None, None
    for event in events:
        try:
            part = _object(json.loads(event))
        except (ValueError, RecursionError) as error:
            raise NotJson("its response is a stream that ends early") from error
        if part.get("error"):
            return part
        whole |= {name: value for name, value in part.items() if value is not None and name != "choices"}
        choices = part.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if choice.get("index") not in (None, 0):
            continue
        finish = choice.get("finish_reason") or finish
        logprobs = _longer(logprobs, choice.get("logprobs"))
        said = choice.get("delta") or choice.get("message")
        whole_so_far = not choice.get("delta")
        for name, value in said.items() if isinstance(said, dict) else ():
            known = message.get(name)
            if name == "role" or known is None or (whole_so_far and _begins(value, known)):
                message[name] = value
            elif isinstance(known, str) and isinstance(value, str):
                message[name] = known + value
            elif isinstance(known, list) and isinstance(value, list):
                message[name] = [*known, *value]
            elif value:
                message[name] = value
    if not message:
        return whole
    if finish is None and not done:
        raise NotJson("its response is a stream that ends early")
    return whole | {"choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}]}


def _begins(value: Any, known: Any) -> bool:
    """Whether a part of a stream holds the text so far, too."""
    return isinstance(value, str) and isinstance(known, str) and value.startswith(known)


def _longer(known: Any, part: Any) -> Any:
    """The log-probabilities so far and those of the next tokens."""
    if not isinstance(known, dict) or not isinstance(part, dict):
        return part if isinstance(part, dict) else known
    before, after = known.get("content"), part.get("content")
    return {"content": before + after} if isinstance(before, list) and isinstance(after, list) else known
