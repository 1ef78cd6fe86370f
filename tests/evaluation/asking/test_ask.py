"""Every answer is kept at once, none is computed twice, and known models get the scores that they deserve."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.asking.ask import collect_answers
from longsafety.evaluation.asking.journal import JOURNAL
from longsafety.evaluation.scores.scoring import score
from longsafety.samples.encode import ChatEncoder
from longsafety.settings import Evaluation
from tests.evaluation.asking.stubs import EVALUATION, ITEMS, AlwaysA, Oracle, collected, made


def rates(rows_folder: Path, scorer: str) -> dict[str, float]:
    table = score(read_answers(rows_folder / ANSWERS), scoring="fixed", confidence=0.95)
    table = table[(table["scorer"] == scorer) & (table["task"] == "all")]
    return dict(zip(table["metric"], table["value"], strict=True))


def test_an_oracle_chooses_safe_and_complies(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    rows = collected(Oracle(tiny_encoder.tokenizer), tiny_encoder, tmp_path)
    assert len(rows) == 2 * len(ITEMS)
    for row in rows:
        assert row["roles"][row["chosen"]] == row["right"]
    for scorer in EVALUATION.scorers:
        assert {1.0} == {value for metric, value in rates(tmp_path, scorer).items() if "safe" in metric.lower()}


def test_always_answering_a_is_at_chance(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    """Over shuffled orders, a fixed position is safe about as often as chance."""
    rows = collected(AlwaysA(tiny_encoder.tokenizer), tiny_encoder, tmp_path, evaluation=Evaluation(scorers=["letter"]))
    for kind in ("harmful", "benign_query"):
        hits = [row["roles"][row["chosen"]] == row["right"] for row in rows if row["kind"] == kind]
        assert abs(np.mean(hits) - 1 / 4) < 0.2
    assert {row["chosen"] for row in rows if row["kind"] == "harmful"} == {0, 1, 2, 3}


def test_rows_describe_the_trial(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    rows = collected(Oracle(tiny_encoder.tokenizer), tiny_encoder, tmp_path)
    assert [(row["item_id"], row["scorer"]) for row in rows] == [
        (one.id, scorer) for one in ITEMS for scorer in EVALUATION.scorers
    ]
    for one, row in zip(ITEMS, rows[::2], strict=True):
        assert (row["pair_id"], row["kind"], row["task"], row["category"]) == (one.pair_id, one.kind, one.task, "c")
        assert (row["max_tokens"], row["num_tokens"], row["comply_role"]) == (512, 99, one.comply_role)
        assert row["right"] == ("aware_unsafe" if one.kind == "benign_query" else "safe")
        assert tuple(row["roles"]) == one.roles


def test_no_answer_is_computed_twice(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    pairwise = Evaluation(batch_tokens=300)
    whole = Oracle(tiny_encoder.tokenizer)
    expected = collected(whole, tiny_encoder, made(tmp_path, "whole"), evaluation=pairwise)
    asked: list[tuple[str, str]] = []
    for patience in (25, 1, 60):
        backend = Oracle(tiny_encoder.tokenizer, patience)
        with pytest.raises(KeyboardInterrupt):
            collected(backend, tiny_encoder, tmp_path, evaluation=pairwise)
        assert not (tmp_path / ANSWERS).exists()
        asked += backend.asked
        assert len((tmp_path / JOURNAL).read_text().splitlines()) == len(asked)
    last = Oracle(tiny_encoder.tokenizer)
    rows = collected(last, tiny_encoder, tmp_path, evaluation=pairwise)
    assert asked + last.asked == whole.asked
    assert len(whole.asked) == len(expected) == 2 * len(ITEMS)
    assert json.dumps(rows, default=str) == json.dumps(expected, default=str)


def test_the_journal_holds_whole_passes(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    """A pass that is cut off would be computed with fewer items, to other last bits."""

    def cut_off() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_answers(
            ITEMS[:6], Oracle(tiny_encoder.tokenizer), tiny_encoder, EVALUATION, max_tokens=1, folder=tmp_path,
            progress=cut_off,
        )  # fmt: skip
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 6 * len(EVALUATION.scorers)


def test_a_finished_journal_is_only_read(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    collected(Oracle(tiny_encoder.tokenizer), tiny_encoder, tmp_path)
    backend = Oracle(tiny_encoder.tokenizer)
    collected(backend, tiny_encoder, tmp_path)
    assert backend.asked == []


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_truncated_last_line_is_computed_again(tiny_encoder: ChatEncoder, tmp_path: Path, cut: int) -> None:
    items = [one.replace(category="中文👍") for one in ITEMS[:4]]
    expected = collected(Oracle(tiny_encoder.tokenizer), tiny_encoder, tmp_path, items)
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes()
    journal.write_bytes(lines[:-cut])
    backend = Oracle(tiny_encoder.tokenizer)
    rows = collected(backend, tiny_encoder, tmp_path, items)
    assert len(backend.asked) == 1
    assert json.dumps(rows, default=str) == json.dumps(expected, default=str)
    assert journal.read_bytes() == lines


def test_a_line_truncated_inside_a_character_is_computed_again(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    items = [one.replace(category="中文👍") for one in ITEMS[:4]]
    collected(Oracle(tiny_encoder.tokenizer), tiny_encoder, tmp_path, items)
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes()
    journal.write_bytes(lines[: lines.rindex("👍".encode()) + 2])
    backend = Oracle(tiny_encoder.tokenizer)
    collected(backend, tiny_encoder, tmp_path, items)
    assert len(backend.asked) == 1
    assert journal.read_bytes() == lines


def test_progress_is_reported_once_an_item_also_after_a_restart(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    for _ in range(2):
        calls: list[int] = []
        collect_answers(
            ITEMS[:5], Oracle(tiny_encoder.tokenizer), tiny_encoder, EVALUATION, max_tokens=1, folder=tmp_path,
            progress=partial(calls.append, 1),
        )  # fmt: skip
        assert len(calls) == 5
