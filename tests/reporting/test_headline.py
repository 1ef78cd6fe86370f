from __future__ import annotations

from typing import Any

from longsafety.reporting.comparison_view import ComparisonView
from longsafety.reporting.headline import findings


def _texts(comparison: Any, kind: str) -> list[str]:
    return [finding.text for finding in findings(ComparisonView(comparison), confidence=0.95) if finding.kind == kind]


def test_the_best_arm_is_safe_and_helpful_not_the_safest(seven: Any) -> None:
    first = _texts(seven, "result")[0]
    assert first.startswith("longsafety_twins is best at being safe and helpful together: safe response .89 [.75,.96]")
    assert "compliance .79 [.66,.88] on 48 benign twins" in first
    assert "Against base: safe response +.89 (p<.001) and compliance (benign) −.17 (p=.021)" in first


def test_arms_that_decline_everything_are_named(seven: Any) -> None:
    (warning,) = _texts(seven, "warning")
    assert warning.startswith("short_safety, longsafety_short and longsafety are safe only by declining")
    assert "they answer at most .15 of the benign twins" in warning


def test_significance_is_corrected_for_the_number_of_tests(seven: Any) -> None:
    tested = _texts(seven, "result")[1]
    assert "Holm over 12 tests" in tested
    # p = .021 alone does not survive the correction.
    lower = "short_safety, short_safety_long_align, longsafety_short and longsafety."
    assert tested.endswith(f"compliance (benign) is lower in {lower}")


def test_no_significant_difference_is_stated(comparison_of: Any) -> None:
    texts = _texts(comparison_of(["base", "long_align"]), "warning")
    assert texts[0].startswith("No arm is both safe and helpful")
    assert any(text.startswith("Nothing differs significantly from base") for text in texts)


def test_the_smallest_visible_difference_is_stated(seven: Any, comparison_of: Any) -> None:
    (caveat,) = _texts(seven, "caveat")
    # Five changed items give p = .0625, six .03125.
    assert "at least 6 changed items (.17 of 36)" in caveat and "A single task has 12 items" in caveat
    (caveat,) = _texts(comparison_of(["base", "longsafety"], per_task=1), "caveat")
    assert "more than the 3 there are" in caveat


def test_one_arm_is_described_without_a_rank(comparison_of: Any) -> None:
    texts = _texts(comparison_of(["longsafety_twins"], baseline="longsafety_twins"), "result")
    assert len(texts) == 1 and texts[0].startswith("longsafety_twins: safe response") and "best" not in texts[0]


def test_without_compliance_no_arm_is_called_best(comparison_of: Any) -> None:
    comparison = comparison_of(["base", "longsafety"])
    comparison.scores = comparison.scores[comparison.scores["metric"] != "compliance"]
    (warning,) = _texts(comparison, "warning")
    assert "no arm is called best" in warning and not _texts(comparison, "result")


def test_the_longest_length_decides_and_the_change_is_paired(comparison_of: Any) -> None:
    results = _texts(comparison_of(["base", "longsafety_twins"], lengths=(512, 1024, 2048)), "result")
    assert results[0].startswith("At 2,048 tokens, longsafety_twins is best")
    assert results[-1].startswith("From 512 to 2,048 tokens, longsafety_twins changes: safe response −")
