"""The first line of an exception, and rows that a reader left out."""

from __future__ import annotations

import pytest

from longsafety.errors import first_line, print_left_out


def test_the_first_line_of_an_exception() -> None:
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(ValueError("one\ntwo"), typed=True) == "ValueError: one"
    assert first_line(KeyError()) == first_line(KeyError(), typed=True) == "KeyError"
    assert len(first_line(ValueError("x" * 1000), typed=True)) == 300


def test_rows_left_out_are_printed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_left_out(["a.jsonl:1: bad", "a.jsonl:2: worse"])
    assert capsys.readouterr().out == "  left out   a.jsonl:1: bad\n  left out   a.jsonl:2: worse\n"
