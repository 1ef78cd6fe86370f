"""Several needles, needles of either script, paragraphs, histories; and contexts of nearly all documents."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Goal, Sample, Span, render_context
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.assemble import SLACK, Draft, Filler, fit
from longsafety.scenarios.build import Builder, build
from longsafety.scenarios.seeds.seed import Seed
from longsafety.settings import Length, Scenario, TaskCounts

NEEDLE, QUESTION = "The needle says that the door is green.", "According to the text, what is green?"
FIVE = tuple(f"Needle number {number} stands here." for number in range(5))


def sides(store: TokenStore, document: int, anchor: int) -> tuple[Filler, Filler]:
    """The document around an anchor, and the store's other documents further out."""
    others = [Span(other, 0, store.num_tokens(other)) for other in range(len(store.ids)) if other != document]
    half = len(others) // 2
    before = [Span(document, 0, anchor), *others[:half]]
    after = [Span(document, anchor, store.num_tokens(document)), *others[half:]]
    return Filler(before, backwards=True), Filler(after, backwards=False)


def spread(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    return tuple(low + (high - low) * at / (count - 1) for at in range(count))


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.2), (0.2, 0.4), (0.0, 1.0), (0.8, 1.0), (0.5, 0.5)])
def test_several_needles_stand_at_their_depths_in_order(tiny_encoder: ChatEncoder, low: float, high: float) -> None:
    """The first as a single one; the others at the sentence's start before theirs."""
    store, depths = tiny_encoder.store, spread(low, high)
    for document in range(0, 24, 4):
        for target in (300, 1500, 4000):
            before, after = sides(store, document, int(store.sentence_starts(document)[30]))
            draft = Draft(before, after, FIVE, depths)
            context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=target, where="x")
            text = tiny_encoder.prompt_text(context.segments, QUESTION)
            length = len(tiny_encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
            assert context.num_tokens == length
            assert target - SLACK <= length <= target
            assert tuple(context.segments[place] for place in context.needles) == FIVE
            spans = [(place, part) for place, part in enumerate(context.segments) if isinstance(part, Span)]
            total = sum(part.num_tokens for _, part in spans)
            found = []
            for needle, depth in zip(context.needles, depths, strict=True):
                at = sum(part.num_tokens for place, part in spans if place < needle)
                slack = 3 + total / 100
                assert depth * total - (0 if needle == context.needles[0] else 70) - slack <= at
                assert at <= depth * total + slack
                following = next((part for place, part in spans if place > needle), None)
                if following:
                    assert following.start in store.sentence_starts(following.document)
                found.append(at / total)
            assert found == sorted(found)
            assert context.depth == pytest.approx(sum(found) / len(found))


def test_needles_take_nothing_from_the_documents(tiny_encoder: ChatEncoder) -> None:
    """Without its needles a context reads as its documents do."""
    store = tiny_encoder.store
    before, after = sides(store, 5, int(store.sentence_starts(5)[20]))
    draft = Draft(before, after, FIVE, spread(0.3, 0.7))
    context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=1000, where="x")
    spans = [part for part in context.segments if isinstance(part, Span)]
    assert {span.document for span in spans} == {5}
    assert all(one.stop == other.start for one, other in pairwise(spans))
    text = render_context(context.segments, store)
    for needle in FIVE:
        assert text.count(needle) == 1
        text = text.replace(f" {needle}", "", 1).replace(f"{needle} ", "", 1)
    assert text.split() == store.text(5, spans[0].start, spans[-1].stop).split()


def test_the_same_cuts_at_every_length_keep_the_first_needle_in_its_place(tiny_encoder: ChatEncoder) -> None:
    """What follows the first needle at once is the same sentence, however long the context."""
    store = tiny_encoder.store
    following = set()
    for target in (400, 900, 2500):
        before, after = sides(store, 3, int(store.sentence_starts(3)[20]))
        draft = Draft(before, after, FIVE, spread(0.2, 0.6))
        context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=target, where="x")
        span = next(part for part in context.segments[context.needles[0] :] if isinstance(part, Span))
        following.add((span.document, span.start))
    assert len(following) == 1


def test_a_paragraph_of_its_own_has_blank_lines_around_it(tiny_encoder: ChatEncoder) -> None:
    store = tiny_encoder.store
    for depth in (0.0, 0.5, 1.0):
        fillers = Filler([Span(0, 0, 80), Span(1, 0, 80)], backwards=True), Filler([Span(2, 0, 80), Span(3, 0, 80)])
        draft = Draft(*fillers, (NEEDLE,), (depth,), header="Documents:\n\n", own_paragraph=True)
        context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=220, where="x")
        head, _, tail = render_context(context.segments, store).partition(NEEDLE)
        assert head.endswith("\n\n")
        assert tail.startswith("\n\n") == (depth < 1)
        assert (head == "Documents:\n\n") == (depth == 0)


