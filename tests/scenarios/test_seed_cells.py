"""Seed items out of tables: lists in cells, keys of other rows, errors of spreadsheets, languages by many names."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longsafety.errors import DataError
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.seed import Seed
from tests.scenarios.test_seeds import write

LIST_IN_A_CELL = r'safe_answers = .*: is not a list of texts; write it as one, in CSV as JSON: \["…", "…"\]'


def mine(path: Path, language: str = "en") -> list[Seed]:
    return load_seeds(str(path), language, only_own=True, roles={"": {"A": ("no", "yes"), "B": ("hm", "ok")}}).seeds


def table(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_lists_and_mappings_stand_in_cells_as_json(tmp_path: Path) -> None:
    options = {"no": ["I say no."], "yes": ["I say yes."]}
    cells = {
        "safe_answers": json.dumps(["No.", "Not me."]),
        "options": json.dumps(options),
        "turns": '[["Hi?", "Hi."]]',
    }
    [seed] = mine(table(tmp_path / "a.csv", {"request": "How, then?", **cells}))
    assert seed.safe_answers == ("No.", "Not me.") and seed.turns == (("Hi?", "Hi."),)
    assert seed.options == {"no": ("I say no.",), "yes": ("I say yes.",)}


@pytest.mark.parametrize("cell", ["No; not me.", "['No.', 'Not me.']"])
def test_a_cell_that_is_no_list_is_told_how_to_write_one(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=LIST_IN_A_CELL):
        mine(table(tmp_path / "a.csv", {"request": "How?", "safe_answers": cell}))


def test_keys_that_other_rows_of_a_table_have_are_not_the_rows_own(tmp_path: Path) -> None:
    rows = [
        {"request": "One?", "options": {"no": ["a"], "yes": ["b"]}},
        {"request": "Two?", "options": {"hm": ["c"], "ok": ["d"]}},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert [dict(seed.options) for seed in mine(tmp_path / "a.parquet")] == [
        {"no": ("a",), "yes": ("b",)},
        {"hm": ("c",), "ok": ("d",)},
    ]


@pytest.mark.parametrize("lost", ["#NAME?", "#REF!", "#N/A", "undefined", "[removed]", "-", "?", "\u200b"])
def test_what_stands_for_a_missing_request_is_no_request(tmp_path: Path, lost: str) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:1: prompt = .*: stands for a missing value; give the request"):
        mine(write(tmp_path / "rows.jsonl", {"prompt": lost}))


@pytest.mark.parametrize("field", ["safe_answer", "benign_request", "passage"])
def test_nor_is_it_another_text(tmp_path: Path, field: str) -> None:
    row = {"request": "How?", field: "nan"}
    with pytest.raises(
        DataError, match=rf"{field} = nan: stands for a missing value; give the text, or leave it empty"
    ):
        mine(write(tmp_path / "rows.jsonl", row))


@pytest.mark.parametrize("value", [b"How?", 1.5, ["How?"]])
def test_a_request_of_another_type_is_told_as_such(tmp_path: Path, value: object) -> None:
    pq.write_table(pa.table({"Prompt": [value]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet:1: Prompt = .*: is not a text; give the request as one"):
        mine(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("zh", ["Chinese (Simplified)", "cmn", "普通话", "zh_Hans"]),
        ("en", ["英语", "English (US)", "unknown", "und"]),
    ],
)
def test_a_language_by_another_name_or_none(tmp_path: Path, language: str, said: list[str]) -> None:
    text = {"zh": "怎样打开门锁？", "en": "How?"}[language]
    rows = [{"prompt": f"{text}{number}", "language": name} for number, name in enumerate(said)]
    assert len(mine(write(tmp_path / "rows.jsonl", *rows), language)) == len(said)
