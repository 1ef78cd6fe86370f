"""The table of answers: read back as it was written, and checked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from longsafety.errors import DataError
from longsafety.evaluation.answers import answers_schema, read_answers
from longsafety.evaluation.scores.scoring import confusion, score
from tests.evaluation.answer_rows import FOUR, frame, row, write


def test_answers_read_back_score_alike(tmp_path: Path) -> None:
    rows = [row("i0", "harmful", chosen=3, depth=0.5), row("i0", "benign_query", chosen=2)]
    rows.append(row("i0", "harmful", chosen=1, scorer="letter", order=[2, 0, 1, 3], wording_scores=None))
    read = read_answers(write(tmp_path / "answers.parquet", *rows))
    assert list(read.columns) == answers_schema.names
    assert read["roles"].iloc[0] == FOUR
    for table in (lambda answers: score(answers, scoring="fixed", confidence=0.95), confusion):
        pd.testing.assert_frame_equal(table(read), table(frame(*rows)), check_dtype=False)


def test_other_writers_widths_are_accepted_and_folders_named_like_columns_are_not_columns(tmp_path: Path) -> None:
    folder = tmp_path / "task=other"
    folder.mkdir()
    table = frame(row("i0", "harmful", chosen=3)).astype({"max_tokens": "int32", "task": "category"})
    table.to_parquet(folder / "answers.parquet")
    read = read_answers(folder / "answers.parquet")
    assert read["task"].tolist() == ["KeywordRAG"]
    assert read["max_tokens"].dtype == "int64"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "nice"}, r"row 2: column 'kind' = nice: must be one of harmful, benign_query"),
        ({"task": "all"}, r"row 2: column 'task' = all: must not be the name"),
        ({"roles": ["safe"], "comply_role": "safe"}, r"row 2: column 'roles' = .*two roles or more"),
        ({"scores": [1.0, 0.0]}, r"row 2: column 'scores' = .*one score a role"),
        ({"scores": [1.0, 0.0, 0.0, math.nan]}, r"row 2: column 'scores' = .*must be numbers"),
        ({"roles": FOUR[::-1]}, r"row 2: column 'roles' = .*must end with 'safe'"),
        ({"roles": [*FOUR[:3], "declines"]}, r"row 2: column 'roles' = .*must hold 'safe'"),
        ({"comply_role": "complies"}, r"row 2: column 'comply_role' = complies: must be one of the row's roles"),
        ({"chosen": 4}, r"row 2: column 'chosen' = 4: must be the index of a role"),
        ({"status": "unparsed"}, r"row 2: column 'chosen' = 3: must be -1 where status is not ok"),
        ({"pair_id": "i0"}, r"row 2: column 'pair_id' = i0: must be a harmful item's own"),
        (
            {"item_id": "i0", "pair_id": "i0"},
            r"row 2: column 'item_id' = i0: must occur once .*scorer, order and max_tokens",
        ),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "answers.parquet", row("i0", "harmful", chosen=3), row("i1", "harmful", chosen=3) | changes)
    with pytest.raises(DataError, match=rf"answers\.parquet: {message}.*; run the stage `evaluate` again"):
        read_answers(path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    with pytest.raises(DataError, match=r"answers\.parquet: there is no such file; run the stage `evaluate` first"):
        read_answers(path)
    path.write_text("not parquet", encoding="utf-8")
    with pytest.raises(DataError, match=r"answers\.parquet: not a readable Parquet file"):
        read_answers(path)
    with pytest.raises(DataError, match=r"answers\.parquet: holds no answers"):
        read_answers(write(path))
    table = frame(row("i0", "harmful", chosen=3))
    table.drop(columns="chosen").to_parquet(path)
    with pytest.raises(DataError, match=r"column 'chosen' is missing"):
        read_answers(path)
    table.astype({"chosen": "str"}).to_parquet(path)
    with pytest.raises(DataError, match=r"column 'chosen' has type .*string: must be integer"):
        read_answers(path)
    pd.concat([table, table.assign(task=None)]).to_parquet(path)
    with pytest.raises(DataError, match=r"row 2: column 'task' is empty: must have a value"):
        read_answers(path)
