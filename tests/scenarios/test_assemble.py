"""Contexts have the length and the depth that were asked for, and the needle stands between sentences."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Span, render_context
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.assemble import SLACK, Draft, Filler, fit
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.partially_harmful import HarmfulNIAH
from longsafety.scenarios.tasks.task import Pool

NEEDLE, QUESTION = "The needle says that the door is green.", "According to the text, what is green?"
HARD = {
    "chinese": "今天天气很好，我们去公园散步。他说明天也去！图书馆在左边，银行在右边，学校在后面。" * 40,
    "emoji": "👍🏽👩‍👩‍👧‍👦🎉🇫🇷 " * 150,
    "no spaces": "thequickbrownfoxjumpsoverthelazydog" * 60,
    "mixed": "I said 你好 to 田中さん today. 東京 is big, мир is long. 👍🏽 Fine! " * 40,
    "blank lines": "A line.\n\n\n\nAnother line   with  spaces.\n\n" * 80,
}


@pytest.fixture(scope="module")
def hard(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> ChatEncoder:
    folder = tmp_path_factory.mktemp("hard")
    TokenStore.build(folder, [Document(name, text) for name, text in HARD.items()], tiny_tokenizer)
    return ChatEncoder(tiny_tokenizer, TokenStore.open(folder))


def sides(store: TokenStore, document: int, anchor: int) -> tuple[Filler, Filler]:
    """The document around an anchor, and the store's other documents further out."""
    others = [Span(other, 0, store.num_tokens(other)) for other in range(len(store.ids)) if other != document]
    half = len(others) // 2
    before = [Span(document, 0, anchor), *others[:half]]
    after = [Span(document, anchor, store.num_tokens(document)), *others[half:]]
    return Filler(before, backwards=True), Filler(after, backwards=False)


