"""Writes what a builder builds, a chunk of items at a time, in several processes."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa

from longsafety.samples.recipe import record_batch, write_batches
from longsafety.scenarios.build import Builder


def write(
    builder: Builder,
    path: Path,
    *,
    workers: int,
    progress: Callable[[int], None] = lambda items: None,
    told: Counter[str] | None = None,
) -> int:
    """Writes every sample of a split to a Parquet file; the same bytes for any number of ``workers``.

    Returns the number of rows. Memory holds a chunk of items for each process. ``told`` counts, as ``task: reason``,
    the items that could not be made as meant.
    """
    told = Counter() if told is None else told
    chunks = builder.chunks()
    workers = min(workers, len(chunks) // 2)
    if workers < 2:
        made = (_record_batch(builder, chunk) for chunk in chunks)
        return write_batches(_counted(made, chunks, progress, told), path)
    _ = builder.pool.domain_tokens  # with the passages: once, before the processes fork
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(builder,)) as executor:
        buffers = executor.map(_in_process, chunks)
        made = ((pa.ipc.open_stream(buffer).read_next_batch(), notes) for buffer, notes in buffers)
        return write_batches(_counted(made, chunks, progress, told), path)


_Made = tuple[pa.RecordBatch, Counter[str]]


def _counted(
    made: Iterator[_Made],
    chunks: Sequence[tuple[str, int, int]],
    progress: Callable[[int], None],
    told: Counter[str],
) -> Iterator[pa.RecordBatch]:
    for (_, first, stop), (batch, notes) in zip(chunks, made, strict=True):
        yield batch
        told.update(notes)
        progress(stop - first)


_builder: Builder | None = None


def _begin(builder: Builder) -> None:
    global _builder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _builder = builder


def _in_process(chunk: tuple[str, int, int]) -> tuple[bytes, Counter[str]]:
    assert _builder is not None
    batch, notes = _record_batch(_builder, chunk)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue()), notes


def _record_batch(builder: Builder, chunk: tuple[str, int, int]) -> _Made:
    name, first, stop = chunk
    task = builder.task(name)
    return record_batch(list(task.items(first, stop))), task.told


def num_workers(num_threads: int | None) -> int:
    """Processes that build: one for each core that this process may use."""
    with suppress(AttributeError):
        return num_threads or len(os.sched_getaffinity(0))
    return num_threads or os.cpu_count() or 1
