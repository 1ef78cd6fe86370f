"""Over-long samples are an error, left out or cut in their documents, and counted."""

from __future__ import annotations

from typing import Any

import pytest

from longsafety.data.fit import Fitted
from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span
from longsafety.settings import Training

LONGEST = 120


def sample(name: str, *context: Span | str, **changes: Any) -> Sample:
    plain: dict[str, Any] = dict.fromkeys(("task", "scenario", "kind", "category", "seed_id", "licence"), "x")
    parts = {"question": "What does it say?", "answer": "Nothing of the kind.", **changes}
    return Sample(id=name, pair_id=name, **plain, context=context, **parts)


NEEDLE = " The needle stands here. "
SAMPLES = [
    sample("fits", Span(0, 0, 40)),
    sample("long", Span(0, 0, 70), NEEDLE, Span(1, 0, 90), needles=(1,)),
    sample("longer", Span(2, 0, 300)),
]


def fitted(encoder: ChatEncoder, over_length: Any, samples: list[Sample] = SAMPLES) -> Fitted:
    return Fitted(samples, encoder, Training(over_length=over_length), LONGEST)


def test_an_error_names_the_sample_its_length_and_the_ways_out(tiny_encoder: ChatEncoder) -> None:
    size = len(tiny_encoder.sample_ids(SAMPLES[1])[0])
    with pytest.raises(
        DataError, match=rf"over_length = error: sample long has {size} tokens, more than the 120 .*drop or"
    ):
        list(fitted(tiny_encoder, "error"))


def test_dropped_samples_are_counted(tiny_encoder: ChatEncoder) -> None:
    kept = fitted(tiny_encoder, "drop")
    assert [each.id for each in kept] == ["fits"]
    assert kept.lost == {"dropped": [1, 2]}


def test_contexts_are_cut_and_nothing_else(tiny_encoder: ChatEncoder) -> None:
    kept = fitted(tiny_encoder, "trim_context")
    made = list(kept)
    assert [each.id for each in made] == ["fits", "long", "longer"]
    assert kept.lost == {"trimmed": [1, 2]}
    assert made[0] == SAMPLES[0]
    for before, after in zip(SAMPLES[1:], made[1:], strict=True):
        assert LONGEST - 4 <= len(tiny_encoder.sample_ids(after)[0]) <= LONGEST
        assert after.replace(context=()) == before.replace(context=())
        for one, other in zip(before.context, after.context, strict=True):
            if isinstance(one, str):
                assert other == one
            else:
                assert isinstance(other, Span)
                assert (other.document, other.start) == (one.document, one.start)
                assert other.stop <= one.stop


def test_what_is_no_documents_is_not_cut(tiny_encoder: ChatEncoder) -> None:
    chat = sample("chat", "word " * 200)
    with pytest.raises(DataError, match=r"trim_context: sample chat has \d+ tokens too many without any document"):
        list(fitted(tiny_encoder, "trim_context", [chat]))
