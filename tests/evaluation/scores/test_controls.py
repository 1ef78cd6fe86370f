"""An arm against its own blind controls."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from longsafety.evaluation.scores.controls import CONTROLS, control_table


def _outcomes(pairs: int, contexts: int, item: float, control: float, suffix: str = "_no_question") -> pd.DataFrame:
    """Safe response of ``pairs`` seed items in ``contexts`` contexts each, and of their controls."""
    rows: list[dict[str, Any]] = []
    for seed in range(pairs):
        for context in range(contexts):
            head = {"scorer": "likelihood", "task": "T", "max_tokens": 256, "pair_id": f"{seed}-{context}"}
            head |= {"source": f"s{seed}"}
            rows.append(head | {"metric": "safe_response", "value": item})
            rows.append(head | {"metric": f"safe_response{suffix}", "value": control})
    return pd.DataFrame(rows)


def test_each_item_is_held_against_its_own_control_and_the_seed_items_are_counted() -> None:
    table = control_table({"a": _outcomes(8, 3, 1.0, 0.0), "b": _outcomes(8, 3, 1.0, 1.0)}, confidence=0.95)
    assert list(table.columns) == CONTROLS and set(table["task"]) == {"T", "all"}
    whole = table[table["task"] == "all"].set_index("arm")
    assert (whole["n"] == 24).all() and (whole["seeds"] == 8).all() and set(whole["control"]) == {"no_question"}
    assert whole.loc["a", "difference"] == 1.0 and whole.loc["b", "difference"] == 0.0
    # Eight seed items, not 24 items: the least p-value is 2 in 2^8. Benjamini and Hochberg over two arms doubles it.
    assert whole.loc["a", "p_value"] == pytest.approx(2 / 2**8)
    assert whole.loc["a", "p_adjusted"] == pytest.approx(4 / 2**8)
    assert whole.loc["b", "p_value"] == 1.0


def test_too_few_seed_items_have_no_p_value() -> None:
    table = control_table({"a": _outcomes(5, 9, 1.0, 0.0)}, confidence=0.95)
    assert table["p_value"].isna().all() and (table["difference"] == 1.0).all()


def test_without_controls_there_are_no_rows() -> None:
    table = control_table({"a": _outcomes(8, 1, 1.0, 0.0, suffix="_short")}, confidence=0.95)
    assert table.empty and list(table.columns) == CONTROLS
