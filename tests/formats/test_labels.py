"""Label columns: what they say, in every spelling, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from longsafety.formats.labels import label_of


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"label": "safe"}, "benign"),
        ({"Label": "UNSAFE"}, "harmful"),
        ({"Prompt Label": "Non-toxic"}, "benign"),
        ({"prompt_harm_label": "unharmful"}, "benign"),
        ({"harmful": "false"}, "benign"),
        ({"is_safe": 0}, "harmful"),
        ({"benign": True}, "benign"),
        ({"toxicity": "1"}, "harmful"),
        ({"type": "safe"}, "benign"),
        ({"data_type": "adversarial_benign"}, "benign"),
        ({"type": "homonyms", "category": "theft"}, None),
        ({"prompt": "safe", "note": "unsafe"}, None),
    ],
)
def test_what_a_label_says(row: dict[str, Any], label: str | None) -> None:
    found = label_of(row)
    assert (found.label, found.problems) == (label, ())
    assert bool(found.columns) == (label is not None)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"label": "theft"}, "label = 'theft': says neither harmful nor benign"),
        ({"label": 1}, "label = 1: says neither harmful nor benign"),
        ({"label": ""}, "label = '': says neither"),
        ({"is_safe": "perhaps"}, "is_safe = 'perhaps': is neither true nor false; write one"),
        ({"label": "safe", "harmful": "yes"}, "label = safe, harmful = yes: contradict each other; correct one"),
    ],
)
def test_a_label_that_says_neither_or_both_is_a_mistake(row: dict[str, Any], problem: str) -> None:
    (found,) = label_of(row).problems
    assert found.startswith(problem)
