"""What a server's error means for the request: wait, change the request, give up this item, or give up all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from longsafety.chat.text import one_line

Meaning = Literal["later", "filtered", "too_long", "cut_off", "item", "all", "stop"]
"""``later``: it can pass; ``item``: this request cannot be answered; ``all``: none can, unless some were before;
``stop``: no further one can."""

_LATER = {408, 409, 423, 425, 429}
_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size|limit)|maximum (?:context|input|prompt|number of (?:input )?tokens)|"
    r"(?:prompt|input|request|message|string|text|sequence)s?\b[^.]{0,60}\b(?:too (?:long|large|many)|longer than)|"
    r"too many (?:input |prompt )?tokens|exceed\w*\b[^.]{0,60}\b(?:context|token|input length)|reduce the length|"
    r"max_model_len|max_new_tokens` must be <=|must have less than \d+ tokens|"
    r"token (?:count|limit) [^.]{0,40}exceed|request (?:entity )?too large",
    re.IGNORECASE,
)
_TOO_LONG_EVER = re.compile(r"request too large|too large for", re.IGNORECASE)
"""Of a rate limit: a single request exceeds it."""
_FILTERED = re.compile(
    r"content[ _-]?(?:filter|polic|management|moderat|violat)|responsible ?ai ?polic|moderation|\bflagged\b|"
    r"inappropriate|usage (?:polic|guideline)|prohibited[ _]content|data_?inspection|content exists risk|"
    r"considered high risk|safety (?:system|polic|filter|setting|reason|check)|guardrail|jailbreak|"
    r"(?:prompt|content|input|output|response|request)\b[^.]{0,40}\bblocked\b|"
    r"blocked\b[^.]{0,40}\b(?:content|safety|polic)|不安全|敏感|违规|不合规",
    re.IGNORECASE,
)
_CUT = re.compile(r"could not finish the message|output limit was reached", re.IGNORECASE)
_BROKE = re.compile(r"insufficient_quota|exceeded your current quota|billing|insufficient (?:balance|credit|fund)|"
                    r"out of credits|payment required", re.IGNORECASE)  # fmt: skip
_AGAIN = re.compile(r"retry|try again", re.IGNORECASE)
_KEY = re.compile(r"invalid[ _]api[ _]key|incorrect api key|api key not valid|no such model|model[^.]{0,80}\b(?:not "
                  r"exist|not found)|model_not_found|unauthorized|unauthenticated", re.IGNORECASE)  # fmt: skip
_PASSES = re.compile(
    r"rate.?limit|too many requests|overload|capacity|temporar|try again|time(?:d )?.?out|unavailable|busy|upstream|"
    r"provider returned error|internal|server.?error|bad gateway|loading model", re.IGNORECASE,
)  # fmt: skip
_REFUSES = re.compile(
    r"unsupported|not support|not allowed|not permitted|unrecognized|unknown|unexpected|extra (?:inputs|fields)|"
    r"does not (?:accept|take)|only the default|deprecated|invalid|must be|not available|is too (?:large|small)|"
    r"cannot be|can only|use '?max_completion_tokens|less than or equal|greater than or equal|out of range|one of",
    re.IGNORECASE,
)


UNREACHED = "the server cannot be reached"
LATE = "no answer in time"
BROKEN = "the connection broke"


class Problem(NamedTuple):
    """Why a request has no completion."""

    meaning: Meaning
    why: str
    """A few words of ours."""
    words: str = ""
    """The server's words, on one line."""
    status: int | None = None
    parameter: str | None = None
    """The parameter that the server will not take, where it names one."""

    @property
    def reason(self) -> str:
        return f"{self.why}: {self.words}" if self.words else self.why


class ErrorBody(NamedTuple):
    """The parts of an error's body that say what it is."""

    words: str
    codes: str
    """Its code, type and inner code, joined."""
    status: int | None
    parameter: str | None


def error_in(body: Mapping[str, Any]) -> ErrorBody | None:
    """The error that a JSON body reports, whatever the status of its response; ``None`` for any other body."""
    error: Any = body.get("error") or body.get("errors") or body.get("detail")
    if not error and not body.get("choices"):
        named = str(body.get("object", "")) == "error" or str(body.get("type", "")) == "error"
        says = isinstance(body.get("message", body.get("msg")), str)
        error = body if named or (says and ("code" in body or "status" in body)) else None
        if body.get("success") is False:
            error = body
    if not error:
        return None
    if isinstance(error, list):
        error = error[0]
    if not isinstance(error, Mapping):
        return ErrorBody(one_line(str(error)), "", None, None)
    inner = error.get("innererror")
    inner = inner if isinstance(inner, Mapping) else {}
    fields = [error.get("code"), error.get("type"), error.get("status"), inner.get("code"), body.get("code")]
    words = error.get("message") or error.get("msg") or error.get("detail") or error.get("error") or ""
    if isinstance(raw := (error.get("metadata") or {}), Mapping) and isinstance(raw.get("raw"), str):
        words = f"{words} ({raw['raw']})"  # what the provider behind a gateway said
    if not isinstance(words, str):
        words = json.dumps(words, ensure_ascii=False)
    place = error.get("param") or error.get("loc")
    place = place[-1] if isinstance(place, list) and place else place
    return ErrorBody(
        one_line(words or "(without words)"),
        " ".join(str(one) for one in fields if one not in (None, "")),
        next((int(str(one)) for one in fields if re.fullmatch(r"[1-5]\d\d", str(one))), None),
        place if isinstance(place, str) else None,
    )


def problem(status: int, error: ErrorBody | None, sent: Mapping[str, Any]) -> Problem:
    """What an error means. ``status``: of the response (200 for an error inside a success); ``sent``: the request."""
    inside = status < 400
    code = (error.status if error else None) if inside else status
    words, codes = (error.words, error.codes) if error else ("", "")
    said, why = f"{codes} {words}", f"HTTP {status}" if not inside else "an error inside HTTP 200"
    if inside and code is not None:
        why += f" (code {code})"
    bad_request = code is None or 400 <= code < 500
    if code == 402 or (_BROKE.search(said) and not _AGAIN.search(words)):
        return Problem("stop", f"{why}, the account's credit or quota is spent", words, code)
    if bad_request and _CUT.search(words):
        return Problem("cut_off", "the reply's tokens ran out before it began", words, code)
    if bad_request and code != 401:
        if code == 413 or (_TOO_LONG_EVER if code == 429 else _TOO_LONG).search(said):
            return Problem("too_long", "the prompt is longer than the server takes", words, code)
        if code != 429 and _FILTERED.search(said):
            return Problem("filtered", "blocked by the provider's filter: the prompt", words, code)
    if code in (400, 403, 404, 422) or (code is None and not _PASSES.search(said)):
        parameter = _parameter(error, sent) if error else None
        if parameter is not None:
            return Problem("item", why, words, code, parameter)
    if code in (401, 403, 404, 405, 407) or (bad_request and code != 429 and _KEY.search(said)):
        return Problem("all", why, words, code)
    if code is None or code in _LATER or code >= 500 or code < 400:
        return Problem("later", why, words, code)
    return Problem("item", why, words, code)


def _parameter(error: ErrorBody, sent: Mapping[str, Any]) -> str | None:
    """The optional parameter of the request that an error is about."""
    optional = [name for name in sent if name not in ("model", "messages")]
    if error.parameter in optional:
        return error.parameter
    if not _REFUSES.search(f"{error.codes} {error.words}"):
        return None
    named = [name for name in optional if re.search(rf"(?<![\w-]){name}(?!\w)", error.words)]
    return max(named, key=len) if named else None
