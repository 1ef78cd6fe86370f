"""In-context learning: who reads the demonstrations is right, who does not is at chance, and nothing leaks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.asking.backend import Question, TokenBackend
from longsafety.evaluation.scores.statistics import wilson
from longsafety.evaluation.suites.in_context import (
    CLASSES,
    QUESTIONS,
    SETS,
    check_in_context,
    in_context_sets,
    measure_in_context,
)
from longsafety.samples.language import LANGUAGES
from longsafety.scenarios.seeds.load import load_seeds

if TYPE_CHECKING:
    from tests.conftest import Place

pytestmark = pytest.mark.slow

SHOT = re.compile(r"Text: (.+?)\nLabel:(?: ?([A-Z]))?(?:\n\n|$)", re.DOTALL)


class Reader(TokenBackend):
    """Knows of every text which kind it is, and of the labels what the prompt shows (``reads``), or nothing."""

    def __init__(self, tokenizer: Any, *, reads: bool) -> None:
        self.tokenizer, self.reads, self.prompts = tokenizer, reads, list[np.ndarray]()
        seeds = load_seeds("shipped").seeds
        self.kinds = {getattr(seed, kind): kind for seed in seeds for kind in CLASSES}

    def loglikelihoods(self, questions: Sequence[Question]) -> list[np.ndarray]:
        return [self._answer(question) for question in questions]

    def replies(self, prompts: Sequence[np.ndarray], **options: Any) -> list[np.ndarray]:
        raise AssertionError("the suite reads no reply")

    def facts(self) -> dict[str, int | str]:
        return {}

    def _answer(self, question: Question) -> np.ndarray:
        self.prompts.append(question.prompt)
        shots = SHOT.findall(self.tokenizer.decode(question.prompt))
        text, none = shots.pop()
        assert none == "" and text not in [shown for shown, _ in shots]
        labels = [self.tokenizer.decode(ids).strip() for ids in question.continuations]
        if not self.reads:
            return np.array([float(label == min(labels)) for label in labels])
        means = {self.kinds[shown]: label for shown, label in shots}
        return np.array([float(label == means[self.kinds[text]]) for label in labels])


def measured(backend: Any, tokenizer: Any, **changed: Any) -> list[dict[str, Any]]:
    return measure_in_context(backend, tokenizer, "en", **{"tokens": 1000, "limit": None, "seed": 0, **changed})


def test_a_model_that_reads_the_demonstrations_is_right(tiny_tokenizer: Any) -> None:
    reader = Reader(tiny_tokenizer, reads=True)
    few, many = measured(reader, tiny_tokenizer)
    assert few["task"] == "icl_4_shots" and few["metric"] == "acc (chance 0.25)"
    shots = int(re.fullmatch(r"icl_(\d+)_shots", many["task"])[1])  # type: ignore[index]
    assert shots >= 16 and shots % len(CLASSES) == 0
    assert [(row["value"], row["stderr"], row["n"]) for row in (few, many)] == [
        (1.0, 1 / (QUESTIONS + 2), QUESTIONS)
    ] * 2
    longest = max(map(len, reader.prompts))
    assert 1000 - 400 < longest < 1000  # another round of demonstrations has less


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_does_not_is_at_chance(tiny_tokenizer: Any, seed: int) -> None:
    for row in measured(Reader(tiny_tokenizer, reads=False), tiny_tokenizer, seed=seed):
        low, high = wilson(row["value"] * row["n"], row["n"], 0.99)
        assert low < 0.25 < high and row["value"] < 0.5
        assert row["stderr"] == pytest.approx((row["value"] * (1 - row["value"]) / (row["n"] - 1)) ** 0.5)


@pytest.mark.parametrize("language", LANGUAGES)
def test_sets_are_balanced_and_share_no_seed_item_with_their_questions(language: str) -> None:
    sets = in_context_sets(language, limit=None, seed=1)
    assert len(sets) == SETS and len({one.labels for one in sets}) > 1
    owner = {getattr(seed, kind): seed.id for seed in load_seeds("shipped", language).seeds for kind in CLASSES}
    questions = [shot for one in sets for shot in one.questions]
    assert len(set(questions)) == QUESTIONS
    assert np.bincount([shot.kind for shot in questions]).tolist() == [QUESTIONS // len(CLASSES)] * len(CLASSES)
    asked = {owner[shot.text] for shot in questions}
    for one in sets:
        assert asked.isdisjoint(owner[shot.text] for shot in one.demonstrations)
        rounds = np.array([shot.kind for shot in one.demonstrations]).reshape(-1, len(CLASSES))
        assert (np.sort(rounds, axis=1) == np.arange(len(CLASSES))).all()
        assert len(set(one.demonstrations)) == len(one.demonstrations) > 800


def test_a_limit_and_a_length_that_is_too_short(tiny_tokenizer: Any) -> None:
    assert [row["n"] for row in measured(Reader(tiny_tokenizer, reads=True), tiny_tokenizer, limit=5)] == [5, 5]
    told = r"capability = icl: 200 tokens .* do not hold 2 demonstrations of each of 4 classes; give a longer length"
    with pytest.raises(DataError, match=told):
        measured(Reader(tiny_tokenizer, reads=True), tiny_tokenizer, tokens=200)
    with pytest.raises(DataError, match=told):
        check_in_context(tiny_tokenizer, "en", tokens=200, limit=5, seed=0)


def test_the_suite_runs_once_and_is_reported(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["data_mix=base", "scenario.bench_items=2", "evaluation.capability=[icl]", "length.max_tokens=512"]
    command += ["evaluation.capability_limit=8"]
    place.execute(*command)
    assert re.search(r"icl_4_shots: acc \(chance 0\.25\) 0\.\d+ ± .* \(n = 8\)", capfd.readouterr().out)
    before = place.made()
    place.execute(*command, "evaluation.scorers=[likelihood]")  # another run, but the suite's key is the same
    [table] = [path for path in before if path.endswith("capability.parquet")]
    assert place.made()[table] == before[table] and len(place.stages("capability")) == 1
    rows = pd.read_parquet(place.stage("capability") / "capability.parquet")
    assert rows["suite"].tolist() == ["icl"] * 2 and rows["n"].tolist() == [8] * 2
    place.execute(*command, "length.max_tokens=640")
    assert len(place.stages("capability")) == 2


def test_suites_do_not_run_on_a_server(place: Place) -> None:
    server = ["evaluation.backend=openai", "evaluation.server.model=m", "evaluation.server.base_url=http://x/v1"]
    with pytest.raises(ConfigError, match=r"capability = \[icl\]: suites use the local model, not the"):
        place.settings("data_mix=base", "evaluation.scorers=[letter]", *server, "evaluation.capability=[icl]")