def true_length(encoder: ChatEncoder, segments: Any, question: str, answer: str | None) -> int:
    """Counted in the rendered text, by the tokenizer alone."""
    text = encoder.prompt_text(segments, question)
    reply = "" if answer is None else encoder.answer_text(question, answer)
    return sum(len(encoder.tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (text, reply))


@pytest.mark.slow
def test_length_is_never_above_the_target_and_at_most_four_below(tiny_encoder: ChatEncoder) -> None:
    rng, store = random.Random(0), tiny_encoder.store
    for number in range(120):
        document = rng.randrange(24)
        anchor = int(rng.choice(list(store.sentence_starts(document))))
        before, after = sides(store, document, anchor)
        target, depth = rng.randint(130, 1500), rng.random()
        needle, answer = rng.choice([NEEDLE, None]), rng.choice(["A short safe answer.", None])
        header = rng.choice(["", "Documents:\n\n"])
        draft = Draft(before, after, (needle,) if needle else (), (depth,), header=header)
        context = fit(draft, tiny_encoder, question=QUESTION, answer=answer, target_tokens=target, where=str(number))
        length = true_length(tiny_encoder, context.segments, QUESTION, answer)
        assert context.num_tokens == length
        assert target - SLACK <= length <= target
        assert SLACK == 4


@pytest.mark.parametrize("name", HARD)
def test_length_where_characters_have_several_tokens(hard: ChatEncoder, name: str) -> None:
    rng, store = random.Random(1), hard.store
    document = store.ids.index(name)
    for target in range(150, 400):
        anchor = int(rng.choice(list(store.sentence_starts(document))))
        before, after = sides(store, document, anchor)
        draft = Draft(before, after, (NEEDLE,), (rng.random(),))
        context = fit(draft, hard, question=QUESTION, answer=None, target_tokens=target, where=name)
        assert target - SLACK <= true_length(hard, context.segments, QUESTION, None) <= target
        for span in context.segments:
            if isinstance(span, Span):
                assert store.can_cut(span.document, span.start)
                assert store.can_cut(span.document, span.stop)


@pytest.mark.parametrize("depth", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_depth_is_the_one_asked_for(tiny_encoder: ChatEncoder, depth: float) -> None:
    for document in range(0, 24, 4):
        anchor = int(tiny_encoder.store.sentence_starts(document)[30])
        draft = _around(tiny_encoder, document, anchor, depth)
        context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=700, where="x")
        spans = [(place, part) for place, part in enumerate(context.segments) if isinstance(part, Span)]
        (needle,) = context.needles
        before = sum(part.num_tokens for place, part in spans if place < needle)
        total = sum(part.num_tokens for _, part in spans)
        assert abs(before - depth * total) <= 3
        assert context.depth is not None
        assert abs(context.depth - depth) <= 3 / total
        assert context.segments[needle] == NEEDLE


def _around(encoder: ChatEncoder, document: int, anchor: int, depth: float) -> Draft:
    before, after = sides(encoder.store, document, anchor)
    return Draft(before, after, (NEEDLE,), (depth,))


def test_a_needle_stands_between_two_sentences_of_one_document(
    tiny_encoder: ChatEncoder, tiny_seeds: list[Seed]
) -> None:
    """As HarmfulNIAH drafts it: what stands around the needle adjoins in its document, at a sentence's start."""
    store = tiny_encoder.store
    pool = Pool(store, range(24), [], tiny_seeds, {})
    for number, seed in enumerate([seed for seed in tiny_seeds if not seed.task][:60]):
        depth = [0.1, 0.3, 0.5, 0.7, 0.9][number % 5]
        draft = HarmfulNIAH().item(seed, pool, random.Random(number), depth).draft
        context = fit(draft, tiny_encoder, question=seed.question, answer=None, target_tokens=500, where="x")
        (place,) = context.needles
        parts = [part for part in context.segments if isinstance(part, Span)]
        before = [part for part in context.segments[:place] if isinstance(part, Span)]
        left, right = before[-1], parts[len(before)]
        assert context.segments[place] == seed.statement
        assert (left.document, left.stop) == (right.document, right.start)
        assert right.start in store.sentence_starts(right.document)
        text = render_context(context.segments, store)
        head, _, tail = text.partition(seed.statement)
        assert head.rstrip()[-1] in ".!?"
        assert head != head.rstrip()
        assert tail != tail.lstrip()


def test_documents_follow_each_other_after_a_blank_line(tiny_encoder: ChatEncoder) -> None:
    store = tiny_encoder.store
    spans = [Span(document, 0, 100) for document in range(5)]
    draft = Draft(Filler(backwards=True), Filler(spans), depths=(0.0,), header="Documents:\n\n")
    context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=400, where="x")
    texts = [store.text(span.document, span.start, span.stop) for span in context.segments if isinstance(span, Span)]
    assert render_context(context.segments, store) == "Documents:\n\n" + "\n\n".join(texts)
    assert (context.needles, context.depth) == ((), None)
    assert len(texts) == 4


def test_passages_of_one_document_join_only_where_they_adjoin(tiny_encoder: ChatEncoder) -> None:
    store = tiny_encoder.store
    spans = [Span(0, 0, 50), Span(0, 50, 90), Span(0, 120, 160), Span(0, 100, 120)]
    draft = Draft(Filler(backwards=True), Filler(spans), depths=(0.0,))
    size = len(tiny_encoder.prompt_ids([spans[0], spans[1], "\n\n", spans[2], "\n\n", spans[3]], QUESTION))
    context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=size, where="x")
    one, other, last = store.text(0, 0, 90), store.text(0, 120, 160), store.text(0, 100, 120)
    assert render_context(context.segments, store) == f"{one}\n\n{other}\n\n{last}"


def test_whole_passages_end_short_of_every_length(tiny_encoder: ChatEncoder) -> None:
    """One passage more would be too long; to find that takes several rounds where joins have tokens too."""
    passages = [Span(document, at * 90, at * 90 + 60) for document in range(8) for at in range(8)]
    for target in range(200, 1500, 3):
        draft = Draft(Filler(passages, whole=True), Filler(), depths=(1.0,), may_end_short=True)
        context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=target, where=str(target))
        taken = sum(isinstance(part, Span) for part in context.segments)
        more = fit(
            Draft(Filler(passages[: taken + 1], whole=True), Filler(), depths=(1.0,), may_end_short=True), tiny_encoder,
            question=QUESTION, answer=None, target_tokens=target + 200, where=str(target),
        )  # fmt: skip
        assert context.num_tokens <= target < more.num_tokens


