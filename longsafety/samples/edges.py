"""The white space at one end of a context: a chat template may trim it off, and then it is no part of the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from longsafety.samples.recipe import Segment, Span
from longsafety.samples.store import TokenStore


def without_edge(parts: Sequence[Segment], store: TokenStore, *, from_end: bool) -> tuple[str, list[Segment]]:
    """The white space at the context's beginning (or end), and the parts without it; none where all is white space.

    A token may hold a space and a word. So a span loses its first tokens, up to one with a letter, to a literal.
    """
    left = list(parts)
    edge = ""
    while left:
        at = -1 if from_end else 0
        part = left.pop(at)
        opening, rest = (part, None) if isinstance(part, str) else _opened(part, store, from_end)
        bare = opening.rstrip() if from_end else opening.lstrip()
        space = len(opening) - len(bare)
        edge = opening[len(bare) :] + edge if from_end else edge + opening[:space]
        if not bare:
            continue
        whole = [part] if not space else [bare, *([rest] if rest is not None and rest.num_tokens else [])]
        return edge, [*left, *whole[::-1]] if from_end else [*whole, *left]
    return edge, []


def _opened(span: Span, store: TokenStore, from_end: bool) -> tuple[str, Span | None]:
    """The text at an end of a span up to its first token with a letter, and the span without it."""
    document, start, stop = span
    for size in range(1, span.num_tokens + 1):
        cut = stop - size if from_end else start + size
        if not store.can_cut(document, cut) and cut not in (start, stop):
            continue
        text = store.text(document, cut, stop) if from_end else store.text(document, start, cut)
        if text.strip():
            return text, Span(document, start, cut) if from_end else Span(document, cut, stop)
    return store.text(document, start, stop), None
