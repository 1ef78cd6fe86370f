"""A sample as a recipe: spans of stored documents and literal strings, rendered only when it is read.

A twin is the same recipe with one literal changed; the short twin is the recipe without its spans.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from longsafety.samples.store import TokenStore

if TYPE_CHECKING:
    import pyarrow as pa


class Span(NamedTuple):
    """Tokens ``[start, stop)`` of document number ``document`` of the token store."""

    document: int
    start: int
    stop: int

    @property
    def num_tokens(self) -> int:
        return self.stop - self.start


Segment = Span | str
Goal = Literal["before", "after"]
EXCHANGE, VIGNETTE = "exchange:", "vignette:"
"""Prefixes of the ids of stored texts that were made from seed items; all others are documents of the corpus."""


def is_made(document_id: str) -> bool:
    """Whether a stored text was made from seed items, and is no document of the corpus."""
    return document_id.startswith((EXCHANGE, VIGNETTE))


class PromptParts(NamedTuple):
    """The parts of a chat up to the answer, in the order of the arguments of ``ChatEncoder.prompt_ids``."""

    context: tuple[Segment, ...]
    question: str
    history: tuple[tuple[str, str], ...] = ()
    goal: Goal = "after"
    system: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A training sample or benchmark item (or a twin of one).

    ``choices`` holds the wordings of each role, roles stored unsafe → safe as they are under the harmful item; its
    twins have the same. ``order[i]`` is the role whose first wording is shown at the i-th letter.
    """

    id: str
    pair_id: str
    """The harmful item's id, shared by the item and its twins."""
    task: str
    scenario: str
    """QH, PH or FH (paper, section on pipelines)."""
    kind: str
    """One of ``ITEM_KINDS``; for training also long_align and short_safety."""
    category: str
    seed_id: str
    licence: str
    context: tuple[Segment, ...]
    question: str
    answer: str
    """The training target; of a benchmark item the reference answer."""
    rejected: str = ""
    """The worse answer, where the sample is a preference pair; not trained on here."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier turns of the chat, (user, assistant); the context opens the first user turn."""
    goal: Goal = "after"
    """Where the question stands: before or after the context."""
    system: str = ""
    """The system message that opens the chat; empty: none."""
    language: str = "en"
    """Of question, answer, choices and needles; the documents have their own."""
    writers: tuple[str, ...] = ()
    """Writers of the parts that are not from the seed item: ``part: writer``, sorted."""
    needles: tuple[int, ...] = ()
    """Indices in ``context`` of the needles."""
    depth: float | None = None
    """Tokens before the needle (the mean of several needles) over tokens of the filler, as built."""
    documents: tuple[str, ...] = ()
    """Ids of the documents in the context."""
    target_tokens: int = 0
    """The requested length; 0 if the length is free (short kinds)."""
    num_tokens: int = 0
    """Tokens of the rendered chat: prompt, and answer for a training sample."""
    roles: tuple[str, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    comply_role: str = ""
    """The role that does what is asked: right in the benign twin."""
    right: str = ""
    """The role that is right here; empty without options."""
    order: tuple[int, ...] = ()

    def prompt(self, question: str | None = None) -> PromptParts:
        """The parts of the prompt, for ``encoder.prompt_ids(*sample.prompt())`` and the like.

        ``question`` stands in the place of the sample's own.
        """
        asked = self.question if question is None else question
        return PromptParts(self.context, asked, self.history, self.goal, self.system)

    @property
    def needle_texts(self) -> tuple[str, ...]:
        """The needles, in the order of ``needles``."""
        return tuple(str(self.context[at]) for at in self.needles)

    def replace(self, **changes: Any) -> Sample:
        return dataclasses.replace(self, **changes)


def render_context(context: Sequence[Segment], store: TokenStore) -> str:
    """The text of a context."""
    return "".join(
        segment if isinstance(segment, str) else store.text(segment.document, segment.start, segment.stop)
        for segment in context
    )


def user_content(context: str, question: str, goal: Goal = "after") -> str:
    """The user's message: the context, a blank line, the question; the question first if ``goal`` is ``before``."""
    if not context:
        return question
    return f"{context}\n\n{question}" if goal == "after" else f"{question}\n\n{context}"


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    segment = pa.struct(
        [("text", text), ("document", pa.int32()), ("start", pa.int32()), ("stop", pa.int32())],
    )
    types: dict[str, Any] = {
        "context": pa.list_(segment),
        "history": pa.list_(pa.list_(text)),
        "writers": pa.list_(text),
        "needles": pa.list_(pa.int32()),
        "depth": pa.float64(),
        "documents": pa.list_(text),
        "target_tokens": pa.int32(),
        "num_tokens": pa.int32(),
        "roles": pa.list_(text),
        "choices": pa.list_(pa.list_(text)),
        "order": pa.list_(pa.int32()),
    }
    return pa.schema([(field.name, types.get(field.name, text)) for field in dataclasses.fields(Sample)])


_BATCH = 512
"""Samples in a row group, which are in memory together."""


def write_samples(samples: Iterable[Sample], path: Path) -> int:
    """Writes recipes as one Parquet file, a row a sample, a batch at a time. Returns the number of rows."""
    source = iter(samples)
    return write_batches(map(record_batch, iter(lambda: list(islice(source, _BATCH)), [])), path)


def write_batches(batches: Iterable[pa.RecordBatch], path: Path) -> int:
    """Writes batches of :func:`record_batch`, each as a row group. Returns the number of rows."""
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(path, _schema(), compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def record_batch(samples: Sequence[Sample]) -> pa.RecordBatch:
    """Samples as columns (Arrow)."""
    import pyarrow as pa

    schema = _schema()
    columns: list[Any] = []
    for field in schema:
        if field.name == "context":
            columns.append(_contexts([sample.context for sample in samples], field.type))
        else:
            columns.append(pa.array([getattr(sample, field.name) for sample in samples], type=field.type))
    return pa.record_batch(columns, schema=schema)


def _contexts(contexts: Sequence[Sequence[Segment]], kind: pa.ListType) -> pa.ListArray:
    """Built column by column: a history of a thousand turns would otherwise be a thousand dicts."""
    import numpy as np
    import pyarrow as pa

    offsets = np.cumsum([0, *map(len, contexts)], dtype=np.int32)
    flat = [segment for context in contexts for segment in context]
    texts = pa.array([segment if isinstance(segment, str) else None for segment in flat], type=pa.string())
    spans = [(-1, -1, -1) if isinstance(part, str) else part for part in flat]
    numbers = np.asarray(spans, dtype=np.int32).reshape(-1, 3)
    is_text = np.fromiter((isinstance(part, str) for part in flat), dtype=bool, count=len(flat))
    columns = [pa.array(np.ascontiguousarray(numbers[:, at]), mask=is_text) for at in range(3)]
    values = pa.StructArray.from_arrays([texts, *columns], fields=list(kind.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=kind)


class SampleFile(Sequence[Sample]):
    """A file of :func:`write_samples`, read a row (or a batch) at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        self._file = pq.ParquetFile(path, memory_map=True)
        metadata = self._file.metadata
        self._bounds = [0]
        for group in range(metadata.num_row_groups):
            self._bounds.append(self._bounds[-1] + metadata.row_group(group).num_rows)
        self._cached: tuple[int, pa.Table] | None = None

    def __len__(self) -> int:
        return self._bounds[-1]

    def column(self, name: str) -> list[Any]:
        """A column of plain values, in the order of the rows; contexts are not read."""
        values: list[Any] = self._file.read(columns=[name])[name].to_pylist()
        return values

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        group = bisect_right(self._bounds, index) - 1
        return _samples(self._group(group).slice(index - self._bounds[group], 1))[0]

    def __iter__(self) -> Iterator[Sample]:
        for group in range(len(self._bounds) - 1):
            yield from _samples(self._file.read_row_group(group))

    def rows(self, indices: Iterable[int]) -> list[Sample]:
        """The samples at ``indices``, each row group read once."""
        wanted = list(indices)
        found: dict[int, Sample] = {}
        for index in sorted(set(wanted)):
            found[index] = self[index]
        return [found[index] for index in wanted]

    def _group(self, group: int) -> pa.Table:
        if self._cached is None or self._cached[0] != group:
            self._cached = (group, self._file.read_row_group(group))
        return self._cached[1]


def _samples(table: pa.Table) -> list[Sample]:
    columns = {name: table[name].to_pylist() for name in table.column_names if name != "context"}
    contexts = _segments(table["context"].combine_chunks())
    samples = []
    for at, context in enumerate(contexts):
        row = {name: values[at] for name, values in columns.items()}
        for name in ("documents", "roles", "order", "needles", "writers"):
            row[name] = tuple(row[name])
        for name in ("choices", "history"):
            row[name] = tuple(tuple(part) for part in row[name])
        samples.append(Sample(context=context, **row))
    return samples


def _segments(column: pa.Array) -> list[tuple[Segment, ...]]:
    """Read column by column, as they were written."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    offsets = column.offsets.to_pylist()
    values = column.values.slice(offsets[0], offsets[-1] - offsets[0])
    texts = values.field("text").to_pylist()
    numbers = [values.field(name).to_pylist() for name in ("document", "start", "stop")]
    flat: list[Segment] = [
        Span(document, start, stop) if text is None else text
        for text, document, start, stop in zip(texts, *numbers, strict=True)
    ]
    first = offsets[0]
    return [tuple(flat[start - first : stop - first]) for start, stop in pairwise(offsets)]


def read_samples(path: Path) -> list[Sample]:
    """All of a file's samples, for files that fit into memory."""
    return list(SampleFile(path))
