"""Random inputs for the fuzz tests: what users' files and commands hold, and what they never should."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hypothesis")

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from longsafety.errors import LongSafetyError
from longsafety.formats.schemas import SCHEMAS

SPECIAL = (
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "</s>", "[INST]", "<think>", "\0", "\x1b[31m", "\u202e", "\u200b",
    "\ufeff", "\u2028", "\r", "\r\n", "{{ 7*7 }}", "${oc.env:HOME}", "${", "%s", "../..", "'", '"', "\\", ",", "#",
    "\ud83d", "e\u0301", "\U0001f6a2", "مرحبا", "港口", "ท่าเรือ",
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(), max_size=12),  # surrogates and all categories
    st.sampled_from(SPECIAL),
    st.lists(st.sampled_from(SPECIAL) | st.text(max_size=8), max_size=5).map("".join),
    st.just(""),
)
_PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
_TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system", "tool", "human", ""]) | VALUES,
            "content": TEXTS | VALUES,
        }
    ),
    max_size=4,
)
COLUMNS = sorted({column for schema in SCHEMAS.values() for layout in schema.columns for column in layout})
_OURS = ("request", "statement", "benign_request", "safe_answer", "options", "language", "label", "id", "split", "task",
         "crimes", "name", "Goal", "messages", "text")  # fmt: skip


@st.composite
def rows(draw: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Rows of a public set's columns, or of ours, or of any; some values as they should be, some not."""
    layouts = [layout for schema in SCHEMAS.values() for layout in schema.columns]
    columns = [*draw(st.sampled_from([*layouts, ()])), *draw(st.lists(st.sampled_from(_OURS) | TEXTS, max_size=3))]
    values = st.one_of(TEXTS, TEXTS, _TURNS, VALUES, st.lists(TEXTS, max_size=4), st.integers(0, 4))
    return [
        {column: draw(values) for column in columns if draw(st.integers(0, 9))} for _ in range(draw(st.integers(0, 3)))
    ]


def write_rows(file: Path, made: list[dict[str, Any]]) -> bool:
    """Writes rows by the file's suffix; False where its format has no place for them."""
    if file.suffix == ".parquet":
        try:
            pq.write_table(pa.Table.from_pylist(made), file)
        except (pa.ArrowException, UnicodeError, OverflowError, ValueError, TypeError):
            return False
        return True
    if file.suffix == ".csv":
        stream = io.StringIO()
        table = csv.DictWriter(stream, sorted({str(key) for row in made for key in row}) or ["request"])
        table.writeheader()
        try:
            table.writerows(made)
        except csv.Error:
            return False
        file.write_bytes(stream.getvalue().encode("utf-8", "surrogatepass"))
        return True
    lines = [json.dumps(row) for row in made]
    file.write_text("\n".join(lines) if file.suffix == ".jsonl" else f"[{','.join(lines)}]", "utf-8")
    return True


def told(run: Callable[[], object]) -> bool:
    """Whether it was refused. A refusal has a place, a rule, and printable lines; anything else that is raised, is a
    bug."""
    try:
        run()
    except LongSafetyError as error:
        text = str(error)
        assert text.strip() and ":" in text, text
        text.encode("utf-8")
        return True
    return False
