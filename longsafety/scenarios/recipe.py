"""A sample as a recipe: spans of stored documents and literal strings, rendered only when somebody reads it.

A twin is the same recipe with one literal changed; the short twin is the recipe without its spans.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longsafety.scenarios.store import TokenStore

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens ``[start, stop)`` of document number ``document`` of the token store."""

    document: int
    start: int
    stop: int

    @property
    def num_tokens(self) -> int:
        return self.stop - self.start


Segment = Span | str
EXCHANGE = "exchange:"
"""Prefix of the ids of stored exchanges (dialogue turns of seed items), beside the corpus's own documents."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A training sample or benchmark item (or a twin of one).

    ``choices`` holds the wordings of each role, roles stored unsafe → safe (benign kinds: unhelpful → helpful);
    ``order[i]`` is the role whose first wording is shown at the i-th letter.
    """

    id: str
    pair_id: str
    """The harmful item's id, shared by the item and its twins."""
    task: str
    scenario: str
    """QH, PH or FH (paper, section on pipelines)."""
    kind: str
    """harmful, benign_query, benign_needle, short; for training also long_align and short_safety."""
    category: str
    seed_id: str
    licence: str
    context: tuple[Segment, ...]
    question: str
    answer: str
    needle: int = -1
    """Index in ``context`` of the needle, -1 without one."""
    depth: float | None = None
    """Tokens before the needle over tokens of the filler, as built."""
    documents: tuple[str, ...] = ()
    """Ids of the documents in the context."""
    target_tokens: int = 0
    """What was asked for; 0 where the length is free (short kinds)."""
    num_tokens: int = 0
    """Tokens of the rendered chat: prompt, and answer for a training sample."""
    roles: tuple[str, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    comply_role: str = ""
    order: tuple[int, ...] = ()

    def replace(self, **changes: Any) -> Sample:
        return dataclasses.replace(self, **changes)


def render_context(context: Sequence[Segment], store: TokenStore) -> str:
    """The text of a context."""
    return "".join(
        segment if isinstance(segment, str) else store.text(segment.document, segment.start, segment.stop)
        for segment in context
    )


def user_content(context: str, question: str) -> str:
    """The user's message: the context, a blank line, the question."""
    return f"{context}\n\n{question}" if context else question


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    segment = pa.struct(
        [("text", text), ("document", pa.int32()), ("start", pa.int32()), ("stop", pa.int32())],
    )
    types: dict[str, Any] = {
        "context": pa.list_(segment),
        "needle": pa.int32(),
        "depth": pa.float64(),
        "documents": pa.list_(text),
        "target_tokens": pa.int32(),
        "num_tokens": pa.int32(),
        "roles": pa.list_(text),
        "choices": pa.list_(pa.list_(text)),
        "order": pa.list_(pa.int32()),
    }
    return pa.schema([(field.name, types.get(field.name, text)) for field in dataclasses.fields(Sample)])


def write_samples(samples: Sequence[Sample], path: Path) -> None:
    """Writes recipes as one Parquet file, a row a sample."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def row(sample: Sample) -> dict[str, Any]:
        values = {field.name: getattr(sample, field.name) for field in dataclasses.fields(Sample)}
        values["context"] = [
            {"text": segment} if isinstance(segment, str) else dataclasses.asdict(segment) for segment in sample.context
        ]
        return values

    pq.write_table(pa.Table.from_pylist([row(sample) for sample in samples], schema=_schema()), path)


def read_samples(path: Path) -> list[Sample]:
    """Reads what :func:`write_samples` wrote."""
    import pyarrow.parquet as pq

    def sample(row: dict[str, Any]) -> Sample:
        row["context"] = tuple(
            segment["text"]
            if segment["text"] is not None
            else Span(segment["document"], segment["start"], segment["stop"])
            for segment in row["context"]
        )
        for name in ("documents", "roles", "order"):
            row[name] = tuple(row[name])
        row["choices"] = tuple(tuple(wordings) for wordings in row["choices"])
        return Sample(**row)

    return [sample(row) for row in pq.read_table(path).to_pylist()]
