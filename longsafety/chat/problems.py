"""What a server's error means for the request: wait, change the request, give up this item, or give up all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from longsafety.chat import wording
from longsafety.chat.bounds import LIMIT
from longsafety.chat.text import one_line

Meaning = Literal["later", "filtered", "too_long", "cut_off", "item", "all", "stop"]
"""``later``: it can pass; ``item``: this request cannot be answered; ``all``: none can, unless some were before;
``stop``: no further one can."""

_LATER = {408, 409, 420, 423, 425, 429, 498, 499}
_PROMPT = re.compile(r"context|prompt|input|messages|max_\w+_len|got -\d", re.IGNORECASE)
_WORDS = (
    "message",
    "msg",
    "error_msg",
    "errmsg",
    "err_msg",
    "status_msg",
    "error_message",
    "errormessage",
    "detail",
    "error",
)
"""Names of the field that says what an error is, in small letters."""
_MOST_WORDS = 4000
"""Characters of an error that are read; a message shows fewer."""
_CODES = ("code", "error_code", "errcode", "err_code", "status_code", "status")

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
    system: bool = False
    """Whether the request has a system message."""

    @property
    def reason(self) -> str:
        return f"{self.why}: {one_line(self.words)}" if self.words else self.why


class ErrorBody(NamedTuple):
    """The parts of an error's body that say what it is."""

    words: str
    codes: str
    """Its code, type and inner code, joined."""
    status: int | None
    parameter: str | None


