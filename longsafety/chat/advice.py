"""What a user can do about a server that answers nothing."""

from __future__ import annotations

from longsafety.chat import wording
from longsafety.chat.bounds import LIMIT
from longsafety.chat.completion import TOOL
from longsafety.chat.problems import BROKEN, LATE, UNREACHED, Problem
from longsafety.chat.section import Section


def failure(found: Problem, section: Section, key: str, tries: int) -> str:
    """What happened in so many tries, and a fix. ``key``: the dotted key of the section."""
    times = f"{max(tries, 1)} tries"
    if found.why == UNREACHED:
        return f"{UNREACHED} in {times} ({found.words}); start it, or fix the address"
    if found.why == BROKEN:
        return f"{BROKEN} in {times} ({found.words}); see the server's log"
    if found.why == LATE:
        return f"no answer within {section.timeout_seconds} s in {times}; raise {key}.timeout_seconds"
    refused = found.status is not None and found.status >= 400
    what = f"the server refuses ({found.reason})" if refused else found.reason
    return f"{what}; {_fix(found, section, key)}"


def _fix(found: Problem, section: Section, key: str) -> str:
    said = found.words
    if found.why.startswith("its "):  # its response is none, or its content
        return "give the address of an OpenAI-compatible server, up to /v1"
    if found.why == TOOL:
        return "start the server, or choose a model, without tools of its own"
    if found.meaning == "stop":
        return "pay for more, or give another server; the same command goes on"
    if found.status == 429:
        return f"lower {key}.concurrency, or raise {key}.retries"
    if found.status in (401, 403, 407) or wording.KEY.search(said):
        return _key(section, key)
    if found.status in (404, 405) or wording.MODEL.search(said):
        return f"set {key}.model to a name that the server knows, or fix {key}.base_url, which ends with /v1"
    if wording.ROLES.search(said):
        own = "set evaluation.system=none, or " if found.system and key == "evaluation.server" else ""
        return f"{own}start the server with a chat template that takes the roles of these messages"
    if found.parameter is not None and LIMIT.fullmatch(found.parameter):
        if hasattr(section, "max_reply_tokens"):
            return f"set {key}.max_reply_tokens to what the server takes"
        one = f"{key}.top_logprobs=null asks for no reply of one token"
        return f"set evaluation.max_new_tokens and evaluation.max_open_tokens to what the server takes; {one}"
    if found.status is not None and 400 <= found.status < 500:
        return f"change what its words name: a setting of {key}, or one of the server's own"
    return "see the server's log"


def _key(section: Section, key: str) -> str:
    if section.api_key_env is None:
        return f"set {key}.api_key_env to the name of an environment variable that holds the server's key"
    return f"put a key that it accepts into the environment variable {section.api_key_env} ({key}.api_key_env)"
