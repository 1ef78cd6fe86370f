"""Cutting a context to an exact length: filler before and after the needles, counted in the rendered chat.

The filler's cut ends lie at the outside; needles stand at sentence boundaries of the documents around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder, History
from longsafety.samples.recipe import Goal, Segment, Span
from longsafety.samples.store import TokenStore

SLACK = 4
"""A rendered chat has its target length or up to this many tokens less."""
_ROUNDS = 24
_NEAR = 4 * SLACK


@dataclass
class Filler:
    """Spans to be used on one side of the first needle, the nearest to it first."""

    spans: Iterable[Span] = ()
    backwards: bool = False
    """The side before the needle: a span is cut at its start instead of its end."""
    whole: bool = False
    """No span is cut: the one that does not fit is left out, and so is what is farther away."""
    ended: bool = False
    """Whether the last :meth:`take` came to the end of the spans."""
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
            document, start, stop = span
            if stop - start <= left:
                taken.append(span)
            elif self.whole:
                break
            elif self.backwards:
                taken.append(Span(document, stop - left, stop))
            else:
                taken.append(Span(document, start, start + left))
            left -= min(stop - start, left)
        else:
            self.ended = left > 0
            return taken[::-1] if self.backwards else taken
        self.ended = False
        return taken[::-1] if self.backwards else taken

    def _chain(self) -> Iterator[Span]:
        """The spans drawn before, then new ones: every round of the fitting sees the same spans."""
        assert self._source is not None
        yield from self._taken
        for span in self._source:
            self._taken.append(span)
            yield span


@dataclass(frozen=True)
class Draft:
    """What a context is made of before it is cut to length."""

    before: Filler
    after: Filler
    needles: tuple[str, ...] = ()
    depths: tuple[float, ...] = ()
    """Share of the filler's tokens that stands before each needle, rising; exact for the first, at the sentence's
    start before it for the others. Without needles one depth says how the filler is divided: 0 uses ``after`` only, 1
    ``before`` only."""
    header: str = ""
    available: int | None = None
    """Tokens of the documents that both sides share; None where texts may be repeated."""
    own_paragraph: bool = False
    """Needles are paragraphs of their own, not sentences in one."""
    may_end_short: bool = False
    """Where the spans give fewer tokens than the length needs, the context is as long as they are. Whole spans nearly
    always do."""
    are_needles: bool = True
    """False: what stands at the depths is part of the filler, and no needle."""


@dataclass(frozen=True)
class Context:
    """A context cut to length."""

    segments: tuple[Segment, ...]
    needles: tuple[int, ...]
    """The needles' places in ``segments``."""
    depth: float | None
    """As built: the mean over the needles of the tokens before one over all the filler's tokens."""
    num_tokens: int
    given: int = 0
    """Tokens that the spans gave."""
    used_up: bool = False
    """Whether that is fewer than asked for."""
    ended: bool = False
    """Whether a side came to the end of its spans."""


def fit(
    draft: Draft,
    encoder: ChatEncoder,
    *,
    question: str,
    answer: str | None,
    target_tokens: int,
    where: str,
    history: History = (),
    goal: Goal = "after",
) -> Context:
    """Cuts a draft so that the rendered chat has ``target_tokens`` or at most ``SLACK`` fewer.

    ``answer=None`` counts the prompt alone. Raises DataError when question, needles and template alone are longer
    than the target, or when the documents are shorter than what is needed.
    """
    reply = 0 if answer is None else len(encoder.answer_ids(question, answer))
    first = draft.depths[0]
    offsets: list[int] = []

    def build(num_before: int, num_after: int) -> Context:
        before, after = draft.before.take(num_before), draft.after.take(num_after)
        given = sum(span.num_tokens for span in (*before, *after))
        before = [_off_split_character(span, True, encoder.store) for span in before]
        after = [_off_split_character(span, False, encoder.store) for span in after]
        stretches = [before, *_split_at_sentences(after, offsets, encoder.store)]
        segments, needles = _lay_out(draft, stretches, encoder.store)
        sizes = [sum(span.num_tokens for span in stretch) for stretch in stretches]
        total = sum(sizes)
        length = encoder.prompt_length(segments, question, history, goal) + reply
        if given < num_before + num_after and length < target_tokens - SLACK and not draft.may_end_short:
            raise DataError(
                f"{where}: the documents left for this split give {given} tokens, {num_before + num_after} are "
                "needed; give a larger corpus or a smaller length.max_tokens"
            )
        cumulated = [sum(sizes[: at + 1]) for at in range(len(needles))]
        depth = sum(cumulated) / len(cumulated) / max(total, 1) if cumulated else None
        if not draft.are_needles:
            needles, depth = (), None
        ended = draft.before.ended or draft.after.ended
        return Context(segments, needles, depth, length, given, used_up=given < num_before + num_after, ended=ended)

    offsets = [0] * (len(draft.needles) - 1)
    empty = build(0, 0)
    if empty.num_tokens > target_tokens:
        raise DataError(
            f"{where}: chat template, question and needle take {empty.num_tokens} tokens, more than the length "
            f"{target_tokens}; give a larger length.max_tokens (length.train_tokens for training samples)"
        )
    filler_tokens, best = target_tokens - empty.num_tokens, empty
    if draft.available is not None and filler_tokens > draft.available:
        raise DataError(
            f"{where}: the documents left for this split have {draft.available} tokens, {filler_tokens} are needed; "
            "give a larger corpus or a smaller length.max_tokens"
        )
    # The later needles' offsets are fixed once, so that every round cuts the same stretches.
    offsets = [round(filler_tokens * (depth - first)) for depth in draft.depths[1 : len(draft.needles)]]
    num_before = round(filler_tokens * first)
    for _ in range(_ROUNDS):
        context = build(num_before, filler_tokens - num_before)
        excess = context.num_tokens - target_tokens
        if excess <= 0 and context.num_tokens > best.num_tokens:
            best = context
        if -SLACK <= excess <= 0 or (excess < 0 and context.used_up):
            return context
        # A cut that avoids splitting a character can change the length by three tokens for one. Near the target, steps
        # are therefore of one token and only the longer side's cut moves; before, both sides keep the depth.
        near = abs(excess) <= _NEAR
        step = -excess if abs(excess) > SLACK else (-1 if excess > 0 else 1)
        # Whole spans give fewer tokens than asked for: only with less than these one of them is left out.
        asked = context.given if excess > 0 and context.used_up else filler_tokens
        filler_tokens = max(asked + step, 0)
        if not near:
            num_before = round(filler_tokens * first)
        elif first > 0.5:
            num_before = max(num_before + step, 0)
        num_before = min(num_before, filler_tokens)
    if best.num_tokens < target_tokens - SLACK:
        raise DataError(
            f"{where}: no cut of the documents gives {target_tokens - SLACK} to {target_tokens} tokens "
            f"(nearest {best.num_tokens}); give another length.max_tokens"
        )
    return best


