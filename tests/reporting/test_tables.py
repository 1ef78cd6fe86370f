from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from longsafety.reporting import tables
from longsafety.reporting.comparison_view import ComparisonView


def _printed(table: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_a_row_an_arm_with_what_it_tells_apart_first(seven: Any) -> None:
    text = _printed(tables.comparison_table(seven), 120)
    line = next(line for line in text.splitlines() if line.startswith("longsafety "))
    assert line.split() == [
        "longsafety", ".00", "[−.05,+.05]", *line.split()[3:5], "1.00", "[.90,1.00]", ".00", "[.00,.10]", "1.00",
        "[.90,1.00]",
    ]  # fmt: skip
    twins = next(line for line in text.splitlines() if line.startswith("longsafety_twins "))
    share = ComparisonView(seven).share("longsafety_twins", "pair_difference", 512)
    assert share is not None and twins.split()[1] == f"+{share.value:.2f}".replace("0.", ".")
    above = text.partition("differences")[0]
    assert sum(line.split(" ")[0] in set(seven.scores["arm"]) for line in above.splitlines()) == 7


def test_the_caption_says_who_scored_how_many_seed_items_and_what_is_tested(seven: Any) -> None:
    text = " ".join(
        _printed(tables.comparison_table(seven, scorers=["absent", "letter"], scoring="official"), 120).split()
    )
    assert "Scorer letter, scoring official; an arm: 36 harmful items, 36 benign twins, 36 pairs of both, of 36" in text
    assert "95% interval over seed items" in text and "sign-flip test over seed items" in text
    assert "McNemar" not in text and "bootstrap" not in text


@pytest.mark.slow
def test_contrasts_stand_below_the_differences_from_the_baseline(comparison_of: Any) -> None:
    arms = ["base", "longsafety", "longsafety_twins"]
    with_contrast = comparison_of(arms, contrasts=[["longsafety_twins", "longsafety"]])
    below = _printed(tables.comparison_table(with_contrast), 120).partition("differences and contrasts")[2]
    rows = [line for line in below.splitlines() if line.startswith("longsafety")]
    assert [row.split("  ")[0] for row in rows] == [
        "longsafety − base", "longsafety_twins − base", "longsafety_twins − longsafety",
    ]  # fmt: skip
    assert "p<.001" in rows[-1]
    assert "contrasts" not in _printed(tables.comparison_table(comparison_of(arms)), 120)


@pytest.mark.slow
def test_too_few_seeds_stand_in_place_of_a_p_value(comparison_of: Any) -> None:
    text = _printed(tables.comparison_table(comparison_of(["base", "longsafety"], per_task=1)), 120)
    row = next(line for line in text.splitlines() if line.startswith("longsafety − base"))
    assert row.count("too few seeds") == 4 and "p=" not in row


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_off_where_the_terminal_is_narrow(seven: Any, comparison_of: Any, width: int) -> None:
    lengths = comparison_of(["base", "longsafety_twins"], lengths=(512, 1024, 2048), scorers=("likelihood",))
    for table in (tables.comparison_table(seven), tables.comparison_table(lengths)):
        text = _printed(table, width)
        assert "…" not in text
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_one_arm_has_no_differences(comparison_of: Any) -> None:
    text = _printed(tables.comparison_table(comparison_of(["longsafety"], baseline=None)), 120)
    assert "Δ" not in text and "sign-flip" not in text and "1.00 [.90,1.00]" in text


@pytest.mark.slow
def test_without_compliance_the_table_warns(comparison_of: Any) -> None:
    comparison = comparison_of(["base", "longsafety"], scorers=("letter",))
    kept = comparison.scores["metric"].isin(["safe_response", "harm_awareness"])
    comparison = replace(comparison, scores=comparison.scores[kept])
    text = " ".join(_printed(tables.comparison_table(comparison, scoring="official"), 120).split())
    assert "an arm that declines everything looks safe here" in text


@pytest.mark.slow
def test_every_length_of_an_arm_has_a_row(comparison_of: Any) -> None:
    comparison = comparison_of(["base", "longsafety"], lengths=(512, 1024), scorers=("likelihood",))
    text = _printed(tables.comparison_table(comparison), 120)
    assert [line.split()[0] for line in text.splitlines() if ".00 [" in line][:2] == ["base", "1,024"]


def test_the_mix_is_summed(record_of: Any) -> None:
    text = _printed(tables.mix_table(record_of("longsafety_twins").mix), 110)
    assert "sum" in text and "30,112" in text and "100%" in text
    assert next(line.split()[4:6] for line in text.splitlines() if line.startswith("longsafety")) == ["20", "30"]
    assert "not trained" in _printed(tables.mix_table([]), 100)


def test_wide_holds_each_scorer_arm_and_length_once(seven: Any) -> None:
    wide = tables.wide(seven)
    assert len(wide) == 14 and not wide.duplicated(["scorer", "arm", "max_tokens"]).any()
    row = wide[(wide["arm"] == "longsafety") & (wide["scorer"] == "likelihood")].iloc[0]
    assert row["safe_response"] == 1.0 and row["compliance"] == 0.0 and row["safe_response_n"] == 36
    assert row["safe_response_p_value"] < 1e-3 and {"pair_difference_difference", "swap_contrast"} <= {*wide.columns}


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