def test_the_cut_ends_lie_outside(tiny_encoder: ChatEncoder) -> None:
    """The side before the needle loses its beginning, the side after it its end; the rest is whole and in order."""
    store = tiny_encoder.store
    before, after = (
        Filler([Span(0, 0, 80), Span(1, 0, 80)], backwards=True),
        Filler([Span(2, 0, 80), Span(3, 0, 80)], backwards=False),
    )
    context = fit(
        Draft(before, after, (NEEDLE,), (0.5,)),
        tiny_encoder,
        question=QUESTION,
        answer=None,
        target_tokens=300,
        where="x",
    )
    spans = [part for part in context.segments if isinstance(part, Span)]
    assert [span.document for span in spans] == [1, 0, 2, 3]
    assert spans[1] == Span(0, 0, 80)
    assert spans[2] == Span(2, 0, 80)
    assert spans[0].stop == 80 and spans[0].start > 0
    assert spans[3].start == 0 and spans[3].stop < 80
    assert store.can_cut(1, spans[0].start)


def test_a_longer_context_contains_the_shorter_one(tiny_encoder: ChatEncoder) -> None:
    store = tiny_encoder.store
    texts = []
    for target in (300, 600, 900):
        before, after = sides(store, 3, int(store.sentence_starts(3)[20]))
        draft = Draft(before, after, (NEEDLE,), (0.5,))
        context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=target, where="x")
        texts.append(render_context(context.segments, store))
    assert texts[0] in texts[1]
    assert texts[1] in texts[2]


def test_a_filler_is_drawn_from_lazily_and_gives_the_same_spans_again() -> None:
    drawn: list[int] = []

    def source() -> Any:
        for document in range(1000):
            drawn.append(document)
            yield Span(document, 0, 10)

    filler = Filler(source(), backwards=True)
    assert filler.take(0) == []
    first = filler.take(25)
    assert first == [Span(2, 5, 10), Span(1, 0, 10), Span(0, 0, 10)]
    assert filler.take(35)[1:] == [Span(2, 0, 10), Span(1, 0, 10), Span(0, 0, 10)]
    assert filler.take(25) == first
    assert len(drawn) <= 5


def test_a_target_of_just_the_question_leaves_no_filler(tiny_encoder: ChatEncoder) -> None:
    size = len(tiny_encoder.prompt_ids([NEEDLE], QUESTION))
    draft = _around(tiny_encoder, 0, int(tiny_encoder.store.sentence_starts(0)[9]), 0.5)
    context = fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=size, where="x")
    assert context.segments == (NEEDLE,)
    assert context.num_tokens == size


def test_a_question_longer_than_the_target_is_told(tiny_encoder: ChatEncoder) -> None:
    size = len(tiny_encoder.prompt_ids([NEEDLE], QUESTION))
    draft = _around(tiny_encoder, 0, int(tiny_encoder.store.sentence_starts(0)[9]), 0.5)
    with pytest.raises(
        DataError, match=rf"^item-7: .* take {size} tokens, more than the length {size - 1}; .*length\.max_tokens"
    ):
        fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=size - 1, where="item-7")


@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_a_corpus_too_short_is_told(tiny_encoder: ChatEncoder, depth: float) -> None:
    before, after = Filler([Span(0, 0, 200)], backwards=True), Filler([Span(1, 0, 200)], backwards=False)
    draft = Draft(before, after, (NEEDLE,), (depth,))
    with pytest.raises(
        DataError,
        match=r"^item-7: the documents left for this split give \d+ tokens, \d+ are needed; give a larger corpus",
    ):
        fit(draft, tiny_encoder, question=QUESTION, answer=None, target_tokens=900, where="item-7")


def test_documents_of_one_giant_character_run_end_in_an_error_not_in_a_wrong_length(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """Where no cut lies near enough, the length is refused rather than missed."""
    TokenStore.build(tmp_path, [Document("a", "👩‍👩‍👧‍👦" * 90), Document("b", "🎉" * 300)], tiny_tokenizer)
    encoder = ChatEncoder(tiny_tokenizer, TokenStore.open(tmp_path))
    for target in range(150, 200):
        draft = _around(encoder, 0, 0, 0.0)
        try:
            context = fit(draft, encoder, question=QUESTION, answer=None, target_tokens=target, where="x")
        except DataError as error:
            assert "no cut of the documents gives" in str(error)
        else:
            assert target - SLACK <= true_length(encoder, context.segments, QUESTION, None) <= target