def error_in(body: Mapping[str, Any], *, failed: bool = False) -> ErrorBody | None:
    """The error that a JSON body reports, whatever the status of its response; ``None`` for any other body.

    ``failed``: the status says that there is one, so a message alone is its words.
    """
    body = {str(name).lower(): value for name, value in body.items()}
    error: Any = body.get("error") or body.get("errors") or body.get("detail")
    if not error and not body.get("choices"):
        error = _bare_error(body, failed)
        if error is None and (block := _block(body)) is not None:
            return ErrorBody(one_line(block), "", None, None)
    if not error:
        return None
    if isinstance(error, list):
        error = error[0]
    if not isinstance(error, Mapping):
        return ErrorBody(one_line(str(error), _MOST_WORDS), "", None, None)
    inner = error.get("innererror")
    inner = inner if isinstance(inner, Mapping) else {}
    fields = [*(error.get(name) for name in (*_CODES, "type")), inner.get("code"), body.get("code")]
    words = next((error[name] for name in _WORDS if error.get(name)), "")
    words = _text(words)
    metadata = error.get("metadata")
    if inner_words := (metadata.get("raw") if isinstance(metadata, Mapping) else None) or error.get("cause"):
        words = f"{words} ({_text(inner_words)})"  # what the provider behind a gateway said
    if delay := _retry_delay(error.get("details")):
        words = f"{words} (retry in {delay})"
    place = error.get("param") or error.get("loc")
    place = place[-1] if isinstance(place, list) and place else place
    return ErrorBody(
        one_line(words or "(without words)", _MOST_WORDS),
        " ".join(str(one) for one in fields if one not in (None, "")),
        next((int(str(one)) for one in fields if re.fullmatch(r"[1-5]\d\d", str(one))), None),
        place if isinstance(place, str) else None,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _retry_delay(details: Any) -> str | None:
    """The pause in Google's ``RetryInfo``."""
    for one in details if isinstance(details, list) else ():
        if isinstance(one, Mapping) and isinstance(delay := one.get("retryDelay"), str):
            return delay
    return None


def _bare_error(body: Mapping[str, Any], failed: bool) -> Mapping[str, Any] | None:
    """An error whose fields stand in the body itself, or in ``base_resp``."""
    base = body.get("base_resp")
    if isinstance(base, Mapping) and base.get("status_code"):
        return base
    says = any(isinstance(body.get(name), str) and body[name] for name in _WORDS)
    if "error" in (body.get("object"), body.get("type")) or body.get("success") is False:
        return body
    return body if says and (failed or any(name in body for name in _CODES)) else None


def _block(body: Mapping[str, Any]) -> str | None:
    """What a body without a choice says of a filter, at any depth: ``blockReason``, or that something is filtered."""
    left: list[Any] = [body]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        for name, inner in value.items() if isinstance(value, Mapping) else ():
            plain = str(name).lower().replace("_", "")
            if (plain == "blockreason" and inner) or (plain in ("filtered", "blocked", "flagged") and inner is True):
                return f"blockReason {inner}" if plain == "blockreason" else f"content filter: {name}"
            left.append(inner)
    return None


def problem(status: int, error: ErrorBody | None, sent: Mapping[str, Any]) -> Problem:
    """What an error means. ``status``: of the response (200 for an error inside a success); ``sent``: the request."""
    inside = status < 400
    code = (error.status if error else None) if inside else status
    words = error.words if error else ""
    why = f"HTTP {status}" if not inside else "an error inside HTTP 200"
    if inside and code is not None:
        why += f" (code {code})"
    found = _meant(code, why, words, error, sent)
    messages = sent.get("messages") or ()
    return found._replace(system=any(one.get("role") == "system" for one in messages))


def _meant(code: int | None, why: str, words: str, error: ErrorBody | None, sent: Mapping[str, Any]) -> Problem:
    said = f"{error.codes} {words}" if error else ""
    bad_request = code is None or 400 <= code < 500
    if code == 402 or (wording.BROKE.search(said) and not wording.AGAIN.search(words)):
        return Problem("stop", f"{why}, the account's credit or quota is spent", words, code)
    if bad_request and wording.CUT.search(words):
        return Problem("cut_off", "the reply's tokens ran out before it began", words, code)
    if _too_long(code, said, error):
        return Problem("too_long", "the prompt is longer than the server takes", words, code)
    if _filtered(code, said):
        return Problem("filtered", "blocked by the provider's filter: the prompt", words, code)
    if code in (400, 403, 404, 422) or (code is None and not wording.PASSES.search(said)):
        parameter = _parameter(error, sent) if error else None
        if parameter is not None:
            return Problem("item", why, words, code, parameter)
    if code in (401, 403, 404, 405, 407) or (bad_request and code != 429 and wording.concerns_all(said)):
        return Problem("all", why, words, code)
    if code is None or code in _LATER or code >= 500 or code < 400:
        return Problem("later", why, words, code)
    return Problem("item", why, words, code)


def _too_long(code: int | None, said: str, error: ErrorBody | None) -> bool:
    """Whether the prompt is too long, and not the reply's limit too high, nor a rate."""
    if code == 413:
        return True
    if not _about_the_text(code, said) or (error and LIMIT.search(_subject(error)) and not _PROMPT.search(error.words)):
        return False
    limited = code == 429 or wording.LIMITED.search(said)
    return bool((wording.TOO_LONG_EVER if limited else wording.TOO_LONG).search(said))


def _filtered(code: int | None, said: str) -> bool:
    if code == 451:
        return True
    if code == 429 or not _about_the_text(code, said) or not wording.concerns_text(said):
        return False
    return bool(wording.FILTERED.search(said))


def _about_the_text(code: int | None, said: str) -> bool:
    """Whether an error of this code may be about the prompt's or the reply's text. A server that fails may say so too,
    except where it is down."""
    if code is None or code >= 500:
        return not wording.DOWN.search(said)
    return code >= 400 and code != 401


def _subject(error: ErrorBody) -> str:
    return f"{error.parameter or ''} {error.words}"


def _parameter(error: ErrorBody, sent: Mapping[str, Any]) -> str | None:
    """The optional parameter of the request that an error is about."""
    optional = [name for name in sent if name not in ("model", "messages")]
    if error.parameter in optional:
        return error.parameter
    if not wording.REFUSES.search(f"{error.codes} {error.words}"):
        return None
    named = [name for name in optional if re.search(rf"(?<![\w-]){name}(?!\w)", error.words)]
    if not named and LIMIT.search(_subject(error)):
        named = [name for name in optional if LIMIT.fullmatch(name)]  # the server knows the limit by another name
    return max(named, key=len) if named else None
