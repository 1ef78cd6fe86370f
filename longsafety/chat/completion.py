"""A server's completion, checked at the door: nothing that is not one of these shapes gets further.

Servers disagree on shapes: content as text, as parts or null, thoughts in fields of several names, usage without
counts, log-probabilities as lists or objects. What says the same is read as the same; what says nothing usable is a
:class:`BadShape`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from longsafety.chat.text import clean, one_line
from longsafety.vocabulary import NO_REPLY, Outcome

_IMPOSSIBLE = -1000.0
"""Log-probability, in nats, at or below which servers mean "impossible" (-inf, -9999, the least number they have)."""
_FILTERED = re.compile(
    r"filter|safety|prohibit|block(?:ed|list)|spii|recitation|sensitive|guardrail|moderat|polic|flagged"
)
_CUT = re.compile(r"length|max_?(?:\w+_?)?tokens|token_limit|context_window")
_BROKEN = re.compile(r"error|abort|cancel|time_?out|insufficient_system_resource|malformed|^(?:un)?load$")
"""What a ``finish_reason`` says, in small letters, anywhere in it."""
_TOOLS = ("tool_use", "tool_call", "function_call")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thoughts", "reasoning_text", "reasoning_details")
_MOST_TOKENS = 2**40
"""No request has more; a larger count is none."""
_ROUNDING = 1e-3
"""How far above 0 rounding may lift a log-probability."""

TOOL = "it calls a tool in place of a reply"


class BadShape(ValueError):
    """A response that is no chat completion; the message says in a few words why."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of one request."""

    outcome: Outcome
    text: str = ""
    """The reply, in characters that UTF-8 can hold; of a refusal or a filtered reply what came of it."""
    thoughts: str | None = None
    """What the server gave apart from the reply; ``None``: it has no such field."""
    reason: str | None = None
    """Why there is no reply: a few words of ours, then perhaps a colon and the server's words."""
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest first tokens and their log-probabilities, all finite and at most 0; empty where none were given."""
    prompt_tokens: int = 0
    reply_tokens: int = 0
    """Thoughts included; where the server reports no usage both are bytes, an upper bound."""

    @property
    def replied(self) -> bool:
        return self.outcome not in NO_REPLY


class _Loose(BaseModel):
    """Unknown fields are of no concern."""

    model_config = ConfigDict(extra="ignore")


class _Message(_Loose):
    content: str | list[Any] | dict[str, Any] | None = None
    refusal: Any = None
    thoughts: str | None = None
    tool_calls: Any = None
    function_call: Any = None

    @field_validator("content")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        """A part is a text, or an object with a type."""
        parts = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
        if not all(isinstance(part, str | dict) for part in parts):
            raise ValueError("a part of the content is neither text nor an object")
        return parts if parts else value


class _Choice(_Loose):
    message: _Message
    finish_reason: Any = None
    native_finish_reason: Any = None
    logprobs: Any = None
    error: Any = None


class _Response(_Loose):
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None

    @field_validator("choices", mode="before")
    @classmethod
    def _first(cls, value: Any) -> Any:
        """The first choice alone, its message under the usual name, its thoughts under one."""
        found = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
        if not found:
            raise ValueError("there is no choice")
        message = found[0].get("message") or found[0].get("delta")
        finish = _reason(found[0].get("finish_reason"))
        if message is None and (_FILTERED.search(finish) or _CUT.search(finish)):
            message = {}
        if not isinstance(message, dict):
            raise ValueError("a choice without a message")
        thoughts = [text for name in _THOUGHTS if (text := _words(message.get(name))) is not None]
        return [found[0] | {"message": message | {"thoughts": thoughts[0] if thoughts else None}}]


def read_completion(body: Mapping[str, Any], prompt_bytes: int) -> Completion:
    """The completion in a response. ``prompt_bytes``: what stands for the prompt's tokens where no usage is given.

    Raises BadShape.
    """
    try:
        found = _Response.model_validate(body)
    except (ValidationError, RecursionError) as error:
        raise BadShape("its response is no chat completion") from error
    choice = found.choices[0]
    message, finish = choice.message, _finish(choice)
    if choice.error or (_BROKEN.search(finish) and not _FILTERED.search(finish)):
        words = one_line(str(_words(choice.error) or choice.error or ""))
        raise BadShape(f"it broke off ({finish or 'error'})" + (f": {words}" if words else ""))
    text, thoughts, refusal = _content(message)
    outcome, reason = _outcome(finish, refusal)
    if outcome not in NO_REPLY and not text.strip():
        _check_silence(message, finish, thoughts)
    prompt_tokens, reply_tokens = _tokens(found.usage)
    return Completion(
        outcome,
        clean(text or refusal),
        None if thoughts is None else clean(thoughts),
        reason,
        first_tokens(choice.logprobs),
        prompt_tokens or prompt_bytes,
        reply_tokens if reply_tokens is not None else len((text + (thoughts or "")).encode("utf-8", "replace")),
    )


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The completion of a raw text in the shape of a chat's."""
    choices = body.get("choices")
    if not isinstance(choices, list):
        return dict(body)
    return {
        **body,
        "choices": [
            {**one, "message": {"content": one["text"]}}
            if isinstance(one, dict) and isinstance(one.get("text"), str)
            else one
            for one in choices
        ],
    }


def _reason(value: Any) -> str:
    """``FinishReason.MAX_TOKENS`` → ``max_tokens``; of an object its type."""
    return str((value.get("type") if isinstance(value, Mapping) else value) or "").lower().rpartition(".")[2]


