"""What is told of the lengths of an arm's samples, against figures by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longsafety.data.fit import Fitted
from longsafety.data.length_table import length_rows
from longsafety.data.tokens import TokenRows
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span
from longsafety.settings import Training


def sample(name: str, tokens: int, question: str = "What is it?") -> Sample:
    plain: dict[str, Any] = dict.fromkeys(("task", "scenario", "kind", "category", "seed_id", "licence"), "x")
    return Sample(id=name, pair_id=name, **plain, context=(Span(0, 0, tokens),), question=question, answer="No.")


def test_lengths_by_source(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    samples = [
        sample("a", 100), sample("b", 200, "Who?"), sample("a2", 100, "Why is it?"), sample("long", 900),
        sample("lost", 900, "Where?"),
    ]  # fmt: skip
    sources = ["twins", "alone", "twins", "alone", "gone"]
    fitted = Fitted(samples, tiny_encoder, Training(over_length="drop"), 400)
    rows = TokenRows.write(tmp_path / "rows", fitted, tiny_encoder)
    made = length_rows(sources, rows, fitted.lost)
    sizes = {one.id: len(tiny_encoder.sample_ids(one)[0]) for one in samples}
    assert [row["source"] for row in made] == ["alone", "gone", "twins"]
    alone, gone, twins = made
    answer = int(rows.num_answers[0])
    assert alone == {
        "source": "alone", "rows": 1, **dict.fromkeys(("tokens_min", "tokens_median", "tokens_95"), sizes["b"]),
        "tokens_max": sizes["b"], "row_tokens": sizes["b"], "answer_tokens": answer, "distinct": 1.0, "dropped": 1,
        "trimmed": 0,
    }  # fmt: skip
    assert (gone["rows"], gone["tokens_max"], gone["distinct"], gone["dropped"]) == (0, None, None, 1)
    assert (twins["tokens_min"], twins["tokens_max"]) == (min(sizes["a"], sizes["a2"]), max(sizes["a"], sizes["a2"]))
    one, other = (tiny_encoder.sample_ids(samples[at])[0] for at in (0, 2))
    size = min(len(one), len(other))
    shared = int(np.argmax(one[:size] != other[:size]))
    assert shared > 100
    assert twins["distinct"] == pytest.approx(1 - shared / (len(one) + len(other)))
    assert (twins["answer_tokens"], twins["dropped"]) == (2 * answer, 0)
