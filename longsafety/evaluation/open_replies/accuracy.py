"""How often a yes-or-no detector is right, and the true rate behind its counts.

A detector that errs reports ``rate * sensitivity + (1 - rate) * (1 - specificity)``; :func:`corrected` inverts that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scipy.stats import norm

from longsafety.errors import DataError
from longsafety.evaluation.open_replies.labelled import Labelled
from longsafety.evaluation.scores.statistics import wilson


@dataclass(frozen=True)
class Accuracy:
    """A detector's correct decisions: it detected ``found`` of the ``positives`` and passed ``passed`` of the
    ``negatives``."""

    found: int
    positives: int
    passed: int
    negatives: int

    @property
    def sensitivity(self) -> float:
        """The share of refusals that were detected; nan where there were none."""
        return self.found / self.positives if self.positives else float("nan")

    @property
    def specificity(self) -> float:
        """The share of other replies that were passed; nan where there were none."""
        return self.passed / self.negatives if self.negatives else float("nan")

    def sensitivity_interval(self, confidence: float) -> tuple[float, float]:
        """Wilson score interval; nan where there are no refusals."""
        return _wilson(self.found, self.positives, confidence)

    def specificity_interval(self, confidence: float) -> tuple[float, float]:
        """Wilson score interval; nan where there are only refusals."""
        return _wilson(self.passed, self.negatives, confidence)


def measure(labelled: Iterable[Labelled], detects: Callable[[str], bool]) -> Accuracy:
    """Counts how often a detector agrees with the labels."""
    hits = {True: [0, 0], False: [0, 0]}
    for row in labelled:
        hits[row.refusal][0] += detects(row.reply) == row.refusal
        hits[row.refusal][1] += 1
    return Accuracy(*hits[True], *hits[False])


def corrected(rate: float, sensitivity: float, specificity: float) -> float:
    """The true rate behind a detector's apparent ``rate``, clipped to [0, 1].

    ``(rate + specificity - 1) / (sensitivity + specificity - 1)``: Rogan and Gladen 1978, Estimating prevalence from
    the results of a screening test, Am. J. Epidemiol. 107:71-76. A detector no better than chance is a ``DataError``.
    """
    for name, value in (("rate", rate), ("sensitivity", sensitivity), ("specificity", specificity)):
        if not 0 <= value <= 1:
            raise DataError(f"{name} = {value}: a share lies between 0 and 1")
    return min(1.0, max(0.0, (rate + specificity - 1) / _informedness(sensitivity, specificity)))


def corrected_interval(successes: float, n: int, accuracy: Accuracy, confidence: float) -> tuple[float, float]:
    """Interval of the true rate when a detector of estimated ``accuracy`` fired ``successes`` times in ``n`` replies.

    Includes the uncertainty of both sensitivity and specificity: Lang and Reiczigel 2014, Confidence limits for
    prevalence of disease adjusted for estimated sensitivity and specificity, Prev. Vet. Med. 113:13-22. Clipped to
    [0, 1]; a ``DataError`` where a count is 0 or the detector is no better than chance.
    """
    if not 0 <= successes <= n or not n or not accuracy.positives or not accuracy.negatives:
        raise DataError(
            f"successes = {successes}, n = {n}, {accuracy.positives} labelled refusals, {accuracy.negatives} others: "
            "an interval needs 0 <= successes <= n and at least one reply of each; label or collect more replies"
        )
    _informedness(accuracy.sensitivity, accuracy.specificity)
    z = float(norm.ppf((1 + confidence) / 2))
    trials, positives, negatives = n + z**2, accuracy.positives + 2, accuracy.negatives + 2
    share = (successes + z**2 / 2) / trials
    sensitivity, specificity = (accuracy.found + 1) / positives, (accuracy.passed + 1) / negatives
    gain = _informedness(sensitivity, specificity)
    centre = (share + specificity - 1) / gain
    of_sensitivity = sensitivity * (1 - sensitivity) / positives
    of_specificity = specificity * (1 - specificity) / negatives
    shift = 2 * z**2 * (centre * of_sensitivity - (1 - centre) * of_specificity)
    variance = share * (1 - share) / trials + centre**2 * of_sensitivity + (1 - centre) ** 2 * of_specificity
    half = z * variance**0.5 / gain
    return min(1.0, max(0.0, centre + shift - half)), min(1.0, max(0.0, centre + shift + half))


def _informedness(sensitivity: float, specificity: float) -> float:
    gain = sensitivity + specificity - 1
    if not gain > 0:
        raise DataError(
            f"sensitivity = {sensitivity}, specificity = {specificity}: a detector whose two shares sum to 1 or less "
            "says nothing about the rate; label more replies, or use another detector"
        )
    return gain


def _wilson(successes: int, n: int, confidence: float) -> tuple[float, float]:
    low, high = wilson(successes, n, confidence)
    return float(low), float(high)
