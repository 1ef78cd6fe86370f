"""The needle heatmap: the share of benign needles found, cell by cell."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from longsafety.evaluation.scores.comparison import Arm
from longsafety.evaluation.scores.needle_map import COLUMNS, needle_map
from longsafety.reporting.needles import needle_figure


def answer(number: int, depth: float | None, found: bool, **changes: Any) -> dict[str, Any]:
    roles = ["hallucinates", "ignores", "aware_unsafe", "safe"]
    return {
        "item_id": f"i{number}", "pair_id": f"p{number}", "task": "HarmfulNIAH", "scenario": "PH",
        "kind": "benign_needle", "category": "c", "seed_id": f"s{number}", "document_id": None, "max_tokens": 512,
        "num_tokens": 500, "depth": depth,
        "cut_tokens": 0, "needle_kept": True, "scorer": "likelihood", "order_index": 0, "roles": roles,
        "scores": [-1.0, -1.0, -0.5, -1.0], "wording_scores": None, "comply_role": "aware_unsafe", "order": None,
        "right": "aware_unsafe",
        "chosen": 2 if found else 1, "margin": 0.5, "reply": None, "status": "ok",
    } | changes  # fmt: skip


def arm(label: str, *rows: dict[str, Any]) -> Arm:
    return Arm(label, pd.DataFrame(list(rows)))


def test_a_cell_is_the_share_found_at_a_length_and_a_tenth_of_depth() -> None:
    rows = [answer(number, 0.11 + number / 100, number < 3) for number in range(4)]  # .11 to .14
    rows += [answer(9, 0.52, True), answer(9, 0.52, False, max_tokens=1024)]
    table = needle_map([arm("b", *rows), arm("a", answer(0, 0.9, False))], confidence=0.95)
    cells = {(row.arm, row.max_tokens, row.depth): (row.n, row.value) for row in table.itertuples()}
    assert cells == {
        ("b", 512, 0.15): (4, 0.75),
        ("b", 512, 0.55): (1, 1.0),
        ("b", 1024, 0.55): (1, 0.0),
        ("a", 512, 0.85): (1, 0.0),  # .9 closes the ninth tenth
    }
    assert list(table["arm"].unique()) == ["b", "a"], "arms as they came"
    assert table["chance"].tolist() == pytest.approx([1 / 4] * 4)
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "harmful", "right": "safe"},
        {"kind": "benign_query"},
        {"task": "CountingCrimes"},
        {"needle_kept": False},
        {"depth": None},
    ],
)
def test_answers_without_a_single_needle_are_left_out(changes: dict[str, Any]) -> None:
    only = answer(0, 0.1, True) | changes
    assert needle_map([arm("a", only)], confidence=0.95).empty
    both = needle_map([arm("a", only, answer(1, 0.1, False))], confidence=0.95)
    assert both[["n", "value"]].to_numpy().tolist() == [[1, 0.0]]
    assert list(both) == COLUMNS


def test_answers_that_do_not_say_whether_something_was_cut_count() -> None:
    rows = [answer(0, 0.1, True, needle_kept=None), answer(1, 0.1, True)]
    assert needle_map([arm("a", *rows)], confidence=0.95)["n"].tolist() == [2]


def test_the_heatmap_shows_every_cell_in_its_arms_panel() -> None:
    rows = [answer(number, depth, number % 2 == 0) for number, depth in enumerate((0.1, 0.5, 0.9))]
    table = needle_map([arm("one", *rows), arm("two", rows[0])], confidence=0.95)
    figure = needle_figure(table, "likelihood", ["one", "two"])
    assert figure is not None
    assert {axes.get_title(loc="left"): [text.get_text() for text in axes.texts] for axes in figure.axes} == {
        "one": ["1.00", ".00", "1.00"],
        "two": ["1.00"],
    }
    assert needle_figure(table, "letter", ["one", "two"]) is None
