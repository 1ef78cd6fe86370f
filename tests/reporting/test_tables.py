from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from longsafety.reporting import tables


def _printed(table: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_a_row_an_arm_with_safety_and_compliance_side_by_side(seven: Any) -> None:
    text = _printed(tables.comparison_table(seven), 120)
    line = next(line for line in text.splitlines() if line.startswith("longsafety "))
    assert line.split()[1:5] == ["1.00", "[.90,1.00]", ".00", "[.00,.07]"]
    assert "+1.00 p<.001" in line and "−.96 p<.001" in line
    assert sum(line.split(" ")[0] in set(seven.scores["arm"]) for line in text.splitlines()) == 7


def test_the_caption_says_who_scored_how_many_and_what_is_tested(seven: Any) -> None:
    text = " ".join(
        _printed(tables.comparison_table(seven, scorers=["absent", "letter"], scoring="official"), 120).split()
    )
    assert "Scorer letter, scoring official; n = 36 harmful items, 48 benign twins" in text
    assert "95% Wilson interval" in text and "exact McNemar" in text and "difference from base" in text


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_off_where_the_terminal_is_narrow(seven: Any, comparison_of: Any, width: int) -> None:
    lengths = comparison_of(["base", "longsafety_twins"], lengths=(512, 1024, 2048), scorers=("likelihood",))
    for table in (tables.comparison_table(seven), tables.comparison_table(lengths)):
        text = _printed(table, width)
        assert "…" not in text
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_one_arm_has_no_columns_of_differences(comparison_of: Any) -> None:
    text = _printed(tables.comparison_table(comparison_of(["longsafety"], baseline=None)), 120)
    assert "Δ" not in text and "McNemar" not in text and "1.00 [.90,1.00]" in text


def test_without_compliance_the_table_warns(comparison_of: Any) -> None:
    comparison = comparison_of(["base", "longsafety"], scorers=("letter",))
    comparison.scores = comparison.scores[comparison.scores["metric"].isin(["safe_response", "harm_awareness"])]
    text = " ".join(_printed(tables.comparison_table(comparison, scoring="official"), 120).split())
    assert "an arm that declines everything looks safe here" in text


def test_every_length_of_an_arm_has_a_row(comparison_of: Any) -> None:
    comparison = comparison_of(["base", "longsafety"], lengths=(512, 1024), scorers=("likelihood",))
    text = _printed(tables.comparison_table(comparison), 120)
    assert [line.split()[0] for line in text.splitlines() if ".00 [" in line][:2] == ["base", "1,024"]


def test_the_mix_is_summed(record_of: Any) -> None:
    text = _printed(tables.mix_table(record_of("longsafety_twins").mix), 100)
    assert "sum" in text and "30,112" in text and "100%" in text
    assert "not trained" in _printed(tables.mix_table([]), 100)


def test_wide_holds_each_scorer_arm_and_length_once(seven: Any) -> None:
    wide = tables.wide(seven)
    assert len(wide) == 14 and not wide.duplicated(["scorer", "arm", "max_tokens"]).any()
    row = wide[(wide["arm"] == "longsafety") & (wide["scorer"] == "likelihood")].iloc[0]
    assert row["safe_response"] == 1.0 and row["compliance"] == 0.0 and row["safe_response_n"] == 36
    assert row["safe_response_p_value"] < 1e-6


def test_lengths_fit_a_terminal_and_tell_what_was_too_long_where_anything_was() -> None:
    sizes = {"rows": 64, "tokens_min": 89, "tokens_median": 97, "tokens_95": 1_203, "tokens_max": 10_305}
    row = {"source": "short_safety_long", **sizes, "answer_tokens": 3_081, "distinct": 0.5, "dropped": 0, "trimmed": 0}
    text = _printed(tables.lengths_table([row]), 80)
    assert "dropped" not in text
    assert next(line for line in text.splitlines() if line.startswith("short")).split() == [
        "short_safety_long", "64", "89", "97", "1,203", "10,305", "50%",
    ]  # fmt: skip
    cut = _printed(tables.lengths_table([{**row, "trimmed": 2}, {**row, "rows": 0, "distinct": None}]), 100)
    assert "dropped  trimmed" in cut
    assert [line.split()[-3:] for line in cut.splitlines() if line.startswith("short")] == [
        ["50%", "0", "2"], ["—", "0", "0"],
    ]  # fmt: skip
