"""Names of what MLflow is given."""

from __future__ import annotations

import pytest
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name

from longsafety.tracking.values import name_part

PLAIN = ("longsafety_twins", "longsafety seed_1", "base at 1,024", "有害数据", "training.lr_peak", "a: b-c")
DIFFERENT = (
    ("有害数据", "安全数据"), ("a\u200bb", "a b"), ("é", "e\u0301"), ("?", "!"),
    ("..", "."), ("x" * 300 + "a", "x" * 300 + "b"), ("数" * 300, "数" * 299), (" a", "a"),
)  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_name_stays(text: str) -> None:
    assert name_part(text) == text.replace(",", "_")


@pytest.mark.parametrize("number", range(len(DIFFERENT)))
def test_two_texts_have_two_names_that_mlflow_takes(number: int) -> None:
    names = [name_part(text) for text in DIFFERENT[number]]
    assert len({*names}) == 2
    for name in names:
        assert name_part(name) == name, "it is given again where a name is made of parts"
        whole = f"interval/{name}_low/{'x' * 30}"
        assert len(whole) <= MAX_ENTITY_KEY_LENGTH
        _validate_metric_name(whole)
