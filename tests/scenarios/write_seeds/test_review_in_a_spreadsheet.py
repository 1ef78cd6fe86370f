"""The review after a spreadsheet has saved it: what is no edit stays none, and what is lost is told."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from longsafety.errors import DataError
from longsafety.scenarios.seeds.review import UNREVIEWED, reviewed, write_review
from longsafety.scenarios.seeds.seed import Seed

SEED = Seed(
    id="a",
    category="fraud",
    request="-Whose boat is it?\nAnd where?",
    safe_answer="I won't sell a boat that isn't yours.",
    benign_request="@home, how is a boat built?",
    review_state=UNREVIEWED,
)


def saved(path: Path, *, separator: str = ",", encoding: str = "utf-8-sig", change: Callable[[str], str] = str) -> Path:
    """The review as a spreadsheet writes it, with ``accept`` in its only row."""
    write_review(path, [SEED])
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    rows[1][rows[0].index("decision")] = "accept"
    out = io.StringIO(newline="")
    changed = [rows[0], [change(cell) for cell in rows[1]], [""] * len(rows[0])]
    csv.writer(out, delimiter=separator).writerows(changed)
    path.write_bytes(out.getvalue().encode(encoding))
    return path


def read(path: Path) -> list[Seed]:
    return reviewed([SEED], path, Counter(), only_accepted=True)


@pytest.mark.parametrize(
    ("separator", "encoding"), [(",", "utf-8-sig"), (";", "utf-8"), ("\t", "utf-16"), ("\t", "utf-8-sig")]
)
def test_any_separator_and_any_mark_is_read(tmp_path: Path, separator: str, encoding: str) -> None:
    [seed] = read(saved(tmp_path / "review.csv", separator=separator, encoding=encoding))
    assert (seed.request, seed.writers) == (SEED.request, ())


@pytest.mark.parametrize("line_end", ["\r\n", "\r", "_x000D_\n"])
def test_other_line_ends_are_no_edit(tmp_path: Path, line_end: str) -> None:
    [seed] = read(saved(tmp_path / "review.csv", change=lambda cell: cell.replace("\n", line_end)))
    assert (seed.request, seed.writers) == (SEED.request, ())


def test_spaces_around_a_cell_are_no_edit(tmp_path: Path) -> None:
    [seed] = read(saved(tmp_path / "review.csv", change=lambda cell: f"{cell} "))
    assert (seed.request, seed.writers, seed.review_state) == (SEED.request, (), "accepted")


def test_no_cell_is_a_formula_or_a_number_to_a_spreadsheet(tmp_path: Path) -> None:
    path = saved(tmp_path / "review.csv")
    head, cells, *_ = csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""))
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    content = cells[head.index("content")]
    assert not content[0].isdigit() and content[1:].isalnum() and len(content) == 13


def test_a_review_whose_hashes_have_no_letter_before_them_still_counts(tmp_path: Path) -> None:
    path = saved(tmp_path / "review.csv")
    text = path.read_text("utf-8-sig")
    content = text.split("\n", 1)[1].split(",")[1]
    path.write_text(text.replace(content, content[1:]), "utf-8")
    assert [seed.review_state for seed in read(path)] == ["accepted"]


def test_an_error_of_a_spreadsheet_is_no_edit(tmp_path: Path) -> None:
    path = saved(tmp_path / "review.csv", change=lambda cell: "#NAME?" if cell.startswith("'-") else cell)
    with pytest.raises(
        DataError, match=r"review\.csv:2: request = #NAME\?: stands for a missing value; write the text"
    ):
        read(path)


def test_another_encoding_is_told_with_its_row(tmp_path: Path) -> None:
    path = saved(tmp_path / "review.csv", encoding="cp1252", change=lambda cell: cell.replace("'t", "\u2019t"))
    with pytest.raises(DataError, match=r"review\.csv:2: not UTF-8; .*save as CSV UTF-8"):
        read(path)
