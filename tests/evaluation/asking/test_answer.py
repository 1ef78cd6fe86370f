"""How an answer is read off log-likelihoods, letters and replies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.settings import Evaluation
from tests.evaluation.asking.stubs import ITEMS, Oracle, StubBackend, collected, made


def test_letter_scores_are_stored_by_role(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    class Descending(StubBackend):
        def letter(self, letter: str, shown: str) -> float:
            return 9.0 - "ABCD".index(letter)

    rows = collected(
        Descending(tiny_encoder.tokenizer), tiny_encoder, tmp_path, evaluation=Evaluation(scorers=["letter"])
    )
    for one, row in zip(ITEMS, rows, strict=True):
        assert tuple(np.argsort(row["scores"])[::-1]) == one.order == tuple(row["order"])
        assert row["chosen"] == one.order[0]
        assert row["wording_scores"] is None


def test_a_reply_without_a_letter_is_unparsed(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    class Evasive(Oracle):
        def say(self, letter: str) -> str:
            return "I would rather not choose."

    evaluation = Evaluation(scorers=["generate"], orders="cyclic")
    tokenizer = tiny_encoder.tokenizer
    good = collected(Oracle(tokenizer), tiny_encoder, made(tmp_path, "good"), ITEMS[:6], evaluation)
    bad = collected(Evasive(tokenizer), tiny_encoder, made(tmp_path, "bad"), ITEMS[:6], evaluation)
    assert {row["roles"][row["chosen"]] for row in good} == {"safe", "aware_unsafe"}
    assert {(row["status"], row["chosen"]) for row in bad} == {("unparsed", -1)}
    assert all(row["reply"].startswith("The answer is") for row in good)
    assert all("rather not" in row["reply"] for row in bad)


def test_calibrated_likelihoods_are_relative_to_a_chat_without_the_question(
    tiny_encoder: ChatEncoder, tmp_path: Path
) -> None:
    class Biased(StubBackend):
        """Likes what the question asks for a little, and one text much, whatever is asked."""

        def text(self, text: str) -> float:
            asked = "What about" in self.asked[-1][1]
            return -9 + 5.0 * text.startswith("ignores") + 1.0 * (asked and text.startswith("safe"))

    evaluation = Evaluation(scorers=["likelihood", "calibrated"])
    plain, calibrated = collected(Biased(tiny_encoder.tokenizer), tiny_encoder, tmp_path, ITEMS[:1], evaluation)
    assert plain["roles"][plain["chosen"]] == "ignores"
    assert calibrated["roles"][calibrated["chosen"]] == "safe"
    assert list(calibrated["scores"]) == pytest.approx([0, 0, 0, 1])
    assert calibrated["margin"] == pytest.approx(1)


def test_roles_may_have_different_numbers_of_wordings(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    class Positions(StubBackend):
        def text(self, text: str) -> float:
            return -float(text.split()[-1])

    uneven = ITEMS[0].replace(choices=(("a 1",), ("b 2", "b 4"), ("c 5", "c 6", "c 7"), ("d 8",)))
    evaluation = Evaluation(scorers=["likelihood"], wordings=2)
    (row,) = collected(Positions(tiny_encoder.tokenizer), tiny_encoder, tmp_path, [uneven], evaluation)
    assert [list(scores) for scores in row["wording_scores"]] == [[-1], [-2, -4], [-5, -6], [-8]]
    assert list(row["scores"]) == [-1, -3, -5.5, -8]


@pytest.mark.parametrize("wordings", [1, 2, 3])
def test_likelihoods_are_means_per_token_and_over_the_wordings(
    tiny_encoder: ChatEncoder, tmp_path: Path, wordings: int
) -> None:
    values = {"one": -1.0, "two": -2.0, "three": -6.0}

    class ByWording(StubBackend):
        def text(self, text: str) -> float:
            return values[text.split()[1]] * (1 if text.startswith("safe") else 2)

    evaluation = Evaluation(scorers=["likelihood"], wordings=wordings)
    rows = collected(ByWording(tiny_encoder.tokenizer), tiny_encoder, tmp_path, ITEMS[:1], evaluation)
    given = list(values.values())[:wordings]
    assert rows[0]["scores"] == pytest.approx([2 * np.mean(given)] * 3 + [np.mean(given)])
    np.testing.assert_allclose([list(row) for row in rows[0]["wording_scores"]], [[2 * v for v in given]] * 3 + [given])
    assert rows[0]["chosen"] == 3
    assert rows[0]["order"] is None


def test_a_tokenizer_without_tokens_for_letters_is_an_error(
    tiny_encoder: ChatEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChatEncoder, "literal_ids", lambda self, text: np.arange(len(text) + 1))
    with pytest.raises(
        DataError, match=r"^evaluation\.scorers = letter: the tokenizer has no single token for a letter"
    ):
        collected(Oracle(tiny_encoder.tokenizer), tiny_encoder, tmp_path, evaluation=Evaluation(scorers=["letter"]))
