"""Letters' probabilities from a list of likely tokens, whatever a server writes into it."""

from __future__ import annotations

import math

import pytest

from longsafety.evaluation.asking.letters import letter_scores


def probabilities(top: list[tuple[str, float | None]], shown: str = "ABCD") -> list[float]:
    values, reason = letter_scores(top, shown)
    assert values is not None, reason
    return [math.exp(value) for value in values]


def test_tokens_of_one_letter_are_added_up() -> None:
    top: list[tuple[str, float | None]] = [
        (" C", math.log(0.4)), ("C", math.log(0.2)), ("(C", math.log(0.1)), ("c", math.log(0.05)),
        ("Ｃ", math.log(0.05)), ("B", math.log(0.15)), ("The", math.log(0.01)),
    ]  # fmt: skip
    found = probabilities(top)
    assert found[2] == pytest.approx(0.8)
    assert found[1] == pytest.approx(0.15)
    assert found[0] == found[3] == pytest.approx(0.01)  # at most the least of the list


@pytest.mark.parametrize("token", ["ĠB", "▁B", "B", " B", "**B", "B.", "(B)", "【B】", '"B', "ĊB"])
def test_spellings_of_a_letter(token: str) -> None:
    assert probabilities([(token, -0.1)])[1] == pytest.approx(math.exp(-0.1))


def test_a_letter_that_is_not_listed_has_no_more_than_is_left() -> None:
    found = probabilities([("D", math.log(0.9)), ("A", -9999.0), ("B", None), ("C", math.nan)])
    assert found[3] == pytest.approx(0.9)
    assert found[0] == found[1] == found[2] == pytest.approx(0.1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -9999.0, None, 5.0, True, "x"])
def test_what_is_no_log_probability_is_left_out(value: float | None) -> None:
    found = probabilities([("A", value), ("B", math.log(0.5)), ("C", math.log(0.3))])
    assert max(found) == found[1]
    assert letter_scores([("A", value)], "ABCD").values is None


@pytest.mark.parametrize("top", [[("D", -1.0)], [("A", -0.7), ("B", -0.7)], [("D", math.nan), ("A", -3.0)]])
def test_letters_that_cannot_be_told_apart_have_no_scores(top: list[tuple[str, float | None]]) -> None:
    assert letter_scores(top, "ABCD").reason == "several letters may be the likeliest"


def test_articles_and_pronouns_are_no_letters() -> None:
    assert probabilities([(" a", math.log(0.6)), ("B", math.log(0.3))])[1] == pytest.approx(0.3)
    assert letter_scores([("i", -0.1), ("J", -9.0)], "ABCDEFGHIJ").values is None


@pytest.mark.parametrize(
    "token", ["<think>", "[THINK]", "<|channel|>", "<thinking>", "<|begin_of_thought|>", "◁think▷"]
)
def test_a_thought_is_no_letter(token: str) -> None:
    values, reason = letter_scores([(token, -1e-6), ("B", -3.0)], "ABCD")
    assert values is None
    assert reason == "the first token opens a thought"


def test_letters_that_stand_there_by_accident_are_none() -> None:
    values, reason = letter_scores([("Okay", -1e-6), ("B", -17.5)], "ABCD")
    assert values is None
    assert reason is not None and "together" in reason
    assert letter_scores([], "AB") == (None, "no usable log-probability of the first token")
