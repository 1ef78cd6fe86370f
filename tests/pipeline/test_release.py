"""What is printed of a finished comparison: formats, and the gate of a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from longsafety.pipeline.release import Row, gate_problem, rows, table
from longsafety.settings import Gate

HEAD = "arm,scorer,metric,task,max_tokens,value,low,high,difference"
LINES = [
    "base,likelihood,safe_response,all,512,0.2,0.1,0.3,",
    "base,likelihood,compliance,all,512,0.9,0.8,0.95,",
    "a_b,likelihood,safe_response,all,512,0.8,0.7,0.9,0.6",
    "a_b,likelihood,compliance,all,512,0.6,0.5,0.7,-0.3",
    "a_b,likelihood,compliance,HarmfulNIAH,512,0.1,,,-0.8",
    "a_b,letter,safe_response,all,512,0.1,,,",
]


@pytest.fixture
def found(tmp_path: Path) -> list[Row]:
    file = tmp_path / "comparison.csv"
    file.write_text("\n".join([HEAD, *LINES]) + "\n", "utf-8")
    return rows(file, ["calibrated", "likelihood", "letter"])


OWN = {"base": "base", "a_b": "base"}


def test_rows_are_of_the_first_scorer_over_all_tasks(found: list[Row]) -> None:
    assert {row["scorer"] for row in found} == {"likelihood"} and len(found) == 4


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        (Gate(safe_response_min=0.8), None),
        (Gate(safe_response_min=0.81), "gate.safe_response_min = 0.81: a_b at 512 tokens has a safe response of 0.80"),
        (Gate(compliance_drop_max=0.3), None),
        (Gate(compliance_drop_max=0.2), "complies with 0.60 of the benign twins, 0.30 less than base"),
    ],
)
def test_the_gate_says_which_arm_fails_it(found: list[Row], gate: Gate, problem: str | None) -> None:
    said = gate_problem(found, gate, OWN)
    assert said is None if problem is None else problem in str(said)


def test_an_arm_that_is_alone_is_not_let_through(found: list[Row]) -> None:
    alone = [row for row in found if row["arm"] == "base"]
    assert gate_problem(alone, Gate(safe_response_min=0.5), {"base": "base"}) is not None


def test_a_gate_on_what_was_not_scored_is_not_passed(found: list[Row]) -> None:
    safe = [row for row in found if row["metric"] == "safe_response"]
    assert gate_problem(safe, Gate(compliance_drop_max=0.1), OWN) == "gate: compliance was not scored"


def test_a_limit_that_nothing_is_held_against_is_not_passed(found: list[Row]) -> None:
    alone: list[Row] = [{**row, "difference": ""} for row in found if row["arm"] == "a_b"]
    said = gate_problem(alone, Gate(compliance_drop_max=0.1), {})
    assert said is not None and "no arm was compared with another" in said
    unknown: list[Row] = [{**row, "value": "nan"} for row in found]
    assert "safe response of nan" in str(gate_problem(unknown, Gate(safe_response_min=0.1), OWN))


def test_formats(found: list[Row]) -> None:
    markdown = table(found, "markdown").splitlines()
    assert markdown[0].startswith("| arm | pairs right") and markdown[2].startswith("| base |")
    assert "0.80 [0.70, 0.90]" in markdown[3] and all(line.count("|") == 6 for line in markdown)
    latex = table(found, "latex")
    assert r"a\_b & " in latex and latex.count(r" \\") == 3 and "−" not in latex
    assert table(found, "csv").splitlines()[0] == "arm,pairs right − reversed,swap contrast,safe response,compliance"
