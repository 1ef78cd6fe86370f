"""Only the context is cut, exactly where it was said, and what it cost is written down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from longsafety.errors import DataError
from longsafety.evaluation.asking.truncation import Cut, FittedItems, fit_items
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Segment, Span, render_context

NEEDLE = " The secret word is harbour. "
LONGEST = 300


def item(name: str, *context: Segment, kind: str = "harmful", **changes: object) -> Sample:
    needles = tuple(at for at, part in enumerate(context) if part == NEEDLE)
    return Sample(
        id=name, pair_id=name.split("/")[0], task="HarmfulNIAH", scenario="PH", kind=kind, category="c", seed_id="s",
        licence="MIT", context=context, question="What is the secret word?", answer="", needles=needles,
    ).replace(**changes)  # fmt: skip


@pytest.fixture
def fitted(tiny_encoder: ChatEncoder) -> Callable[..., FittedItems]:
    def run(*items: Sample, how: str, longest: int = LONGEST) -> FittedItems:
        def length(one: Sample) -> int:
            return tiny_encoder.prompt_length(*one.prompt())

        measured = [one.replace(num_tokens=length(one)) for one in items]
        return fit_items(measured, tiny_encoder, lambda one: length(one) - longest, how=how)

    return run


def text(encoder: ChatEncoder, context: tuple[Segment, ...]) -> str:
    return render_context(context, encoder.store)


def test_items_that_fit_are_unchanged(fitted: Callable[..., FittedItems]) -> None:
    whole, short = item("a", Span(0, 0, 100)), item("b", Span(0, 0, 50), NEEDLE)
    for how in ("error", "drop", "middle", "left"):
        found = fitted(whole, short, how=how)
        assert [one.context for one in found.items] == [whole.context, short.context]
        assert found.cuts == {"a": Cut(0, None), "b": Cut(0, True)} and found.counts == {}


def test_middle_removes_the_middle_and_keeps_equal_ends(
    fitted: Callable[..., FittedItems], tiny_encoder: ChatEncoder
) -> None:
    [one] = (found := fitted(item("a", Span(0, 0, 600)), how="middle")).items
    head, tail = one.context
    assert isinstance(head, Span) and isinstance(tail, Span)
    assert (head.document, head.start, tail.document, tail.stop) == (0, 0, 0, 600)
    assert abs(head.num_tokens - tail.num_tokens) <= 1
    assert LONGEST - 8 <= one.num_tokens <= LONGEST
    assert one.num_tokens == len(tiny_encoder.prompt_ids(one.context, one.question))
    [cut] = found.cuts.values()
    assert cut.needle_kept is None, "there is none"
    assert cut.cut_tokens == tiny_encoder.prompt_length((Span(0, 0, 600),), one.question) - one.num_tokens
    assert found.counts == {"cut to fit (middle)": 1, "cut, not known whether a needle was lost": 1}


def test_left_keeps_the_end(fitted: Callable[..., FittedItems]) -> None:
    [one] = fitted(item("a", "Title\n\n", Span(0, 0, 200), Span(1, 0, 300)), how="left").items
    [rest] = one.context
    assert isinstance(rest, Span) and (rest.document, rest.stop) == (1, 300) and rest.start > 0


@pytest.mark.parametrize(
    ("how", "before", "kept"),
    [("middle", 300, False), ("middle", 40, True), ("middle", 560, True), ("left", 40, False), ("left", 560, True)],
)
def test_a_needle_is_kept_whole_or_lost(
    fitted: Callable[..., FittedItems], tiny_encoder: ChatEncoder, how: str, before: int, kept: bool
) -> None:
    """Where its segment is known, and where a file only says its depth."""
    built = item("a", Span(0, 0, before), NEEDLE, Span(0, before, 600))
    told = item("b", Span(0, 0, 600), depth=before / 600)
    [one, _] = (found := fitted(built, told, how=how)).items
    assert (NEEDLE in text(tiny_encoder, one.context)) == kept
    assert [one.context[at] for at in one.needles] == [NEEDLE] * kept
    assert [cut.needle_kept for cut in found.cuts.values()] == [kept, kept]
    assert found.counts.get("cut so that a needle was lost", 0) == (0 if kept else 2)


def test_a_mean_depth_places_no_needle(fitted: Callable[..., FittedItems]) -> None:
    found = fitted(item("a", Span(0, 0, 600), depth=0.5, task="CountingCrimes"), how="middle")
    assert found.cuts["a"].needle_kept is None


def test_dropping_takes_the_twins_along(fitted: Callable[..., FittedItems]) -> None:
    long = [item("a", Span(0, 0, 600)), item("a/short", NEEDLE, kind="short")]
    found = fitted(*long, item("b", NEEDLE), how="drop")
    assert [one.id for one in found.items] == ["b"] == list(found.cuts)
    assert found.counts == {"dropped, being too long or twins of such": 2}
    with pytest.raises(DataError, match=r"truncation = drop: leaves none of 2 items; raise "):
        fitted(*long, how="drop")


def test_an_item_that_does_not_fit_is_named(fitted: Callable[..., FittedItems]) -> None:
    with pytest.raises(DataError, match=r"= error: b \(and 1 more of 3 items\) is \d+ tokens too long for .*; rai"):
        fitted(item("a", NEEDLE), item("b", Span(0, 0, 400)), item("c", Span(1, 0, 600)), how="error")
    question = "Why? " * 200
    with pytest.raises(DataError, match=r"truncation = left: a is \d+ tokens too long without its context; raise "):
        fitted(item("a", Span(0, 0, 400), question=question), how="left")
