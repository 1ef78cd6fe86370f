"""Benign long-context question answering: the "long alignment" arm's samples, made from the corpus itself."""

from __future__ import annotations

import random
from collections.abc import Iterator

from longsafety.errors import DataError
from longsafety.scenarios.assemble import Draft, Filler, fit
from longsafety.scenarios.encode import ChatEncoder
from longsafety.scenarios.recipe import Sample, Span
from longsafety.scenarios.task import Pool

_OPENING_WORDS = 6
_MIN_WORDS, _MAX_WORDS = 12, 40
_QUESTIONS = (
    'Quote the whole sentence of the text that begins "{opening}".',
    'How does the sentence that begins "{opening}" go on in the text? Give the whole sentence.',
    'The text has a sentence that starts with the words "{opening}". What does it say?',
)
_ATTEMPTS = 400


def long_align_samples(pool: Pool, encoder: ChatEncoder, count: int, seed: int) -> Iterator[Sample]:
    """``count`` samples that ask for a sentence of the context by its opening words.

    Deterministic and extractive, so that the answer is known to be right without a teacher.
    """
    for index in range(count):
        name = f"long_align-{index:05d}"
        rng = random.Random(f"{seed}/{name}")
        document, start, stop, sentence = _sentence(pool, rng)
        question = rng.choice(_QUESTIONS).format(opening=" ".join(sentence.split()[:_OPENING_WORDS]))
        rest = list(pool.documents_shuffled(rng, without=document))
        half = len(rest) // 2
        draft = Draft(
            header="",
            before=Filler([Span(document, 0, start), *rest[:half]], backwards=True),
            needle=sentence,
            after=Filler([Span(document, stop, pool.store.num_tokens(document)), *rest[half:]], backwards=False),
            depth=rng.uniform(0.1, 0.9),
        )
        context = fit(draft, encoder, question=question, answer=sentence, target_tokens=pool.target_tokens, where=name)
        yield Sample(
            id=name,
            pair_id=name,
            task="LongAlign",
            scenario="long",
            kind="long_align",
            category="benign",
            seed_id="",
            licence="as the corpus",
            context=context.segments,
            question=question,
            answer=sentence,
            needle=context.needle,
            depth=context.depth,
            documents=tuple(
                dict.fromkeys(pool.store.ids[part.document] for part in context.segments if isinstance(part, Span))
            ),
            target_tokens=pool.target_tokens,
            num_tokens=context.num_tokens,
        )


def _sentence(pool: Pool, rng: random.Random) -> tuple[int, int, int, str]:
    """A document, a sentence's token range in it, and its text on one line."""
    for _ in range(_ATTEMPTS):
        document = rng.choice(list(pool.documents))
        starts = pool.store.sentence_starts(document)
        if len(starts) < 2:
            continue
        position = rng.randrange(len(starts) - 1)
        start, stop = int(starts[position]), int(starts[position + 1])
        text = " ".join(pool.store.text(document, start, stop).split())
        if _MIN_WORDS <= len(text.split()) <= _MAX_WORDS and text[-1] in ".!?。！？":
            return document, start, stop, text
    raise DataError(
        f"corpus: no sentence of {_MIN_WORDS} to {_MAX_WORDS} words in {_ATTEMPTS} draws; the long_align arm asks for "
        "sentences, give documents with prose"
    )
