"""Do several judges agree? Krippendorff's alpha over all of them, Cohen's kappa of each pair, and where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from statsmodels.stats.inter_rater import cohens_kappa

UNDECIDED = "unscored"


def krippendorff_alpha(units: Sequence[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for nominal labels: 1 - observed over expected disagreement.

    ``units``: for each unit the labels that it was given, by some or all raters; those with fewer than two are no
    evidence. ``None`` where no unit has two, or all labels are the same. Source: Krippendorff 2011, Computing
    Krippendorff's alpha-reliability; its coincidence matrix.
    """
    paired = [Counter(unit) for unit in units if len(unit) > 1]
    values = sum(paired, Counter[str]())
    n = values.total()
    if n == 0 or len(values) < 2:
        return None
    observed = sum(
        (unit.total() ** 2 - sum(count**2 for count in unit.values())) / (unit.total() - 1) for unit in paired
    )
    expected = (n**2 - sum(count**2 for count in values.values())) / (n - 1)
    return 1 - observed / expected


def kappa(first: Sequence[str], second: Sequence[str]) -> dict[str, Any]:
    """n, share, kappa, kappa_low, kappa_high of two raters of the same units (95%); ``None`` where undefined."""
    names = sorted({*first, *second})
    table = np.zeros((max(2, len(names)),) * 2)
    for one, other in zip(first, second, strict=True):
        table[names.index(one), names.index(other)] += 1
    facts: dict[str, Any] = {"n": len(first), "share": table.trace() / len(first) if first else None}
    with np.errstate(invalid="ignore", divide="ignore"):
        found = cohens_kappa(table) if first else None
    values = {"kappa": "kappa", "kappa_low": "kappa_low", "kappa_high": "kappa_upp"}
    numbers = {name: float(getattr(found, key, np.nan)) for name, key in values.items()}
    return facts | {name: value if np.isfinite(value) else None for name, value in numbers.items()}


def agreement(verdicts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """``judges``, ``units``, ``alpha``, ``undecided`` (judge → replies without a verdict), ``pairs`` (``first``,
    ``second`` and :func:`kappa` on what both decided) and ``differ`` (places of the units with two verdicts or more).

    ``verdicts``: judge → its verdicts on the same replies.
    """
    decided = [[one for one in unit if one != UNDECIDED] for unit in zip(*verdicts.values(), strict=True)]
    pairs = []
    for first, second in combinations(verdicts, 2):
        both = [pair for pair in zip(verdicts[first], verdicts[second], strict=True) if UNDECIDED not in pair]
        mine, others = [one for one, _ in both], [other for _, other in both]
        pairs.append({"first": first, "second": second, **kappa(mine, others)})
    return {
        "judges": list(verdicts),
        "units": len(decided),
        "alpha": krippendorff_alpha(decided),
        "undecided": {name: list(given).count(UNDECIDED) for name, given in verdicts.items()},
        "pairs": pairs,
        "differ": [place for place, unit in enumerate(decided) if len(set(unit)) > 1],
    }
