"""From a recipe to the token ids of its rendered chat, exactly, without tokenising the documents again.

Concatenating ids is wrong where two texts meet, so each literal is encoded together with a window of the spans
around it, up to a place where every pre-tokenizer splits: a space between a letter and a letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from longsafety.errors import DataError
from longsafety.scenarios.recipe import Segment, Span, render_context, user_content
from longsafety.scenarios.store import TokenStore

_CONTEXT_MARK = "\ue000context\ue000"
"""Stands for the context while the chat template is applied; private-use characters, in no document."""
_ANCHOR = "a"
"""The letter before a seam, so that tokenizers which mark a text's beginning do not mark a seam."""
_WINDOW = 24
"""Tokens looked at beyond a join before its seam is chosen; merges never reach across a seam."""


class ChatEncoder:
    """Renders and encodes recipes with one tokenizer's chat template."""

    def __init__(self, tokenizer: Any, store: TokenStore) -> None:
        self.tokenizer = tokenizer
        self.store = store
        self._anchor_length = len(self.literal_ids(_ANCHOR))

    def _template(self, messages: list[dict[str, str]], generate: bool) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate))

    def _around(self, has_context: bool, question: str) -> tuple[str, str]:
        """What stands before and after the context in the prompt's text."""
        content = user_content(_CONTEXT_MARK if has_context else "", question)
        text = self._template([{"role": "user", "content": content}], generate=True)
        if not has_context:
            return text, ""
        before, mark, after = text.partition(_CONTEXT_MARK)
        if not mark:
            raise DataError("chat template: drops the user's message; give a model whose template renders it")
        return before, after

    def answer_text(self, question: str, answer: str) -> str:
        """What the chat template writes for the assistant's turn, its end-of-turn token included."""
        user = {"role": "user", "content": question}
        prompt = self._template([user], generate=True)
        full = self._template([user, {"role": "assistant", "content": answer}], generate=False)
        if not full.startswith(prompt):
            raise DataError(
                "chat template: the chat with an answer does not begin with its prompt, so the answer's tokens "
                "cannot be told apart; give a model whose generation prompt opens the assistant's turn"
            )
        return full[len(prompt) :].rstrip()

    def prompt_text(self, context: Sequence[Segment], question: str) -> str:
        """The rendered prompt: chat template, context, question, generation prompt."""
        before, after = self._around(bool(context), question)
        return before + render_context(context, self.store) + after

    def prompt_ids(self, context: Sequence[Segment], question: str) -> np.ndarray:
        """Token ids (int64, 1-D) equal to ``tokenizer(prompt_text(...))``."""
        before, after = self._around(bool(context), question)
        return self.encode([before, *context, after])

    def sample_ids(self, context: Sequence[Segment], question: str, answer: str) -> tuple[np.ndarray, int]:
        """Token ids of prompt and answer, and the number of answer tokens at the end."""
        prompt = self.prompt_ids(context, question)
        reply = self.literal_ids(self.answer_text(question, answer))
        return np.concatenate([prompt, reply]), len(reply)

    def literal_ids(self, text: str) -> np.ndarray:
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)

    def encode(self, segments: Sequence[Segment]) -> np.ndarray:
        """Ids of the concatenated text of ``segments``."""
        pieces: list[np.ndarray] = []
        pending = ""
        for segment in segments:
            if isinstance(segment, str):
                pending += segment
                continue
            if segment.num_tokens == 0:
                continue
            head = self._seam(segment, from_end=False)
            tail = self._seam(segment, from_end=True)
            if head is None or tail is None or head >= tail:
                pending += self.store.text(segment.document, segment.start, segment.stop)
                continue
            pieces.append(self._between(pending + self.store.text(segment.document, segment.start, head), bool(pieces)))
            pieces.append(self.store.tokens(segment.document)[head:tail].astype(np.int64))
            pending = self.store.text(segment.document, tail, segment.stop)
        pieces.append(self._between(pending, bool(pieces)))
        return np.concatenate(pieces)

    def _between(self, text: str, after_seam: bool) -> np.ndarray:
        if not after_seam:
            return self.literal_ids(text)
        return self.literal_ids(_ANCHOR + text)[self._anchor_length :]

    def _seam(self, span: Span, *, from_end: bool) -> int | None:
        """The first token, counted from one end of the span, that starts at a word's leading space."""
        starts = self.store.starts(span.document)
        candidates = range(span.stop - _WINDOW, span.start, -1) if from_end else range(span.start + 2, span.stop - 1)
        for token in candidates:
            offset = int(starts[token])
            around = self.store.characters(span.document, offset - 1, offset + 2)
            if len(around) == 3 and around[1] == " " and around[0].isalpha() and around[2].isalpha():
                return token
        return None
