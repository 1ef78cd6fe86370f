"""From a recipe to the exact token ids of its rendered chat, without tokenising the documents again.

Concatenating ids is wrong where two texts meet. So each literal is encoded together with the ends of the spans around
it, up to a seam: a space between two letters, where every tokenizer splits, or (for scripts without spaces) a
full-width mark after a letter, for tokenizers that split there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from longsafety.errors import DataError
from longsafety.samples.control import ControlTokens
from longsafety.samples.edges import without_edge
from longsafety.samples.recipe import Goal, Sample, Segment, Span, render_context, user_content
from longsafety.samples.seams import MARKS, splits_at_marks
from longsafety.samples.store import TokenStore
from longsafety.samples.template import MARK, ChatTemplate, End
from longsafety.samples.thoughts import part_thoughts

_ANCHOR = "a"
"""Put before text that follows a seam: some tokenizers mark the beginning of a text, and must not mark a seam."""
_REMEMBERED = 1 << 17
"""Joins whose tokens are cached: the turns of many-shot histories recur."""

_CONTEXTS = 32
"""Contexts that are remembered: an item and its twins follow each other."""

History = Sequence[tuple[str, str]]
Ids = npt.NDArray[np.int64]


class _Ends(NamedTuple):
    """Where a span's own tokens begin and end (its seams), and the text outside them."""

    head: int
    tail: int
    before: str
    after: str


class _Inside(NamedTuple):
    """What a context is in every prompt that has it, whatever stands around it."""

    edge: str = ""
    """The white space at its outer end."""
    parts: tuple[Segment, ...] = ()
    """It without its edge."""
    kept: bool = True
    """Whether the template writes it as it is."""
    texts: tuple[str, ...] = ("",)
    """What is encoded before, between and after the spans whose stored ids are unchanged."""
    num_tokens: int = 0
    """Of all but the first and the last of ``texts``."""


