"""Cutting a context to an exact length: filler before and after a needle, counted in the rendered chat.

The filler's cut ends lie at the outside; a needle stands at a sentence boundary of the document around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from longsafety.errors import DataError
from longsafety.scenarios.encode import ChatEncoder
from longsafety.scenarios.recipe import Segment, Span
from longsafety.scenarios.store import TokenStore

SLACK = 4
"""A rendered chat has its target length or up to this many tokens less."""
_ROUNDS = 24
_NEAR = 4 * SLACK


@dataclass
class Filler:
    """Spans to be used on one side of the needle, the nearest to it first."""

    spans: Iterable[Span]
    backwards: bool
    """The side before the needle: a span is cut at its start instead of its end."""
    _taken: list[Span] = field(default_factory=list)
    _source: Iterator[Span] | None = None

    def take(self, budget: int) -> list[Span]:
        """Spans with ``budget`` tokens in reading order; fewer where the spans end."""
        if self._source is None:
            self._source = iter(self.spans)
        taken, left = [], budget
        for span in self._chain():
            if left <= 0:
                break
            use = min(left, span.num_tokens)
            taken.append(
                Span(span.document, span.stop - use, span.stop)
                if self.backwards
                else Span(span.document, span.start, span.start + use)
            )
            left -= use
        return taken[::-1] if self.backwards else taken

    def _chain(self) -> Iterator[Span]:
        """The spans seen before, then new ones: every round of the fitting sees the same spans."""
        assert self._source is not None
        yield from self._taken
        for span in self._source:
            self._taken.append(span)
            yield span


@dataclass(frozen=True)
class Draft:
    """What a context is made of before it is cut to length."""

    header: str
    before: Filler
    needle: str | None
    after: Filler
    depth: float
    """Share of the filler's tokens that stands before the needle: 0 uses ``after`` only, 1 ``before`` only."""


@dataclass(frozen=True)
class Context:
    """A context cut to length."""

    segments: tuple[Segment, ...]
    needle: int
    depth: float
    """As built: tokens before the needle over all the filler's tokens."""
    num_tokens: int


def fit(
    draft: Draft, encoder: ChatEncoder, *, question: str, answer: str | None, target_tokens: int, where: str
) -> Context:
    """Cuts a draft so that the rendered chat has ``target_tokens`` or at most ``SLACK`` fewer.

    ``answer=None`` counts the prompt alone. Raises DataError when question, needle and template alone are longer
    than the target, or when the documents are shorter than what is needed.
    """
    reply = 0 if answer is None else len(encoder.literal_ids(encoder.answer_text(question, answer)))

    def build(num_before: int, num_after: int) -> Context:
        filler_tokens = num_before + num_after
        before, after = draft.before.take(num_before), draft.after.take(num_after)
        segments, needle = _lay_out(draft, before, after, encoder.store)
        counted = sum(span.num_tokens for span in before)
        total = counted + sum(span.num_tokens for span in after)
        length = len(encoder.prompt_ids(segments, question)) + reply
        if total < filler_tokens - SLACK and length < target_tokens - SLACK:
            raise DataError(
                f"{where}: the documents left for this split give {total} tokens, {filler_tokens} are needed; "
                "give a larger corpus or a smaller length.max_tokens"
            )
        return Context(segments, needle, counted / max(total, 1), length)

    empty = build(0, 0)
    if empty.num_tokens > target_tokens:
        raise DataError(
            f"{where}: chat template, question and needle take {empty.num_tokens} tokens, more than the length "
            f"{target_tokens}; give a larger length.max_tokens (length.train_tokens for training samples)"
        )
    filler_tokens, best = target_tokens - empty.num_tokens, empty
    num_before = round(filler_tokens * draft.depth)
    for _ in range(_ROUNDS):
        context = build(num_before, filler_tokens - num_before)
        excess = context.num_tokens - target_tokens
        if excess <= 0 and context.num_tokens > best.num_tokens:
            best = context
        if -SLACK <= excess <= 0:
            return context
        # A cut that moves off a split character can answer one token with three. So once near, steps are of one
        # token and only the longer side's cut moves; before that, both sides keep the depth.
        near = abs(excess) <= _NEAR
        step = -excess if abs(excess) > SLACK else (-1 if excess > 0 else 1)
        filler_tokens = max(filler_tokens + step, 0)
        if not near:
            num_before = round(filler_tokens * draft.depth)
        elif draft.depth > 0.5:
            num_before = max(num_before + step, 0)
        num_before = min(num_before, filler_tokens)
    if best.num_tokens < target_tokens - SLACK:
        raise DataError(
            f"{where}: no cut of the documents gives {target_tokens - SLACK} to {target_tokens} tokens "
            f"(nearest {best.num_tokens}); give another length.max_tokens"
        )
    return best


def _lay_out(draft: Draft, before: list[Span], after: list[Span], store: TokenStore) -> tuple[tuple[Segment, ...], int]:
    """Header, filler and needle with what separates them; and the needle's index, -1 without one."""
    before = [_off_split_character(span, True, store) for span in before]
    after = [_off_split_character(span, False, store) for span in after]
    parts: list[Segment] = [*before, *([] if draft.needle is None else [draft.needle]), *after]
    segments: list[Segment] = [draft.header] if draft.header else []
    needle, previous = -1, None
    for part in parts:
        if isinstance(part, Span) and not part.num_tokens:
            continue
        separator = _separator(previous, part, store)
        if separator:
            segments.append(separator)
        if isinstance(part, str):
            needle = len(segments)
        segments.append(part)
        previous = part
    return tuple(segments), needle


def _separator(previous: Segment | None, part: Segment, store: TokenStore) -> str:
    """A blank line between documents, nothing within one, and a space around the needle."""
    if previous is None:
        return ""
    if isinstance(previous, Span) and isinstance(part, Span):
        adjoining = previous.document == part.document and previous.stop == part.start
        return "" if adjoining else "\n\n"
    edge = previous if isinstance(previous, Span) else part
    assert isinstance(edge, Span)
    text = store.text(edge.document, edge.start, edge.stop)
    touching = text[-1:] if edge is previous else text[:1]
    return "" if touching.isspace() else " "


def _off_split_character(span: Span, backwards: bool, store: TokenStore) -> Span:
    """Moves the span's cut end inwards until it splits no character."""
    start, stop = span.start, span.stop
    if backwards:
        while start < stop and not store.can_cut(span.document, start):
            start += 1
    else:
        while stop > start and not store.can_cut(span.document, stop):
            stop -= 1
    return Span(span.document, start, stop)
