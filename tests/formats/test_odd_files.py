"""Files that hold more, or less, than their rows: repeated names, pointers, companions, dates, classes and images."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longsafety.corpus.corpus import read_documents
from longsafety.errors import DataError
from longsafety.formats.data_files import Row
from longsafety.formats.public import read_public
from longsafety.formats.rows import read_rows
from longsafety.settings import Corpus
from tests.formats.test_public import TURNS
from tests.formats.test_rows import brief, read, write

datasets.disable_progress_bars()
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
FAR = pa.array([2**60, 0], pa.timestamp("us"))


def counted(source: Path) -> tuple[list[Row], Counter[str]]:
    counts: Counter[str] = Counter()
    return list(read_rows(source, counts=counts)), counts


# Names that stand twice


def test_each_row_of_a_line_has_its_own_place(tmp_path: Path) -> None:
    file = write(tmp_path / "set.json", '[{"a": 1}, {"a": 2}, 3,\n{"a": 4}, {"a": 5}]')
    rows = read(file)
    assert [row.place for row in rows] == [f"{file}:{at}" for at in ("1", "1#2", "1#3", "2", "2#2")]
    assert [row.name for row in rows[:2]] == ["set.json:1", "set.json:1#2"]


def test_ids_that_stand_twice_on_one_line_are_found(tmp_path: Path) -> None:
    chats: list[dict[str, Any]] = [{"messages": TURNS, "id": "x"}, {"messages": TURNS}, {"messages": TURNS, "id": "x"}]
    file = write(tmp_path / "set.json", json.dumps(chats))
    with pytest.raises(DataError, match=r"set\.json:1#3: id = x: taken by \S+set\.json:1; ids are unique"):
        read_public(file)
    write(file, json.dumps([{"messages": TURNS}] * 3))
    assert len({chat.id for chat in read_public(file).samples}) == 3


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.jsonl", '{"p": 1, "p": 1}\n{"p": 2}', ["1"]),
        ("a.jsonl", '{"q": {"p": 1, "r": 2, "p": 3}}', ["1"]),
        ("a.json", '[{"r": 1},\n{"p": 1, "p": 2},\n{"p": 3}]', ["2"]),
        ("a.json", '{"p": [1], "p": [2]}', ["1"]),
        ("a.json", '{"p": 0}\n{"p": 1, "p": 2}', ["2"]),
    ],
)
def test_a_key_that_stands_twice_in_an_object_is_a_problem(
    tmp_path: Path, name: str, content: str, lines: list[str]
) -> None:
    bad = [(line, found) for line, found in brief(read(write(tmp_path / name, content))) if isinstance(found, str)]
    assert [line for line, _ in bad] == lines
    assert bad[0][1].startswith("p: stands twice in one object; leave one of the two, or rename one")


def test_a_column_that_stands_twice_in_a_parquet_file_is_a_problem(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2], [3]], names=["p", "q", "p"]), tmp_path / "a.parquet")
    rule = "the schema names p twice; rename one. No row of the file is read"
    assert brief(read(tmp_path / "a.parquet")) == [("1", rule)]


# What is not there


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_a_pointer_of_git_lfs_is_recognised(tmp_path: Path, name: str) -> None:
    rule = "a pointer of Git LFS and not the file itself; run git lfs pull in its repository"
    assert brief(read(write(tmp_path / name, POINTER))) == [("1", rule)]


def test_a_pointer_in_a_saved_dataset_is_recognised(tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"a": 1}]).save_to_disk(str(tmp_path / "saved"))
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    write(arrow, POINTER)
    with pytest.raises(DataError, match=rf"saved: {arrow.name} is a pointer of Git LFS .*; run git lfs pull"):
        read(tmp_path / "saved")


def test_the_cause_of_a_failure_is_told(tmp_path: Path) -> None:
    write(tmp_path / "README.md", "---\nconfigs:\n- config_name: default\n  data_files: '*.jsonl'\n---\n")
    write(tmp_path / "a.jsonl", '{"a": 1}\n')
    write(tmp_path / "b.jsonl", '{"a": 1, "extra": 2}\n')
    with pytest.raises(DataError, match=r"DatasetGenerationError: .*: CastError: .*column names don't match"):
        read(tmp_path)


# Files that describe the data


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset-metadata.json", {"title": "t", "licenses": [{"name": "MIT"}], "resources": []}),
        ("stats.json", {"rows": 3, "columns": {"prompt": {"nulls": 0}}}),
        ("trainer_state.json", {"log_history": [{"loss": 1.0, "step": 1}], "epoch": 1}),
        ("features.json", {"features": [{"name": "prompt", "dtype": "string"}]}),
    ],
)
def test_an_object_beside_rows_describes_them(tmp_path: Path, name: str, content: dict[str, Any]) -> None:
    write(tmp_path / "rows.jsonl", '{"prompt": "q"}\n')
    write(tmp_path / name, json.dumps(content, indent=1))
    rows, counts = counted(tmp_path)
    assert [row.values for row in rows] == [{"prompt": "q"}]
    assert counts == {f"files that describe the data, not read as rows: {name}": 1}
    (tmp_path / "rows.jsonl").unlink()
    assert [row.name for row in read(tmp_path)] == [f"{name}:1"], "alone it is what was given to be read"


@pytest.mark.parametrize(
    "content",
    [
        {"prompt": "q"},
        {"Prompt": ["q"], "n": [1]},
        {"train": [{"prompt": "q"}], "n": 1},
        {"1": {"prompt": "q"}, "2": {"prompt": "r"}},
        {"harmful": ["q", "r"], "benign": ["s"]},
        {"rows": [{"row": {"messages": []}}], "features": []},
    ],
)
def test_an_object_that_holds_rows_is_not_passed_over(tmp_path: Path, content: dict[str, Any]) -> None:
    write(tmp_path / "rows.jsonl", '{"prompt": "q"}\n')
    write(tmp_path / "more.json", json.dumps(content))
    rows, counts = counted(tmp_path)
    assert {row.part for row in rows} == {"rows", "more"} and not counts


@pytest.mark.parametrize(
    ("name", "content"), [("state.json", {"step": 5}), ("dataset_dict.json", {"splits": ["train"]})]
)
def test_a_file_called_like_that_of_a_saved_dataset_does_not_make_one(
    tmp_path: Path, name: str, content: dict[str, Any]
) -> None:
    write(tmp_path / "rows.jsonl", '{"prompt": "q"}\n')
    write(tmp_path / name, json.dumps(content))
    rows, counts = counted(tmp_path)
    assert len(rows) == 1 and list(counts) == [f"files that describe the data, not read as rows: {name}"]


# What Python, or nobody, can decode


def test_a_date_that_python_cannot_hold_spoils_no_row(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["q", "r"], "at": FAR})
    pq.write_table(table, tmp_path / "a.parquet")
    datasets.Dataset(table).save_to_disk(str(tmp_path / "saved"))
    for source in (tmp_path / "a.parquet", tmp_path / "saved"):
        rows = read(source)
        assert [row.values["prompt"] for row in rows] == ["q", "r"]
        assert rows[0].values["at"] == "unreadable timestamp[us]" and rows[1].values["at"].year == 1970


def test_classes_are_read_by_their_names(tmp_path: Path) -> None:
    made = datasets.Dataset.from_dict({"p": ["q", "r", "s"], "kind": [1, 0, -1]})
    made = made.cast_column("kind", datasets.ClassLabel(names=["good", "bad"]))
    made.save_to_disk(str(tmp_path / "saved"))
    made.to_parquet(str(tmp_path / "a.parquet"))
    for source in (tmp_path / "a.parquet", tmp_path / "saved"):
        assert [row.values["kind"] for row in read(source)] == ["bad", "good", None]


@pytest.mark.parametrize("listed", [False, True])
def test_images_and_sounds_are_left_and_counted(tmp_path: Path, listed: bool) -> None:
    held = {"bytes": b"no image", "path": None}
    made = datasets.Dataset.from_dict({"p": ["q", "r"], "m": [[held], [held]] if listed else [held, held]})
    for name, feature in (("image", datasets.Image()), ("sound", datasets.Audio())):
        kind = datasets.List(feature) if listed else feature
        made.cast_column("m", kind).save_to_disk(str(tmp_path / name))
        rows, counts = counted(tmp_path / name)
        assert [row.values for row in rows] == [{"p": "q"}, {"p": "r"}]
        assert counts == {"columns of images, sounds or films, not read: m": 1}


def test_values_that_a_dataset_holds_as_json_are_decoded(tmp_path: Path) -> None:
    made = datasets.Dataset.from_dict({"a": [[{"b": 0}, {"c": "x"}]]}, on_mixed_types="use_json")
    made.save_to_disk(str(tmp_path / "saved"))
    assert [row.values for row in read(tmp_path / "saved")] == [{"a": [{"b": 0}, {"c": "x"}]}]


# Folders that are columns


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_folder_that_is_called_like_a_column_with_a_value_is_one(tmp_path: Path, suffix: str) -> None:
    places = ["lang=en/kind=a%20b", "lang=de/kind=__HIVE_DEFAULT_PARTITION__", "split=train/x=/=y"]
    for number, place in enumerate(places):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        if suffix == "parquet":
            pq.write_table(pa.table({"n": [str(number)]}), folder / "part-0.parquet")
        else:
            text = f'{{"n": "{number}"}}\n' if suffix == "jsonl" else f"n\n{number}\n"
            (folder / f"part-0.{suffix}").write_text(text)
    found = {row.values["n"]: row.values for row in read(tmp_path)}
    assert found == {
        "0": {"lang": "en", "kind": "a b", "n": "0"},
        "1": {"lang": "de", "kind": None, "n": "1"},
        "2": {"n": "2"},
    }


def test_what_a_row_says_goes_before_its_folder(tmp_path: Path) -> None:
    (tmp_path / "lang=en").mkdir()
    write(tmp_path / "lang=en" / "rows.jsonl", '{"lang": "it"}\n{"n": 1}')
    assert [row.values["lang"] for row in read(tmp_path)] == ["it", "en"]


@pytest.mark.parametrize(
    ("head", "rule"),
    [
        (gzip.compress(b"a", mtime=0), "a gzip archive; unpack it"),
        (b"PK\x03\x04", "a zip archive or"),
        (b"%PDF-1.4", "a PDF; take its text out"),
        (b"PAR1\x15", "a Parquet file; call it .parquet"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
        (b"Rar!\x1a\x07\x01", "a RAR archive; unpack it"),
        (b"SQLite format 3\0", "an SQLite database; write its rows"),
        (b"{\\rtf1", "an RTF document; save its text"),
        (b"a.txt".ljust(257, b"\0") + b"ustar", "a tar archive; unpack it"),
        (
            b"version https://hawser.github.com/spec/v1\n",
            "a pointer of Git LFS and not the file itself; run git lfs pull",
        ),
        (b"/annex/objects/SHA256E-s1--00.txt\n", "a pointer of git-annex and not the file itself; run git annex get"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_what_is_no_text_is_told_as_what_it_is(tmp_path: Path, name: str, head: bytes, rule: str) -> None:
    (tmp_path / name).write_bytes(head + b"\xff" * 99)
    if name == "a.txt":
        with pytest.raises(DataError, match=rf"a\.txt: is {rule}"):
            read_documents(Corpus(source=str(tmp_path)))
    else:
        [row] = read(tmp_path / name)
        assert row.problem.startswith(f"is {rule}")


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_a_pointer_among_documents_is_no_document(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(POINTER)
    (tmp_path / "b.txt").write_text("a quiet day at the harbour " * 50)
    with pytest.raises(DataError, match=rf"{name}: is a pointer of Git LFS and not the file itself; run git lfs pull"):
        read_documents(Corpus(source=str(tmp_path), min_words=1))
    found = read_documents(Corpus(source=str(tmp_path), min_words=1), "skip")
    assert [document.id for document in found.documents] == ["b.txt"] and found.counts["left out: bad"] == 1