class ChatEncoder:
    """Renders and encodes recipes with one tokenizer's chat template.

    Raises DataError where the template refuses a chat, and for a question, answer, earlier turn or needle that holds a
    control token of the model: it would pass for another's turn.
    """

    def __init__(self, tokenizer: Any, store: TokenStore, *, thoughts: Literal["mask", "keep"] = "mask") -> None:
        """``thoughts``: whether a thought before a trained answer is supervised with it."""
        self.thoughts = thoughts
        self.tokenizer = tokenizer
        self.store = store
        self.control = ControlTokens(tokenizer)
        self.template = ChatTemplate(tokenizer, self.control)
        core = getattr(tokenizer, "backend_tokenizer", None)  # calls take a fifth of the time of the wrapper's
        self._core = core if tokenizer.is_fast else None
        self._anchor_length = len(self.literal_ids(_ANCHOR))
        self._splits_at_marks = self._core is not None and splits_at_marks(self._core)
        self._inside = lru_cache(_CONTEXTS)(self._inside_once)
        self._around = lru_cache(1 << 12)(self._around_once)
        self._ends = lru_cache(_REMEMBERED)(self._ends_once)
        self._between = lru_cache(_REMEMBERED)(self._between_once)
        self._answered = lru_cache(1 << 12)(self._answered_once)
        self._text_kept = lru_cache(1 << 12)(self._text_kept_once)
        self._documents_kept: dict[int, bool] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ChatEncoder, thoughts=self.thoughts), (self.tokenizer, self.store)

    def answer_text(self, question: str, answer: str) -> str:
        """The assistant's turn as the chat template renders it, with its end-of-turn token."""
        self._check(question, answer)
        return self.template.answer(question, answer)

    def messages(
        self, context: Sequence[Segment], question: str, history: History = (), goal: Goal = "after", system: str = ""
    ) -> list[dict[str, str]]:
        """The chat up to the question, for a server that applies its own template."""
        return _messages(render_context(context, self.store), question, history, goal, system)

    def prompt_text(
        self,
        context: Sequence[Segment],
        question: str,
        history: History = (),
        goal: Goal = "after",
        system: str = "",
        *,
        end: End = "answer",
    ) -> str:
        """The rendered prompt: chat template, history, context, question, generation prompt, and its end."""
        before, inside, after = self._prompt(context, question, history, goal, system, end)
        return f"{before}{render_context(inside.parts, self.store)}{after}"

    def prompt_ids(
        self,
        context: Sequence[Segment],
        question: str,
        history: History = (),
        goal: Goal = "after",
        system: str = "",
        *,
        end: End = "answer",
    ) -> Ids:
        """Token ids (int64, 1-D) equal to ``tokenizer(prompt_text(...))``."""
        before, inside, after = self._prompt(context, question, history, goal, system, end)
        return self.encode([before, *inside.parts, after])

    def prompt_length(
        self,
        context: Sequence[Segment],
        question: str,
        history: History = (),
        goal: Goal = "after",
        system: str = "",
        *,
        end: End = "answer",
    ) -> int:
        """The number of ``prompt_ids``; its cost does not grow with the tokens of the context."""
        before, inside, after = self._prompt(context, question, history, goal, system, end)
        if len(inside.texts) == 1:
            return len(self._between(before + inside.texts[0] + after, False))
        first, last = self._between(before + inside.texts[0], False), self._between(inside.texts[-1] + after, True)
        return len(first) + inside.num_tokens + len(last)

    def answer_ids(self, question: str, answer: str) -> Ids:
        """Token ids (int64, 1-D) of the assistant's turn; not to be written to."""
        return self._answered(question, answer)

    def _answered_once(self, question: str, answer: str) -> Ids:
        ids = self.literal_ids(self.answer_text(question, answer))
        ids.flags.writeable = False
        return ids

    def reply_ids(self, text: str) -> Ids:
        """Token ids (int64, 1-D) of what a reply begins with: with the space that the template writes before it."""
        return self.literal_ids(self.template.lead + text)

    def sample_ids(self, sample: Sample) -> tuple[Ids, int]:
        """Token ids of a sample's prompt and answer, and the number of supervised tokens at the end.

        A thought stands where the model writes one, and is supervised where the encoder keeps thoughts. An empty one
        is left to the template; so is any, where the model is told not to think.
        """
        reply, supervised, thinks = self._supervised(sample)
        prompt = self.prompt_ids(*sample.prompt(), end="thought" if thinks else "answer")
        return np.concatenate([prompt, reply]), supervised

    def num_supervised(self, sample: Sample) -> int:
        """The number of a sample's supervised tokens."""
        return self._supervised(sample)[1]

    def _supervised(self, sample: Sample) -> tuple[Ids, int, bool]:
        """The assistant's turn, its supervised tokens at the end, and whether it begins with a thought."""
        said = part_thoughts(sample.answer)
        answer = sample.answer if said.thoughts is None else said.reply
        if not said.thoughts or self.template.thinking == "off":
            ids = self.answer_ids(sample.question, answer)
            return ids, len(ids), False
        self._check(said.thoughts)
        opening, closing = self.template.thought_marks
        before = f"{opening}{said.thoughts}{closing}"
        whole = before + self.answer_text(sample.question, answer)
        coded = self.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        ids = np.asarray(coded["input_ids"], dtype=np.int64)
        told = sum(end > len(before) for _, end in coded["offset_mapping"])
        return ids, len(ids) if self.thoughts == "keep" else told, True

    def literal_ids(self, text: str) -> Ids:
        """Token ids of a text by itself, without special tokens."""
        if self._core is None:
            return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
        return np.asarray(self._core.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def encode(self, segments: Sequence[Segment]) -> Ids:
        """Ids of the concatenated text of ``segments``."""
        return np.concatenate(
            [
                piece
                if isinstance(piece, np.ndarray)
                else self.store.tokens(piece.document)[piece.start : piece.stop].astype(np.int64)
                for piece in self._pieces(segments)
            ]
        )

    def _pieces(self, segments: Sequence[Segment]) -> Iterator[Ids | Span]:
        """Encoded literals (with the joins around them) and, between them, spans whose stored ids are unchanged."""
        texts, spans = self._joints(segments)
        yield self._between(texts[0], False)
        for span, text in zip(spans, texts[1:], strict=True):
            yield span
            yield self._between(text, True)

    def _joints(self, segments: Sequence[Segment]) -> tuple[list[str], list[Span]]:
        """The spans whose stored ids are unchanged, and the texts before, between and after them."""
        texts: list[str] = []
        spans: list[Span] = []
        pending = ""
        for segment in segments:
            if isinstance(segment, str):
                pending += segment
                continue
            document, start, stop = segment
            if start == stop:
                continue
            ends = self._ends(segment)
            if ends is None:
                pending += self.store.text(document, start, stop)
                continue
            texts.append(pending + ends.before)
            spans.append(Span(document, ends.head, ends.tail))
            pending = ends.after
        return [*texts, pending], spans

    def _inside_once(self, context: tuple[Segment, ...], from_end: bool) -> _Inside:
        given = [part for part in context if (part if isinstance(part, str) else part.num_tokens)]
        edge, parts = without_edge(given, self.store, from_end=from_end)
        kept = all(map(self._kept, given))
        texts, spans = self._joints(parts)
        num_tokens = sum(len(self._between(text, True)) for text in texts[1:-1])
        num_tokens += sum(stop - start for _, start, stop in spans)
        return _Inside(edge, tuple(parts), kept, tuple(texts), num_tokens)

    def _between_once(self, text: str, after_seam: bool) -> Ids:
        if not after_seam:
            return self.literal_ids(text)
        return self.literal_ids(_ANCHOR + text)[self._anchor_length :]

    def _ends_once(self, span: Span) -> _Ends | None:
        head, tail = self._seam(span, from_end=False), self._seam(span, from_end=True)
        if head is None or tail is None or head >= tail:
            return None
        text = self.store.text
        return _Ends(head, tail, text(span.document, span.start, head), text(span.document, tail, span.stop))

    def _seam(self, span: Span, *, from_end: bool) -> int | None:
        """The first token, counted from one end of the span, that starts at a seam."""
        document, text = span.document, self.store.text
        candidates = range(span.stop - 1, span.start, -1) if from_end else range(span.start + 1, span.stop)
        for token in candidates:
            if not text(document, token - 1, token)[-1:].isalpha():
                continue
            own = text(document, token, min(token + 3, span.stop))  # a character may take three tokens
            if own[:1] == " " and own[1:2].isalpha():
                return token
            if self._splits_at_marks and own[:1] in MARKS and own:
                return token
        return None

    def _prompt(
        self, context: Sequence[Segment], question: str, history: History, goal: Goal, system: str, end: End
    ) -> tuple[str, _Inside, str]:
        """The template's text before the context, the context, which opens the first user turn, and the text after."""
        inside = self._inside(tuple(context), goal == "before")
        around = None
        if inside.parts and self.template.plain and inside.kept:
            around = self._around(inside.edge, question, tuple(history), goal, system, end)
        if around is None:
            messages = self.messages(context, question, history, goal, system)
            return self._rendered(messages, question, history, system, end), _Inside(), ""
        return around[0], inside, around[1]

    def _around_once(
        self, edge: str, question: str, history: tuple[tuple[str, str], ...], goal: Goal, system: str, end: End
    ) -> tuple[str, str] | None:
        """The prompt's text around the context; None where the template writes the context more than once.

        ``edge``: the white space at the context's outer end, which the template may trim.
        """
        marked = edge + MARK if goal == "after" else MARK + edge
        text = self._rendered(_messages(marked, question, history, goal, system), question, history, system, end)
        before, found, after = text.partition(MARK)
        if not found:
            raise DataError("chat template: drops the user's message; give a model whose template renders it")
        return None if MARK in after else (before, after)

    def _rendered(self, messages: list[dict[str, str]], question: str, history: History, system: str, end: End) -> str:
        if system and not self.template.system_role:
            raise DataError(
                "chat template: has no system role; set model.fold_system=true to put system messages at the beginning "
                "of the user's turn, or leave them out"
            )
        self._check(system, question, *(text for turn in history for text in turn))
        if history:
            self.template.check_turns()
        return self.template.render(messages, generate=True) + self.template.end(end)

    def _kept(self, part: Segment) -> bool:
        """Whether the template writes a part of a context as it is; of a document: all of it."""
        if isinstance(part, str):
            return self._text_kept(part)
        if part.document not in self._documents_kept:
            text = self.store.text(part.document, 0, self.store.num_tokens(part.document))
            self._documents_kept[part.document] = self.template.keeps(text)
        return self._documents_kept[part.document]

    def _text_kept_once(self, text: str) -> bool:
        self._check(text)
        return self.template.keeps(text)

    def _check(self, *texts: str) -> None:
        if token := self.control.found(*texts):
            text = next(text for text in texts if self.control.found(text))
            raise DataError(
                f"text = {text[:60]!r}: holds {token!r}, a special token of the model, which would pass for a turn; "
                "leave it out of the text"
            )


def _messages(context: str, question: str, history: History, goal: Goal, system: str = "") -> list[dict[str, str]]:
    users = [*(user for user, _ in history), question]
    users[0] = user_content(context, users[0], goal)
    messages = [{"role": "system", "content": system}] if system else []
    for user, reply in zip(users, [*(assistant for _, assistant in history), ""], strict=True):
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
    return messages[:-1]
