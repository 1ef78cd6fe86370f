"""Recipes on disk: what is written is read again, lazily, and the same build gives the same bytes."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import (
    Sample,
    SampleFile,
    Span,
    is_made,
    read_samples,
    record_batch,
    render_context,
    user_content,
    write_batches,
    write_samples,
)
from longsafety.scenarios import build as building
from longsafety.scenarios.build import Builder
from longsafety.scenarios.write import write
from longsafety.settings import TaskCounts

EMPTY: dict[str, Any] = dict.fromkeys(
    ("id", "pair_id", "task", "scenario", "kind", "category", "seed_id", "licence", "answer", "question"), ""
)
ODD = [
    Sample(**EMPTY, context=("", Span(3, 0, 9), "a\n\u2028 中👍\u0000"), needles=(0, 2), depth=0.0),
    Sample(**EMPTY, context=(), roles=("a",), choices=((),), order=(0,)),
    Sample(**EMPTY, context=(Span(2**31 - 1, 0, 2**31 - 1),), history=(("one", ""), ("two\n", "二"))),
    Sample(**EMPTY, context=("x",) * 3, writers=("answer: a", "question: b"), goal="before", language="zh"),
    Sample(**EMPTY, context=(Span(0, 0, 0), ""), choices=(("a", "b"), ("c",)), documents=("d", "é")),
]


# There and back


def test_built_samples_come_back_unchanged(made: dict[str, list[Sample]], tmp_path: Path) -> None:
    for split, samples in made.items():
        path = tmp_path / f"{split}.parquet"
        assert write_samples(samples, path) == len(samples)
        assert read_samples(path) == samples
        for again, sample in zip(read_samples(path), samples, strict=True):
            assert [type(value) for value in asdict(again).values()] == [
                type(value) for value in asdict(sample).values()
            ]
            assert [type(part) for part in again.context] == [type(part) for part in sample.context]
            assert hash(again) == hash(sample)


def test_odd_recipes_come_back_unchanged(tmp_path: Path) -> None:
    write_samples(ODD, tmp_path / "x.parquet")
    assert read_samples(tmp_path / "x.parquet") == ODD


def test_no_samples_make_a_file_without_rows(tmp_path: Path) -> None:
    assert write_samples([], tmp_path / "x.parquet") == 0
    found = SampleFile(tmp_path / "x.parquet")
    assert (len(found), list(found), found.column("id"), found[:]) == (0, [], [], [])


def test_a_generator_is_written_in_row_groups(tmp_path: Path) -> None:
    """Neither side holds more than a row group."""
    path = tmp_path / "x.parquet"
    assert write_samples((ODD[number % 5].replace(id=str(number)) for number in range(1100)), path) == 1100
    assert [pq.ParquetFile(path).metadata.row_group(group).num_rows for group in range(3)] == [512, 512, 76]
    assert [sample.id for sample in SampleFile(path)] == [str(number) for number in range(1100)]


# A lazy file


@pytest.fixture(scope="module")
def grouped(made: dict[str, list[Sample]], tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleFile, list[Sample]]:
    """Samples in row groups of 7, with the odd ones among them, and what they were."""
    samples = [*made["train"][:40], *ODD, *made["bench"][:23]]
    path = tmp_path_factory.mktemp("recipe") / "x.parquet"
    batches = [record_batch(samples[first : first + 7]) for first in range(0, len(samples), 7)]
    assert write_batches(batches, path) == len(samples)
    return SampleFile(path), samples


def test_rows_are_those_at_their_index(grouped: tuple[SampleFile, list[Sample]]) -> None:
    found, samples = grouped
    assert len(found) == len(samples) == 68
    assert [found[index] for index in range(68)] == samples
    assert [found[index] for index in range(67, -1, -7)] == samples[::-7]
    assert (found[-1], found[-68]) == (samples[-1], samples[0])
    assert list(found) == list(found) == samples
    assert list(reversed(found)) == samples[::-1]
    assert samples[50] in found


@pytest.mark.parametrize("index", [68, -69, 10**9])
def test_an_index_past_the_end_is_told(grouped: tuple[SampleFile, list[Sample]], index: int) -> None:
    with pytest.raises(IndexError, match=f"sample {index} of 68"):
        grouped[0][index]


@pytest.mark.parametrize(
    "part", [slice(None), slice(5, 9), slice(6, 8), slice(-3, None), slice(60, 5, -11), slice(9, 9), slice(60, 99)]
)
def test_slices_are_lists(grouped: tuple[SampleFile, list[Sample]], part: slice) -> None:
    found, samples = grouped
    assert found[part] == samples[part]


@pytest.mark.parametrize("indices", [[], [0], [67, 0, 33, 0], [*range(0, 68, 5)], [-1, 3]])
def test_rows_are_given_in_the_order_that_was_asked_for(
    grouped: tuple[SampleFile, list[Sample]], indices: list[int]
) -> None:
    found, samples = grouped
    assert found.rows(iter(indices)) == [samples[index] for index in indices]


def test_scattered_rows_read_each_group_once(
    grouped: tuple[SampleFile, list[Sample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SampleFile(grouped[0].path)
    read: list[int] = []

    class Counting:
        def __init__(self, file: Any) -> None:
            self.file = file

        def read_row_group(self, group: int) -> Any:
            read.append(group)
            return self.file.read_row_group(group)

    monkeypatch.setattr(found, "_file", Counting(found._file))
    found.rows([60, 1, 30, 2, 61, 31, 0])
    assert read == [0, 4, 8]


def test_a_column_is_read_without_the_contexts(grouped: tuple[SampleFile, list[Sample]]) -> None:
    found, samples = grouped
    for name in ("id", "pair_id", "task", "scenario", "kind", "category", "seed_id", "licence", "question", "answer",
                 "depth", "target_tokens", "num_tokens", "language", "goal"):  # fmt: skip
        assert found.column(name) == [getattr(sample, name) for sample in samples], name


# Rendering


def test_a_context_renders_as_its_parts(tiny_encoder: ChatEncoder) -> None:
    store = tiny_encoder.store
    size = store.num_tokens(2)
    parts = (Span(2, 0, 9), "X", Span(2, 9, size))
    assert render_context(parts, store).replace("X", "", 1) == store.text(2, 0, size)
    assert render_context((), store) == ""


def test_the_goal_stands_before_or_after_the_context() -> None:
    assert user_content("c", "q") == "c\n\nq"
    assert user_content("c", "q", "before") == "q\n\nc"
    assert user_content("", "q") == user_content("", "q", "before") == "q"


def test_made_texts_are_told_from_documents() -> None:
    assert is_made("exchange:a") and is_made("exchange:benign/a") and is_made("vignette:01/a")
    assert not is_made("doc-1") and not is_made("my exchange:a")


# The same bytes


def written(builder: Builder, path: Path, workers: int) -> bytes:
    done: list[int] = []
    rows = write(builder, path, workers=workers, progress=done.append)
    assert rows == len(SampleFile(path))
    assert sum(done) == sum(builder.counts.values())
    return path.read_bytes()


@pytest.fixture
def small(builders: dict[str, Builder], monkeypatch: pytest.MonkeyPatch) -> Builder:
    """Three items of each of three tasks, two at once."""
    monkeypatch.setattr(building, "_CHUNK", 2)
    names = ("KeywordRAG", "CountingCrimes", "HarmfulExtraction")
    tasks = dict.fromkeys(names, TaskCounts(train=3, bench=3))
    scenario = builders["bench"].scenario.model_copy(update={"tasks": tasks})
    return dataclasses.replace(builders["bench"], scenario=scenario)


def test_one_process_and_two_write_the_same_bytes(small: Builder, tmp_path: Path) -> None:
    assert len(small.chunks()) == 6
    one = written(small, tmp_path / "one.parquet", 1)
    assert written(small, tmp_path / "two.parquet", 2) == one
    assert read_samples(tmp_path / "two.parquet") == list(small.samples())


def test_a_seed_fixes_the_bytes_and_another_changes_them(small: Builder, tmp_path: Path) -> None:
    first, again, other = (
        written(dataclasses.replace(small, seed=seed), tmp_path / f"{number}.parquet", 1)
        for number, seed in enumerate((0, 0, 1))
    )
    assert first == again
    assert first != other
    contexts = [{sample.context for sample in read_samples(tmp_path / f"{number}.parquet") if sample.documents}
                for number in (0, 2)]  # fmt: skip
    assert not contexts[0] & contexts[1]


def test_a_mistake_in_another_process_is_told(small: Builder, tmp_path: Path) -> None:
    from longsafety.errors import DataError

    length = small.length.model_copy(update={"max_tokens": 30})
    with pytest.raises(DataError, match=r"^KeywordRAG-bench-0-00000: .* more than the length 30"):
        write(dataclasses.replace(small, length=length), tmp_path / "x.parquet", workers=2)