@pytest.mark.parametrize(
    ("needle", "text", "joined"),
    [
        ("The door is green.", "One. Two. Three.", "One. The door is green. Two. Three."),
        ("门是绿的。", "一二三。四五六。七八九。", "一二三。门是绿的。四五六。七八九。"),
        ("他说：“门是绿的。”", "一二三。四五六。七八九。", "一二三。他说：“门是绿的。”四五六。七八九。"),
        ("The door is green.", "一二三。四五六。七八九。", "一二三。The door is green. 四五六。七八九。"),
        ("门是绿的。", "One. Two. Three.", "One. 门是绿的。 Two. Three."),
        ("The door is green.", "One.\n\nTwo.\n\nThree.", "One.\n\nThe door is green. Two.\n\nThree."),
    ],
)
def test_needles_are_set_as_their_script_sets_sentences(
    tiny_tokenizer: Any, tmp_path: Path, needle: str, text: str, joined: str
) -> None:
    """After the first sentence, in a context that is the whole document."""
    TokenStore.build(tmp_path, [Document("a", text)], tiny_tokenizer)
    encoder = ChatEncoder(tiny_tokenizer, TokenStore.open(tmp_path))
    size, place = encoder.store.num_tokens(0), int(encoder.store.sentence_starts(0)[1])
    sides = Filler([Span(0, 0, place)], backwards=True), Filler([Span(0, place, size)])
    context = fit(
        Draft(*sides, (needle,), (place / size,)),
        encoder,
        question=QUESTION,
        answer=None,
        target_tokens=len(encoder.prompt_ids([joined], QUESTION)),
        where="x",
    )
    assert render_context(context.segments, encoder.store) == joined


@pytest.mark.parametrize("goal", ["before", "after"])
def test_history_and_goal_count_towards_the_length(tiny_encoder: ChatEncoder, goal: Goal) -> None:
    history = (("A first question?", "A first answer."), ("And a second one?", "Yes, of course."))
    for target in range(300, 340, 7):
        before, after = sides(tiny_encoder.store, 3, int(tiny_encoder.store.sentence_starts(3)[20]))
        draft = Draft(before, after, (NEEDLE,), (0.5,))
        context = fit(
            draft, tiny_encoder, question=QUESTION, answer="A reply.", target_tokens=target, where="x", history=history,
            goal=goal,
        )  # fmt: skip
        text = tiny_encoder.prompt_text(context.segments, QUESTION, history, goal)
        text += tiny_encoder.answer_text(QUESTION, "A reply.")
        length = len(tiny_encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
        assert context.num_tokens == length
        assert target - SLACK <= length <= target


# Nearly all documents


def nearly_all(encoder: ChatEncoder, seeds: list[Seed], name: str, tokens: int) -> Builder:
    tasks = {name: TaskCounts(train=0, bench=5)}
    length = Length(name="x", max_tokens=tokens)
    return build(Scenario(name="s", tasks=tasks), length, seeds, encoder, split="bench", seed=0)


def uses(sample: Sample) -> dict[int, list[Span]]:
    spans: dict[int, list[Span]] = {}
    for part in sample.context:
        if isinstance(part, Span):
            spans.setdefault(part.document, []).append(part)
    return spans


@pytest.mark.parametrize("name", ["HarmfulNIAH", "CountingCrimes", "DocAttack", "KeywordRAG"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_no_token_stands_twice_in_a_context(
    tiny_encoder: ChatEncoder, tiny_seeds: list[Seed], name: str, share: float
) -> None:
    whole = nearly_all(tiny_encoder, tiny_seeds, name, 1000).pool
    total = sum(whole.store.num_tokens(document) for document in whole.documents)
    for item in nearly_all(tiny_encoder, tiny_seeds, name, round(share * total)).samples():
        if item.kind != "harmful":
            continue
        found = uses(item)
        assert sum(span.num_tokens for spans in found.values() for span in spans) > (share - 0.1) * total
        for spans in found.values():
            ordered = sorted(spans, key=lambda span: span.start)
            assert all(one.stop <= other.start for one, other in pairwise(ordered)), item.id


@pytest.mark.parametrize("name", ["HarmfulNIAH", "CountingCrimes", "DocAttack"])
def test_more_than_all_documents_is_told(tiny_encoder: ChatEncoder, tiny_seeds: list[Seed], name: str) -> None:
    pool = nearly_all(tiny_encoder, tiny_seeds, name, 1000).pool
    total = sum(pool.store.num_tokens(document) for document in pool.documents)
    with pytest.raises(
        DataError,
        match=rf"^{name}-bench-0-00000: the documents left for this split (have|give) \d+ tokens, \d+ are needed",
    ):
        list(nearly_all(tiny_encoder, tiny_seeds, name, total + 1000).samples())
