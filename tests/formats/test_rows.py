"""Rows of files, folders and datasets: their places, and damaged lines that are reported, not raised."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longsafety.errors import DataError
from longsafety.formats import datasets_read as module
from longsafety.formats.data_files import Row
from longsafety.formats.rows import read_rows
from longsafety.hub import HubName


def read(source: Path | str, split: str | None = None) -> list[Row]:
    return list(read_rows(source, split=split, counts=Counter()))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def brief(rows: list[Row]) -> list[tuple[str, Any]]:
    """(line, values or problem) of each row."""
    return [(row.place.rpartition(":")[2], row.problem or row.values) for row in rows]


def test_json_lines_keep_their_places_and_damaged_ones_are_reported(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"a": 1}\n\n{"a": \n[2]\n{"a": "\xff"}\r\n{"a": "\xe2\x80\xa8x"}'
    file = write(tmp_path / "set.jsonl", content)
    rows = read(file)
    assert brief(rows) == [
        ("1", {"a": 1}),
        ("3", "not JSON (Expecting value, column 6); a .jsonl file has one JSON object a line"),
        ("4", "a list instead of an object; each row is one JSON object"),
        ("5", "byte 7 (0xff) is not UTF-8; convert the file to UTF-8, for example with iconv"),
        ("6", {"a": "\u2028x"}),
    ]
    assert rows[0] == Row(f"{file}:1", "set.jsonl:1", "set", {"a": 1})
    assert all(not row.values for row in rows if row.problem)


def test_a_json_list_has_the_lines_of_its_objects(tmp_path: Path) -> None:
    file = write(tmp_path / "set.json", '\n[{"a": 1},\n  {"a":\n 2}, 5,\n\n{"a": 3}]\n')
    assert brief(read(file)) == [
        ("2", {"a": 1}),
        ("3", {"a": 2}),
        ("4", "a number instead of an object; each row is one JSON object"),
        ("6", {"a": 3}),
    ]
    assert read(write(file, "[ ]")) == []


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ('[{"a": 1},\n{"a": }]', "2", r"not JSON .*the rest of the file is not read"),
        ('[{"a": 1}\n{"a": 2}]', "2", r"does not go on with ','"),
        ('[{"a": 1}]\nmore', "1", r"does not go on with ',' or end with '\]'"),
    ],
)
def test_rows_before_the_damage_of_a_json_list_are_read(tmp_path: Path, content: str, line: str, problem: str) -> None:
    first, bad = read(write(tmp_path / "set.json", content))
    assert first.values == {"a": 1}
    assert bad.place.endswith(f":{line}")
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(bad.problem)


def test_a_json_object_of_lists_and_one_object_a_line(tmp_path: Path) -> None:
    file = write(tmp_path / "set.json", json.dumps({"a": [1, 2], "b": ["x", "y"]}))
    assert brief(read(file)) == [("1", {"a": 1, "b": "x"}), ("2", {"a": 2, "b": "y"})]
    assert brief(read(write(file, '{"a": 1}\n{"a": 2}\n'))) == [("1", {"a": 1}), ("2", {"a": 2})]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": [1], "b": []}', "lists of unequal lengths (a 1, b 0); give each column as many cells"),
        (b'{"a": 1}', "an object; a .json file holds a list of objects, or an object of lists"),
        (b"", "not JSON (Expecting value, column 1); give a list of objects, or an object of lists"),
        (
            b'[\n"\xff"]',
            "byte 3 (0xff) is not UTF-8; convert the file to UTF-8, for example with iconv; no row of the file is read",
        ),
    ],
)
def test_a_json_file_that_holds_no_rows(tmp_path: Path, content: bytes, problem: str) -> None:
    assert [row.problem for row in read(write(tmp_path / "set.json", content))] == [problem]


def test_csv_rows_their_lines_and_what_is_ragged(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbfa,b\r\n1,"two\nlines, quoted"\n\n3\n4,"x"y\n5,\xff\n6,' + "é,".encode() + b'7\n8,z\n9,"open\n'
    )
    rows = brief(read(write(tmp_path / "set.csv", content)))
    assert rows == [
        ("2", {"a": "1", "b": "two\nlines, quoted"}),
        ("5", "1 cells under a header of 2; quote cells that hold commas"),
        ("6", "not CSV (',' expected after '\"'); close the quotes, and double those inside a cell"),
        ("7", "not UTF-8; convert the file to UTF-8 (a spreadsheet: save as CSV UTF-8)"),
        ("8", "3 cells under a header of 2; quote cells that hold commas"),
        ("9", {"a": "8", "b": "z"}),
        ("10", "not CSV (unexpected end of data); close the quotes, and double those inside a cell"),
    ]


def test_a_csv_cell_may_be_a_long_context(tmp_path: Path) -> None:
    file = write(tmp_path / "set.csv", "a\n" + "x" * 300_000 + "\n")
    assert len(read(file)[0].values["a"]) == 300_000


def test_a_csv_header_with_a_name_twice_gives_no_row(tmp_path: Path) -> None:
    assert brief(read(write(tmp_path / "set.csv", "a,b,a\n1,2,3\n"))) == [
        ("1", "the header names a twice; rename one. No row of the file is read")
    ]


def test_parquet_with_nested_columns_and_a_broken_file(tmp_path: Path) -> None:
    values = [{"id": number, "content": [{"prompt": "p", "output": "o"}]} for number in range(3)]
    file = tmp_path / "HarmfulNIAH-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(values), file)
    rows = read(file)
    assert [row.values for row in rows] == values
    assert (rows[2].name, rows[2].part) == (f"{file.name}:3", "HarmfulNIAH")
    (bad,) = read(write(file, b"PAR1 no PAR1"))
    assert bad.place == f"{file}:1" and bad.problem.startswith("not a readable Parquet file from here on (")


def test_a_folder_is_read_in_order_and_its_other_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git" / "x.jsonl", '{"a": 0}')
    write(tmp_path / "b.jsonl", '{"a": 2}')
    write(tmp_path / "a.JSONL", '{"a": 1}')
    write(tmp_path / "sub" / "c.csv", "a\n3\n")
    write(tmp_path / "README.md", "words")
    counts: Counter[str] = Counter()
    rows = list(read_rows(str(tmp_path), counts=counts))
    assert [(row.name, row.part, row.values["a"]) for row in rows] == [
        ("a.JSONL:1", "a", 1),
        ("b.jsonl:1", "b", 2),
        ("sub/c.csv:2", "c", "3"),
    ]
    assert counts == {"files of other types": 1}


def test_reading_is_lazy(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"a": 1}\n')
    gone = write(tmp_path / "b.jsonl", '{"a": 2}\n')
    rows = read_rows(tmp_path, counts=Counter())
    next(rows)
    write(gone, '{"a": 3}\n')
    assert next(rows).values == {"a": 3}


def test_a_saved_dataset_has_its_splits(tmp_path: Path) -> None:
    both = datasets.DatasetDict(
        DocAttack=datasets.Dataset.from_list([{"a": 1}, {"a": 2}]), LawQA=datasets.Dataset.from_list([{"a": 3}])
    )
    both.save_to_disk(str(tmp_path / "saved"))
    source = str(tmp_path / "saved")
    assert [(row.name, row.part, row.values) for row in read(source)] == [
        ("DocAttack:1", "DocAttack", {"a": 1}),
        ("DocAttack:2", "DocAttack", {"a": 2}),
        ("LawQA:1", "LawQA", {"a": 3}),
    ]
    assert [row.place for row in read(source, split="LawQA")] == [f"{source} (LawQA):1"]
    with pytest.raises(DataError, match=r"split = test: .*saved has DocAttack, LawQA; choose one"):
        read(source, split="test")


def test_a_folder_with_a_card_has_the_splits_it_declares(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    folder.mkdir()
    write(folder / "one.jsonl", '{"a": 1}\n')
    write(folder / "two.jsonl", '{"a": 2}\n')
    header = "configs:\n- config_name: default\n  data_files:\n  - split: First\n    path: two.jsonl\n"
    write(folder / "README.md", f"---\n{header}---\n# Card\n")
    assert [(row.part, row.values) for row in read(folder)] == [("First", {"a": 2})]


def test_a_folder_with_a_card_is_read_as_it_is_now(tmp_path: Path) -> None:
    """The library's own cache knows a folder by its path, and gives what it held before."""
    write(tmp_path / "README.md", "---\nconfigs:\n- config_name: default\n  data_files: a.jsonl\n---\n")
    for number in range(2):
        write(tmp_path / "a.jsonl", f'{{"a": {number}}}\n')
        assert [row.values for row in read(tmp_path)] == [{"a": number}]


