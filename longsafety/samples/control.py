"""The tokens by which a model tells turns apart, found in text that is not ours: there they would pass for turns.

A text with such a token could close the user's turn and speak in another's place, so it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

CHAT_TOKENS = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^｜\n]{1,40}｜>|</?s>|<[be]os>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|"
    r"</?(?:think|thinking|answer|tool_calls?|tool_response|tools|function_calls?|reasoning)>|"
    r"\[/?(?:TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS|SYSTEM_PROMPT|THINK|MASK|CLS|SEP|BOS|EOS|UNK|PAD)\]"
)
"""What chat templates of any model mark turns, thoughts and calls with."""
_PROBE = ({"role": "user", "content": "What?"}, {"role": "assistant", "content": "This."})


class ControlTokens:
    """The control tokens of one tokenizer.

    They are its added tokens that are special, that the chat template writes, or that look like those of other models
    (:data:`CHAT_TOKENS`); most have no name in the tokenizer's configuration. Added tokens that are ordinary text
    (runs of spaces, tags such as ``<table>``, words of a domain) are none.
    """

    def __init__(self, tokenizer: Any) -> None:
        added = tokenizer.added_tokens_decoder.values()
        written = _written(tokenizer)
        named = {str(text) for text in tokenizer.all_special_tokens if not str(text).isspace()}
        found = named | {token.content for token in added if _controls(token, written)}
        self.texts = tuple(sorted(found, key=lambda text: (-len(text), text)))
        self._pattern = _any_of(self.texts)
        # Some are looked for in the normalized text: with NFKC, in full-width brackets too.
        normalizer: Any = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
        late = [] if normalizer is None else [token.content for token in added if token.normalized]
        late = [text for text in late if text in found]
        self._normalize = normalizer.normalize_str if late else None
        self._late_pattern = _any_of([form for text in late for form in (text, normalizer.normalize_str(text))])

    def found(self, *texts: str) -> str | None:
        """The first control token in the texts; None where there is none."""
        for text in texts:
            if match := self._pattern.search(text):
                return match[0]
            if self._normalize is not None and (match := self._late_pattern.search(self._normalize(text))):
                return match[0]
        return None

    def broken(self, text: str) -> str:
        """The text with its control tokens letter by letter, so that they are ordinary text."""
        return self._pattern.sub(lambda token: " ".join(token[0]), text)

    def removed(self, text: str) -> str:
        """The text without its control tokens."""
        return self._pattern.sub("", text)

    def found_in(self, value: Any) -> str | None:
        """The same in all texts of nested lists, tuples and mappings (keys too)."""
        return self.found(*_texts(value))


def _any_of(texts: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)) or "(?!)")


def _controls(token: Any, written: str) -> bool:
    text = token.content
    if not text or text.isspace():
        return False
    if token.special or CHAT_TOKENS.fullmatch(text.strip()):
        return True
    return len(text) > 2 and not text.replace(" ", "").isalnum() and text in written


def _written(tokenizer: Any) -> str:
    """The chat template, and what it writes around two short messages: it may put a marker together."""
    template = tokenizer.chat_template
    parts = list(template.values()) if isinstance(template, dict) else [template or ""]
    with suppress(Exception):  # what a template refuses is told where a chat is rendered
        parts.append(str(tokenizer.apply_chat_template(list(_PROBE), tokenize=False)))
    return "\n".join(map(str, parts))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from (*_texts(key), *_texts(part))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)
