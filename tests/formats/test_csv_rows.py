"""CSV as spreadsheets write it: other separators, empty rows and columns, the first line that names the separator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.test_rows import brief, read, write

ROW = [("2", {"prompt": "How, and why?", "kind": "x"})]


@pytest.mark.parametrize(
    "content",
    [
        'prompt,kind\n"How, and why?",x\n',
        "prompt;kind\r\nHow, and why?;x\r\n",
        "prompt\tkind\nHow, and why?\tx\n",
        'prompt;kind\n"How, and why?";x\n;\n;\n',
        'prompt,kind\n"How, and why?",x\n,\n , \n',
        'prompt,kind,,\n"How, and why?",x,,\n',
        "\ufeffprompt;kind;;\rHow, and why?;x;;\r",
        '"prompt","kind"\n"How, and why?","x"\n',
        '"prompt";"kind"\n"How, and why?";"x"\n',
    ],
)
def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path, content: str) -> None:
    assert brief(read(write(tmp_path / "a.csv", content))) == ROW


@pytest.mark.parametrize(
    "content", ["sep=;\nprompt;kind\nHow, and why?;x\n", 'sep=,\nprompt,kind\n"How, and why?",x\n']
)
def test_excels_first_line_names_the_separator(tmp_path: Path, content: str) -> None:
    assert brief(read(write(tmp_path / "a.csv", content))) == [("3", ROW[0][1])]


def test_unicode_text_of_excel_has_tabs(tmp_path: Path) -> None:
    content = "prompt\tkind\r\nHow, and why?\tx\r\n".encode("utf-16")
    assert brief(read(write(tmp_path / "a.csv", content))) == ROW


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,,\n1,2,\n", "'2' stands in a column without a name; name it in the header"),
        (
            "# mine\na,b\n",
            "2 cells under a header of 1 ('# mine'; the header is the first line); quote cells that hold",
        ),
        ("a;b\n1;2;3\n", "3 cells under a header of 2; quote cells that hold semicolons"),
        ("a;b;a\n1;2;3\n", "the header names a twice; rename one"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: str, problem: str) -> None:
    assert read(write(tmp_path / "a.csv", content))[0].problem.startswith(problem)


def test_one_column_may_hold_what_separates_elsewhere(tmp_path: Path) -> None:
    rows = read(write(tmp_path / "a.csv", "prompt\nWhy; and how?\n"))
    assert [row.values for row in rows] == [{"prompt": "Why; and how?"}]
