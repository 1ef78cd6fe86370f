"""Samples that are longer than the training allows: an error, dropped, or with their contexts cut; always counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span
from longsafety.settings import Training


class Fitted:
    """Iterates over the samples that fit; afterwards ``lost`` maps "dropped" and "trimmed" to the over-long ones'
    indices."""

    def __init__(self, samples: Iterable[Sample], encoder: ChatEncoder, training: Training, longest: int) -> None:
        """``longest``: tokens of a chat with its answer."""
        self.samples, self.encoder, self.training, self.longest = samples, encoder, training, longest
        self.lost: dict[str, list[int]] = {}

    def __iter__(self) -> Iterator[Sample]:
        """Raises DataError for an over-long sample (``over_length=error``), or one that cannot be cut."""
        for number, sample in enumerate(self.samples):
            size = len(self.encoder.sample_ids(sample)[0])
            if size <= self.longest:
                yield sample
            elif self.training.over_length == "drop":
                self.lost.setdefault("dropped", []).append(number)
            elif self.training.over_length == "trim_context":
                self.lost.setdefault("trimmed", []).append(number)
                yield trimmed(sample, self.encoder, self.longest)
            else:
                raise DataError(
                    f"training.over_length = error: sample {sample.id} has {size} tokens, more than the {self.longest} "
                    "that length allows; raise length.max_tokens, or set training.over_length=drop or trim_context"
                )


def trimmed(sample: Sample, encoder: ChatEncoder, longest: int) -> Sample:
    """The sample with shorter documents: the longest span loses its end, until the chat fits.

    Needles, headings, question, history and answer stay whole. Raises DataError if they alone are too long.
    """
    context = list(sample.context)
    while (excess := len(encoder.sample_ids(sample)[0]) - longest) > 0:
        spans = [(part.stop - part.start, at) for at, part in enumerate(context) if isinstance(part, Span)]
        size, at = max(spans, default=(0, 0))
        if not size:
            raise DataError(
                f"training.over_length = trim_context: sample {sample.id} has {excess} tokens too many without any "
                "document; raise length.max_tokens, or set training.over_length=drop"
            )
        span = context[at]
        assert isinstance(span, Span)
        context[at] = Span(span.document, span.start, max(span.start, span.stop - excess))
        sample = sample.replace(context=tuple(context))
    return sample