def _finish(choice: _Choice) -> str:
    """The ``finish_reason``; the one that a gateway had from the provider, where only that says more than "stop"."""
    finish, native = _reason(choice.finish_reason), _reason(choice.native_finish_reason)
    says = native.startswith("refus") or any(one.search(native) for one in (_FILTERED, _CUT, _BROKEN))
    return native if says and finish in ("", "stop") else finish


def _outcome(finish: str, refusal: str) -> tuple[Outcome, str | None]:
    if refusal or finish.startswith("refus"):
        return "refused", "refused by the provider" + (f": {one_line(refusal)}" if refusal else "")
    if _FILTERED.search(finish):
        return "filtered", "blocked by the provider's filter: the reply"
    return ("cut_off" if _CUT.search(finish) else "answered"), None


def _check_silence(message: _Message, finish: str, thoughts: str | None) -> None:
    """Raises BadShape where a message without text is something else than an empty reply."""
    parts = [part for part in message.content or () if isinstance(part, dict)]
    kinds = (finish, *(str(part.get("type", "")) for part in parts))
    if message.tool_calls or message.function_call or any(tool in kind for kind in kinds for tool in _TOOLS):
        raise BadShape(TOOL)
    if thoughts is None and any(part and _words(part) is None for part in parts):
        names = ", ".join(sorted({str(name) for part in parts for name in part}))
        raise BadShape(f"its content is an object without a text: {one_line(names)}")


def _content(message: _Message) -> tuple[str, str | None, str]:
    """Reply, thoughts and refusal of a message, its parts joined in their order."""
    texts: list[str] = []
    thoughts = [] if message.thoughts is None else [message.thoughts]
    refusals = [_words(message.refusal) or ""] if message.refusal else []
    parts = message.content if isinstance(message.content, list) else [message.content or ""]
    for part in parts:
        kind = "" if isinstance(part, str) else str(part.get("type", "text"))
        words = _words(part) or ""
        (refusals if kind == "refusal" else thoughts if _thinks(kind) else texts).append(words)
    refusal = "\n".join(one for one in refusals if one)
    if refusals and not refusal:
        refusal = "(without words)"
    return "".join(texts), "\n\n".join(thoughts) if thoughts else None, refusal


def _thinks(kind: str) -> bool:
    return any(word in kind for word in ("think", "reason", "thought"))


def _words(value: Any) -> str | None:
    """The text in a field: itself, or that of its parts; ``None`` where it holds none."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        names = ("text", "thinking", "content", "refusal", "reasoning", "summary", "message", "value")
        return next((text for name in names if (text := _words(value.get(name))) is not None), None)
    if isinstance(value, Sequence):
        texts = [text for one in value if (text := _words(one)) is not None]
        return "".join(texts) if texts else None
    return None


def _tokens(usage: Any) -> tuple[int | None, int | None]:
    """Prompt and reply tokens; ``None`` where they are not given, or are no counts. No prompt has 0 tokens."""
    if not isinstance(usage, Mapping):
        return None, None
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens"))) or None
    reply = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    total = _count(usage.get("total_tokens"))
    if reply is None and prompt is not None and total is not None and total >= prompt:
        reply = total - prompt
    return prompt, reply


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_TOKENS:
        return None
    return int(value)


def first_tokens(logprobs: Any) -> tuple[tuple[str, float], ...]:
    """The first token's likeliest alternatives in their order, then the token itself where it is none of them.

    They come as lists of objects, objects of numbers, or the older format with ``tokens``, ``token_logprobs`` and
    ``top_logprobs`` beside each other. Of a token that is given twice the first counts. Where the token itself has no
    log-probability, or no alternative has one, there is nothing: they compare nothing.
    """
    if not isinstance(logprobs, Mapping):
        return ()
    content = logprobs.get("content")
    first = content[0] if isinstance(content, list) and content else None
    if first is None:
        older = {"token": "tokens", "logprob": "token_logprobs", "top_logprobs": "top_logprobs"}
        lists = {name: logprobs.get(plural) for name, plural in older.items()}
        first = {name: values[0] for name, values in lists.items() if isinstance(values, list) and values}
    if not isinstance(first, Mapping) or ("logprob" in first and not _is_logprob(first["logprob"])):
        return ()
    given = first.get("top_logprobs")
    pairs: list[tuple[Any, Any]] = []
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, list):
        pairs = [(one.get("token"), one.get("logprob")) for one in given if isinstance(one, Mapping)]
    found: dict[str, float] = {}
    for token, value in pairs:
        number = value.get("logprob") if isinstance(value, Mapping) else value
        if isinstance(token, str) and (known := _logprob(number)) is not None:
            found.setdefault(_spelled(token), known)
    own = first.get("token")
    if found and isinstance(own, str) and _spelled(own) not in found:
        if (known := _logprob(first.get("logprob"))) is None:
            return ()
        found[_spelled(own)] = known
    return tuple(found.items())


def _logprob(value: Any) -> float | None:
    """The number, at most 0; ``None`` where it says nothing: null, NaN, text, "impossible", a probability above 1."""
    return min(float(value), 0.0) if _is_logprob(value) and float(value) > _IMPOSSIBLE else None


def _is_logprob(value: Any) -> bool:
    """Whether it is a number, or the text of one, that a log-probability can be: "impossible" too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return float(value) <= _ROUNDING
    except (ValueError, OverflowError):
        return False


def _spelled(token: str) -> str:
    """The token's text, where the server gives its spelling in the vocabulary (``Ġ`` or ``▁`` for a space)."""
    for mark, meant in (("Ġ", " "), ("▁", " "), ("Ċ", "\n")):
        if token.startswith(mark):
            return meant + clean(token[1:])
    return clean(token)
