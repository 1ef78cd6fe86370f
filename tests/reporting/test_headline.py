from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from longsafety.reporting.comparison_view import ComparisonView
from longsafety.reporting.gate_view import Words, words_alone
from longsafety.reporting.headline import findings
from tests.records_made import GATE, gate_row


def _texts(comparison: Any, kind: str, **more: Any) -> list[str]:
    view = ComparisonView(comparison)
    return [finding.text for finding in findings(view, confidence=0.95, **more) if finding.kind == kind]


@pytest.mark.slow
def test_the_first_sentence_says_which_arm_tells_the_sides_apart(seven: Any) -> None:
    first = _texts(seven, "result")[0]
    assert first.startswith("longsafety_twins tells harmful items from their benign twins: ")
    assert "right, .00 reversed, difference +" in first and "(p<.001) on 36 pairs of 36 seed items" in first
    # .22 with p = .02 alone does not survive the correction over all tests of the headline.
    assert "Not significantly: short_safety_long_align (+" in first


@pytest.mark.slow
def test_an_arm_that_only_declines_does_not_tell_the_sides_apart(comparison_of: Any) -> None:
    warnings = _texts(comparison_of(["base", "longsafety"]), "warning")
    assert warnings[0].startswith("No arm significantly tells harmful items from their benign twins")
    assert any(text.startswith("longsafety is safe only by declining") for text in warnings)


@pytest.mark.slow
def test_swap_contrast_is_held_against_what_words_alone_reach(seven: Any) -> None:
    text = _texts(seven, "result", words=words_alone(GATE))[1]
    # 30 question pairs at .60 and 10 needle pairs at .75.
    assert "Words on unseen seed items reach .64 (of the question alone .60 and of the needle alone .75; 40" in text
    assert "the margin of longsafety_twins over them is +." in text
    better = Words(value=0.99, error=0.01, seeds=40, parts={"question": 0.99})
    [warning] = [text for text in _texts(seven, "warning", words=better) if text.startswith("Swap contrast")]
    assert "so a bag of words may tell as much" in warning
    assert "was not measured" in _texts(seven, "result")[1]


def test_words_that_were_not_measured_on_all_tasks_are_none() -> None:
    assert words_alone([gate_row("KeywordRAG", "question alone: pairs told apart", 0.6)]) is None


@pytest.mark.slow
def test_the_best_arm_is_safe_and_helpful_not_the_safest(seven: Any) -> None:
    [best] = [text for text in _texts(seven, "result") if "is best at" in text]
    assert best.startswith("longsafety_twins is best at being safe and helpful together: safe response .")
    assert "on 36 benign twins. Against base: safe response +" in best


@pytest.mark.slow
def test_arms_that_decline_everything_are_named(seven: Any) -> None:
    [warning] = [text for text in _texts(seven, "warning") if "only by declining" in text]
    assert warning.startswith("short_safety, longsafety_short and longsafety are safe only by declining")


@pytest.mark.slow
def test_scores_that_a_blind_control_reaches_are_named(seven: Any, comparison_of: Any) -> None:
    [warning] = [text for text in _texts(seven, "warning") if text.startswith("Not significantly above its blind")]
    [safe] = [part for part in warning.split("; ") if "safe response in " in part]
    assert "short_safety, long_align, short_safety_long_align, longsafety_short and longsafety" in safe
    assert "no question" in safe and "longsafety_twins (only no needle)" in safe
    sighted = comparison_of(["longsafety_twins"], baseline=None, per_task=40)
    kept = sighted.controls[sighted.controls["metric"] == "safe_response"]
    assert "Every score is significantly above its blind controls." in _texts(replace(sighted, controls=kept), "result")


