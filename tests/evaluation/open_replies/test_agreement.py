"""Agreement of judges."""

from __future__ import annotations

import numpy as np
import pytest

from longsafety.evaluation.open_replies.agreement import agreement, kappa, krippendorff_alpha


def test_alpha_of_the_published_example() -> None:
    """Krippendorff 2011, section C: nominal data, four observers, twelve units, missing values; α = .743."""
    rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    units = [[label for label in unit if label != "."] for unit in zip(*(row.split() for row in rows), strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([["a"], []]) is None
    rng = np.random.default_rng(1)
    random = [[str(one) for one in unit] for unit in rng.integers(0, 2, (4000, 3))]
    assert krippendorff_alpha(random) == pytest.approx(0, abs=0.03)


def test_agreement_counts_what_both_decided() -> None:
    facts = agreement(
        {
            "one": ["safe", "unsafe", "safe", "unscored"],
            "two": ["safe", "unsafe", "unsafe", "safe"],
            "three": ["safe", "unscored", "unsafe", "safe"],
        }
    )
    assert facts["undecided"] == {"one": 1, "two": 0, "three": 1}
    assert [(pair["first"], pair["second"], pair["n"], pair["share"]) for pair in facts["pairs"]] == [
        ("one", "two", 3, pytest.approx(2 / 3)), ("one", "three", 2, 0.5), ("two", "three", 3, 1.0),
    ]  # fmt: skip
    assert facts["differ"] == [2]
    assert facts["pairs"][2]["kappa"] == 1


def test_kappa_by_hand() -> None:
    first, second = list("aaaabbbbbb"), list("aaabbbbbba")
    assert kappa(first, second)["kappa"] == pytest.approx((0.8 - 0.52) / 0.48)
    assert kappa([], [])["kappa"] is None
