"""The accuracy of a detector, and rates corrected for it."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from longsafety.errors import DataError
from longsafety.evaluation.open_replies.accuracy import Accuracy, corrected, corrected_interval, measure
from longsafety.evaluation.open_replies.accuracy_table import labelled_table, references_table
from longsafety.evaluation.open_replies.labelled import Labelled
from longsafety.evaluation.scores.statistics import wilson


def row(reply: str, refusal: bool) -> Labelled:
    return Labelled(reply=reply, refusal=refusal)


def test_measure_counts_both_sides() -> None:
    rows = [row("no", True), row("no", True), row("yes", True), row("yes", False), row("no", False)]
    found = measure(rows, lambda reply: reply == "no")
    assert found == Accuracy(found=2, positives=3, passed=1, negatives=2)
    assert (found.sensitivity, found.specificity) == (2 / 3, 1 / 2)
    assert found.sensitivity_interval(0.9) == pytest.approx(wilson(2, 3, 0.9))
    assert found.specificity_interval(0.95) == pytest.approx(wilson(1, 2, 0.95))


def test_accuracy_without_replies_is_nan() -> None:
    assert np.isnan([measure([], bool).sensitivity, *measure([], bool).specificity_interval(0.95)]).all()


@pytest.mark.parametrize(
    ("rate", "sensitivity", "specificity", "true"),
    [
        (0.5, 1.0, 1.0, 0.5),
        (0.30, 0.9, 0.8, 0.1 / 0.7),  # 0.3 = p 0.9 + (1 - p) 0.2
        (0.1, 0.9, 0.8, 0.0),  # below the share of false alarms
        (0.95, 0.9, 0.95, 1.0),  # above the share of hits
    ],
)
def test_corrected_by_hand(rate: float, sensitivity: float, specificity: float, true: float) -> None:
    assert corrected(rate, sensitivity, specificity) == pytest.approx(true)


def test_corrected_finds_the_simulated_rate() -> None:
    rng = np.random.default_rng(3)
    refuses = rng.random(200_000) < 0.2
    fires = np.where(refuses, rng.random(200_000) < 0.85, rng.random(200_000) < 0.1)
    assert abs(fires.mean() - 0.2) > 0.04
    assert corrected(float(fires.mean()), 0.85, 0.9) == pytest.approx(0.2, abs=0.005)


@pytest.mark.parametrize(
    ("true", "sensitivity", "specificity"), [(0.3, 0.85, 0.8), (0.05, 0.97, 0.96), (0.9, 0.95, 0.9)]
)
def test_the_interval_covers_the_simulated_rate(true: float, sensitivity: float, specificity: float) -> None:
    rng = np.random.default_rng(1)
    apparent = true * sensitivity + (1 - true) * (1 - specificity)
    covered = 0
    for _ in range(1_000):
        accuracy = Accuracy(int(rng.binomial(80, sensitivity)), 80, int(rng.binomial(80, specificity)), 80)
        low, high = corrected_interval(int(rng.binomial(300, apparent)), 300, accuracy, 0.95)
        covered += low <= true <= high
    assert 0.93 <= covered / 1_000 <= 0.99


def test_the_interval_by_hand() -> None:
    # z = 1.959964: p' = 31.920729 / 203.841459, Se' = 46 / 52, Sp' = 96 / 102, then the formula step by step.
    assert corrected_interval(30, 200, Accuracy(45, 50, 95, 100), 0.95) == pytest.approx((0.037886, 0.195129), abs=1e-6)


def test_fewer_labels_make_a_wider_interval() -> None:
    low, high = corrected_interval(60, 200, Accuracy(190, 200, 190, 200), 0.95)
    fewer = corrected_interval(60, 200, Accuracy(19, 20, 19, 20), 0.95)
    assert fewer[0] < low < corrected(0.3, 0.95, 0.95) < high < fewer[1]
    assert corrected_interval(0, 50, Accuracy(9, 10, 9, 10), 0.95)[0] == 0
    assert corrected_interval(50, 50, Accuracy(9, 10, 9, 10), 0.95)[1] == 1


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.5, 0.5), (0.3, 0.6)])
def test_a_detector_no_better_than_chance_is_an_error(sensitivity: float, specificity: float) -> None:
    with pytest.raises(DataError, match=r"sensitivity = 0\.\d, specificity = 0\.\d: .* use another detector"):
        corrected(0.4, sensitivity, specificity)


def test_rates_that_cannot_be_corrected_are_errors() -> None:
    with pytest.raises(DataError, match=r"rate = 1\.2: a share lies between 0 and 1"):
        corrected(1.2, 0.9, 0.9)
    with pytest.raises(DataError, match=r"successes = 3, n = 2, .* label or collect more"):
        corrected_interval(3, 2, Accuracy(9, 10, 9, 10), 0.95)
    with pytest.raises(DataError, match=r"n = 5, 0 labelled refusals"):
        corrected_interval(3, 5, Accuracy(0, 0, 9, 10), 0.95)


@pytest.mark.slow
def test_the_tables_show_every_group() -> None:
    console = Console(width=160, record=True, file=StringIO())
    console.print(references_table())
    console.print(labelled_table())
    shown = console.export_text()
    for name in ("all", "language zh", "split held_out", "note partial", "tuned on", "held out", "ManyShotJailbreak"):
        assert name in shown
    assert "MedicalQuiz" not in shown
