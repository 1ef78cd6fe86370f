"""Samples of the baseline arms: benign long-context questions, and harmful requests without a context."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from longsafety.errors import DataError
from longsafety.samples.licence import AS_CORPUS
from longsafety.samples.recipe import Sample, Span
from longsafety.scenarios.assemble import Draft, fit
from longsafety.scenarios.build import Builder
from longsafety.scenarios.target_lengths import target_lengths
from longsafety.scenarios.tasks.task import Pool

BASELINE_KINDS = ("short_safety", "long_align")
_OPENING_WORDS, _OPENING_CHARACTERS = 6, 8
_WORDS, _CHARACTERS = (12, 40), (20, 80)
_QUESTIONS = {
    "en": (
        'Quote the whole sentence of the text that begins "{opening}".',
        'How does the sentence that begins "{opening}" go on in the text? Give the whole sentence.',
        'The text has a sentence that starts with the words "{opening}". What does it say?',
    ),
    "zh": (
        "请完整引用文中以“{opening}”开头的句子。",
        "文中以“{opening}”开头的句子后面是怎么说的？请给出整句。",
        "文中有一句话以“{opening}”开头。它说了什么？",
    ),
}
_ATTEMPTS = 400

AskPassages = Callable[[Sequence[str]], Sequence[tuple[str, str, str] | None]]
"""Passages → (question, answer, writer) for each, or None where the teacher wrote nothing usable."""


def baseline_samples(builder: Builder, kind: str, count: int, ask: AskPassages | None = None) -> Iterator[Sample]:
    """``count`` training samples of a kind of ``BASELINE_KINDS``; ``ask``: the teacher, for long_align's questions."""
    yield from _short_safety(builder, count) if kind == "short_safety" else _long_align(builder, count, ask)


def _short_safety(builder: Builder, count: int) -> Iterator[Sample]:
    """Harmful requests without a context, from seed items that no long sample uses; repeated where they run out."""
    usable = [item for item in builder.seeds["short_safety"] if item.request and item.safe_answer]
    encoder = builder.encoder
    for index in range(count if usable else 0):
        item = usable[index % len(usable)].in_turn(index // len(usable))
        name = f"short_safety-{index:05d}"
        yield Sample(
            id=name,
            pair_id=name,
            task="ShortSafety",
            scenario="short",
            kind="short_safety",
            category=item.category,
            seed_id=item.id,
            licence=item.licence,
            context=(),
            question=item.request,
            answer=item.safe_answer,
            language=item.language,
            writers=item.writers,
            num_tokens=encoder.prompt_length((), item.request)
            + len(encoder.answer_ids(item.request, item.safe_answer)),
        )


def _long_align(builder: Builder, count: int, ask: AskPassages | None) -> Iterator[Sample]:
    """Questions about one sentence of the context.

    Without a teacher the question quotes the sentence's opening words: deterministic and extractive, so the answer is
    right by construction. A teacher writes a question about the sentence and its answer.
    """
    pool, encoder, store = builder.pool, builder.encoder, builder.encoder.store
    names = [f"long_align-{index:05d}" for index in range(count)]
    rngs = [random.Random(f"{builder.seed}/{name}") for name in names]
    sentences = [_sentence(pool, rng) for rng in rngs]
    replies = ask([sentence for _, _, _, sentence in sentences]) if ask else [None] * count
    targets = target_lengths(builder.length, "train", count, seed=f"{builder.seed}/long_align/lengths")
    for name, rng, place, written, target in zip(names, rngs, sentences, replies, targets, strict=True):
        document, start, stop, sentence = place
        language = "zh" if store.languages[document] == "zh" else "en"
        opening = sentence[:_OPENING_CHARACTERS] if language == "zh" else " ".join(sentence.split()[:_OPENING_WORDS])
        question, answer, writer = rng.choice(_QUESTIONS[language]).format(opening=opening), sentence, "template"
        if written:
            question, answer, writer = written
        draft = Draft(
            *pool.sides(document, start, stop, rng),
            needles=(sentence,),
            depths=(rng.uniform(0.1, 0.9),),
            available=pool.num_tokens,
        )
        context = fit(draft, encoder, question=question, answer=answer, target_tokens=target, where=name)
        yield Sample(
            id=name,
            pair_id=name,
            task="LongAlign",
            scenario="long",
            kind="long_align",
            category="benign",
            seed_id="",
            licence=AS_CORPUS,
            context=context.segments,
            question=question,
            answer=answer,
            language=language,
            writers=(f"answer: {writer}", f"question: {writer}"),
            needles=context.needles,
            depth=context.depth,
            documents=tuple(
                dict.fromkeys(store.ids[part.document] for part in context.segments if isinstance(part, Span))
            ),
            target_tokens=target,
            num_tokens=context.num_tokens,
        )


def _sentence(pool: Pool, rng: random.Random) -> tuple[int, int, int, str]:
    """A document, a sentence's token range in it, and its text on one line."""
    for _ in range(_ATTEMPTS):
        document = rng.choice(pool.documents)
        starts = pool.store.sentence_starts(document)
        if len(starts) < 2:
            continue
        position = rng.randrange(len(starts) - 1)
        start, stop = int(starts[position]), int(starts[position + 1])
        text = " ".join(pool.store.text(document, start, stop).split())
        zh = pool.store.languages[document] == "zh"
        least, most = _CHARACTERS if zh else _WORDS
        if least <= (len(text) if zh else len(text.split())) <= most and text[-1] in ".!?。！？":
            return document, start, stop, text
    raise DataError(
        f"corpus: no sentence of {_WORDS[0]} to {_WORDS[1]} words in {_ATTEMPTS} draws; the long_align arm asks for "
        "sentences, give documents with prose"
    )
