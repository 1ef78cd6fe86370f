"""Tests keep their level where the items of a seed item move together: ``tests/benchmarks/null.py`` in small."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from longsafety.evaluation.scores.compare import compare
from longsafety.evaluation.scores.comparison import Arm
from longsafety.evaluation.scores.statistics import mcnemar_exact, sign_flip
from longsafety.vocabulary import HARMFUL_ROLES, right_role
from tests.benchmarks.null import COUNTS, LEVEL, SAFE, Structure, rates

DRAWS = 200
SLACK = 3 * np.sqrt(LEVEL * (1 - LEVEL) / DRAWS)
"""Three standard errors of a rate over so many draws."""


def test_the_structure_is_that_of_the_benchmark() -> None:
    structure = Structure.of_benchmark()
    assert len(structure.task) == sum(COUNTS.values()) == 1201
    assert len(np.unique(structure.seed)) == 340
    crimes = structure.seed[structure.task == "CountingCrimes"]
    assert set(crimes) == set(structure.seed[structure.task == "HarmfulTendency"]) == set(range(60))
    outcome = structure.answers(np.random.default_rng(0), 400, 1)[0] == SAFE
    first, second = (np.array(pair) for pair in zip(*_within(structure.seed), strict=True))
    assert np.corrcoef(outcome[:, first].ravel(), outcome[:, second].ravel())[0, 1] == pytest.approx(0.7, abs=0.03)
    prefers = structure.prefers(np.random.default_rng(0), 400, 1)[0]
    assert np.corrcoef(prefers[:, first].ravel(), prefers[:, second].ravel())[0, 1] == pytest.approx(0.7, abs=0.03)


def _within(seeds: np.ndarray) -> list[tuple[int, int]]:
    """Two items of each seed item."""
    places = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    return [(int(place[0]), int(place[1])) for place in places]


@pytest.mark.slow
def test_no_test_rejects_too_often_under_the_null() -> None:
    structure = Structure.of_benchmark()
    found = rates(structure, draws=DRAWS, cells=("all", "DocAttack", "CountingCrimes", "each"))
    assert len(found) == 8 * 4
    for row in found:
        assert max(row.sign_flip, row.interval) < LEVEL + SLACK, row
        assert np.isnan(row.mcnemar) or row.mcnemar < LEVEL + SLACK, row
        assert row.differing < 100 or row.sign_flip > 0.05 - SLACK, row


def test_tests_that_take_items_for_independent_would_reject_half_of_the_time() -> None:
    """The same null, by McNemar over items: so the unit matters."""
    structure, rng = Structure.of_benchmark(), np.random.default_rng(0)
    mask = structure.task == "HarmfulNIAH"
    arm, base = structure.answers(rng, DRAWS, 2)[:, :, mask] == SAFE
    rejected = mcnemar_exact((arm & ~base).sum(axis=1), (base & ~arm).sum(axis=1)) < LEVEL
    assert rejected.mean() > 0.2


@pytest.mark.slow
def test_an_effect_is_found_and_a_difference_of_the_margin_is_not_called_equal() -> None:
    found = rates(Structure.of_benchmark(), draws=60, effect=0.2, cells=("all",))
    assert min(row.sign_flip for row in found) > 0.95
    at_margin = rates(Structure.of_benchmark(), draws=DRAWS, effect=0.05, cells=("all",))
    assert max(row.equivalent for row in at_margin) < LEVEL + SLACK


def test_the_simulated_test_is_the_one_that_compare_does() -> None:
    structure = Structure.of_benchmark()
    chosen = structure.answers(np.random.default_rng(3), 1, 2)[:, 0]
    arms = [
        Arm(label, pd.DataFrame({
            "item_id": [f"i{at}" for at in range(1201)], "pair_id": [f"i{at}" for at in range(1201)],
            "seed_id": [f"s{seed}" for seed in structure.seed], "document_id": None, "task": structure.task,
            "kind": "harmful", "max_tokens": 1024, "scorer": "letter", "order_index": 0, "status": "ok",
            "roles": [list(HARMFUL_ROLES)] * 1201, "scores": [[0.0] * 4] * 1201, "chosen": answers.astype(int),
            "comply_role": "aware_unsafe", "right": right_role("harmful", "aware_unsafe"),
        }))
        for label, answers in zip(("arm", "base"), chosen, strict=True)
    ]  # fmt: skip
    paired = compare(arms, baseline="base", scoring="fixed", confidence=0.95, equivalence_margin=0.05).paired
    table = paired[paired["metric"] == "safe_response"].set_index("task")["p_value"]
    difference = (chosen[0] == SAFE) * 1.0 - (chosen[1] == SAFE)
    for name, mask in structure.cells():
        if name in table.index:
            found = sign_flip(np.bincount(structure.seed[mask], difference[mask]))
            assert table[name] == pytest.approx(found, abs=0.02)  # the draws depend on the order of the clusters