def _split_at_sentences(spans: Sequence[Span], offsets: Sequence[int], store: TokenStore) -> list[list[Span]]:
    """The spans in ``len(offsets) + 1`` stretches, split at the last sentence start up to each token offset."""
    stretches: list[list[Span]] = [[]]
    position, left = 0, list(offsets)
    for span in spans:
        rest = span
        while left and left[0] < position + rest.num_tokens:
            cut = _sentence_start(rest, left.pop(0) - position, store)
            stretches[-1].append(Span(rest.document, rest.start, cut))
            stretches.append([])
            position += cut - rest.start
            rest = Span(rest.document, cut, rest.stop)
        stretches[-1].append(rest)
        position += rest.num_tokens
    stretches += [[] for _ in left]
    return [[span for span in stretch if span.num_tokens] for stretch in stretches]


def _sentence_start(span: Span, offset: int, store: TokenStore) -> int:
    starts = store.sentence_starts(span.document)
    at = int(starts.searchsorted(span.start + max(offset, 0), side="right")) - 1
    return max(int(starts[at]) if at >= 0 else span.start, span.start)


def _lay_out(
    draft: Draft, stretches: Sequence[Sequence[Span]], store: TokenStore
) -> tuple[tuple[Segment, ...], tuple[int, ...]]:
    """Header, filler and needles with what separates them; and the needles' indices."""
    parts: list[Segment] = [*stretches[0]]
    for number, stretch in enumerate(stretches[1:]):
        parts += [*draft.needles[number : number + 1], *stretch]
    segments: list[Segment] = [draft.header] if draft.header else []
    needles, previous = [], None
    for part in parts:
        if isinstance(part, Span) and not part.num_tokens:
            continue
        separator = _separator(previous, part, store, draft.own_paragraph)
        if separator:
            segments.append(separator)
        if isinstance(part, str):
            needles.append(len(segments))
        segments.append(part)
        previous = part
    return tuple(segments), tuple(needles)


def _separator(previous: Segment | None, part: Segment, store: TokenStore, own_paragraph: bool) -> str:
    """A blank line between documents, nothing within one, and a space (or blank line) around a needle."""
    if previous is None:
        return ""
    if isinstance(previous, Span) and isinstance(part, Span):
        adjoining = previous.document == part.document and previous.stop == part.start
        return "" if adjoining else "\n\n"
    if own_paragraph:
        return "\n\n"
    if isinstance(previous, str) and isinstance(part, str):
        return _gap(previous[-1:])
    edge = previous if isinstance(previous, Span) else part
    assert isinstance(edge, Span)
    if edge is previous:
        return _gap(store.text(edge.document, edge.stop - 1, edge.stop)[-1:])
    following = store.text(edge.document, edge.start, min(edge.start + 2, edge.stop))[:1]
    return "" if following.isspace() else _gap(str(previous)[-1:])


def _gap(last: str) -> str:
    """Nothing after white space or a full-width mark (Chinese sets no space between sentences)."""
    return "" if last.isspace() or last in "。！？”’」』）】》" else " "


def _off_split_character(span: Span, backwards: bool, store: TokenStore) -> Span:
    """Moves the span's cut end inwards until it splits no character."""
    document, start, stop = span
    if backwards:
        while start < stop and not store.can_cut(document, start):
            start += 1
    else:
        while stop > start and not store.can_cut(document, stop):
            stop -= 1
    return span if (start, stop) == span[1:] else Span(document, start, stop)