@pytest.mark.slow
def test_differences_are_corrected_for_the_number_of_tests(seven: Any) -> None:
    [tested] = [text for text in _texts(seven, "result") if text.startswith("Significant against base")]
    # Two null values and, but for base, four differences an arm: 7 × 2 + 6 × 4, and McNemar's test is not among them.
    assert "sign-flip tests over seed items, Holm over 38 tests, level .05" in tested and "McNemar" not in tested
    assert "pairs right − reversed is higher in longsafety_twins;" in tested
    assert tested.endswith("compliance (benign) is lower in short_safety, longsafety_short and longsafety.")


@pytest.mark.slow
def test_contrasts_are_told_apart_from_the_baseline(comparison_of: Any) -> None:
    arms = ["base", "longsafety", "longsafety_twins", "short_safety"]
    pairs = [["longsafety_twins", "longsafety"], ["longsafety", "short_safety"]]
    comparison = comparison_of(arms, contrasts=pairs)
    assert {*ComparisonView(comparison).contrasts} == {tuple(pair) for pair in pairs}
    [text] = [text for text in _texts(comparison, "result") if text.startswith("Significant contrasts")]
    assert "longsafety_twins against longsafety: pairs right − reversed +" in text and "short_safety" not in text
    [text] = [text for text in _texts(comparison, "warning") if text.startswith("Contrasts in which nothing")]
    assert "longsafety against short_safety (pairs right − reversed " in text
    base = ComparisonView(comparison).paired("longsafety_twins", "compliance", 512)
    assert base is not None and base.against == "base"


@pytest.mark.slow
def test_no_significant_difference_is_stated(comparison_of: Any) -> None:
    texts = _texts(comparison_of(["base", "long_align"]), "warning")
    assert any(text.startswith("No arm is both safe and helpful") for text in texts)
    assert any(text.startswith("Nothing differs significantly from base") for text in texts)


@pytest.mark.slow
def test_the_smallest_visible_difference_is_stated(seven: Any) -> None:
    [caveat] = _texts(seven, "caveat")
    assert "With 36 harmful items of 36 seed items per arm" in caveat and "A single task has 12 seed items" in caveat
    assert "found with 80% power: ±." in caveat and "(pairs right − reversed)" in caveat


@pytest.mark.slow
def test_too_few_seeds_stand_in_place_of_a_p_value(comparison_of: Any) -> None:
    texts = _texts(comparison_of(["base", "longsafety"], per_task=1), "warning")
    assert "(too few seeds) on 3 pairs of 3 seed items" in texts[0]
    assert not any(text.startswith("Significant") for text in texts)


@pytest.mark.slow
def test_few_trainings_are_about_checkpoints_once(seven: Any) -> None:
    often = {"longsafety": 1, "longsafety_twins": 3}
    said = [text for text in _texts(seven, "caveat", trainings=often) if "checkpoints" in text]
    assert len(said) == 1 and said[0].startswith("longsafety was trained fewer than 3 times")


@pytest.mark.slow
def test_one_arm_is_described_without_a_rank(comparison_of: Any) -> None:
    texts = _texts(comparison_of(["longsafety_twins"], baseline="longsafety_twins"), "result")
    assert texts[0].startswith("longsafety_twins tells harmful items")
    assert texts[2].startswith("longsafety_twins: safe response") and "best" not in " ".join(texts)


@pytest.mark.slow
def test_without_compliance_no_arm_is_called_best(comparison_of: Any) -> None:
    comparison = comparison_of(["base", "longsafety"])
    kept = comparison.scores["metric"].isin(["safe_response", "harm_awareness"])
    warnings = _texts(replace(comparison, scores=comparison.scores[kept]), "warning")
    assert warnings[0].startswith("No pair of item and benign twin was scored")
    assert any("no arm is called best" in text for text in warnings)


@pytest.mark.slow
def test_the_longest_length_decides_and_the_change_is_paired(comparison_of: Any) -> None:
    results = _texts(comparison_of(["base", "longsafety_twins"], lengths=(512, 1024, 2048)), "result")
    assert results[0].startswith("At 2,048 tokens, longsafety_twins tells harmful items")
    assert results[-1].startswith("From 512 to 2,048 tokens, longsafety_twins changes: pairs right − reversed −")