def test_a_hub_dataset_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    loaded = datasets.DatasetDict(train=datasets.Dataset.from_list([{"a": 1}]))
    monkeypatch.setattr(module, "check_dataset", asked.append)

    def load(name: str, config: str | None, revision: str, split: str | None) -> datasets.DatasetDict:
        asked.append((name, config, revision))
        return loaded

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read("some/set@v1")[0].place == "some/set@v1 (train):1"
    assert read("some/set@v1:20220301.en")[0].values == {"a": 1}
    hub = HubName("some/set", "v1")
    assert asked == [hub, ("some/set", None, "v1"), hub, ("some/set", "20220301.en", "v1")]


def test_an_unreachable_hub_is_reported_with_the_key_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: HubName) -> None:
        raise DataError(f"{name}: not given")

    monkeypatch.setattr(module, "check_dataset", unreachable)
    with pytest.raises(DataError, match=r"^some/set: no such file .*: some/set: not given; .*HF_HUB_OFFLINE=1"):
        read("some/set")
    with pytest.raises(DataError, match=r"^read\.path = some/set: no such file"):
        list(read_rows("some/set", counts=Counter(), key="read.path"))


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: no such file or folder; give one"):
        read(str(tmp_path / "absent.jsonl"))
    write(tmp_path / "notes.txt", "words")
    with pytest.raises(DataError, match=r"no \.jsonl, \.json, \.csv, \.parquet file among its 1 file"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"split = train: .*leave the split out"):
        read(write(tmp_path / "a.jsonl", "{}"), split="train")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", '// mine\n{"p": 1}', "not JSON (Expecting value: JSON has no comments, column 1)"),
        ("a.json", '[{"p": 1} // mine\n]', "the list does not go on with"),
        ("a.json", '[{"p": /* mine */ 1}]', "not JSON (Expecting value: JSON has no comments, column"),
        ("a.json", '[{"p": 1},\n]', "not JSON (Expecting value: a comma too many, column"),
        ("a.jsonl", '{"p": 1},', "not JSON (Extra data: a comma behind it, column 9)"),
        ("a.jsonl", "{'p': 1}", "not JSON (Expecting property name enclosed in double quotes: JSON has double quotes"),
        ("a.json", '{"data": [{"prompt": "a"}], "v": 1}', "an object, whose rows stand in a list under data; a .json"),
    ],
)
def test_what_is_almost_json_is_told_what_it_lacks(tmp_path: Path, name: str, content: str, problem: str) -> None:
    assert any(row.problem.startswith(problem) for row in read(write(tmp_path / name, content)))
