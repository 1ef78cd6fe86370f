"""The audit's tables and figures."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from longsafety.reporting import audit_view
from longsafety.reporting.gate_view import gate_table
from longsafety.scenarios.audit.audit import Audit
from tests.records_made import gate_row

KINDS = ("harmful", "short", "benign_query")


def _sizes(tasks: int) -> list[dict[str, Any]]:
    return [
        {"split": split, "task": f"AnUncommonlyLongTask{task}", "scenario": "QH", "kind": kind, "samples": 1000 + task,
         "tokens": 40_000 * (1000 + task), "min": 39_000, "mean": 40_000.0, "median": 40_000.0, "max": 41_000,
         "at_target": None if kind == "short" else 1.0}
        for split in ("train", "bench") for task in range(tasks) for kind in KINDS
    ]  # fmt: skip


def _audit(tasks: int = 3, **changes: Any) -> Audit:
    names = [f"AnUncommonlyLongTask{task}" for task in range(tasks)]
    shared = {"train": 18, "bench": 5, "shared": 2, "examples": ["a", "b"]}
    made = Audit(
        gate=[gate_row("all", "question alone: pairs told apart", 0.6)],
        copies=[{"split": "bench", "task": names[0], "items": 147, "seeds": 40, "questions": 39, "options": 12,
                 "answers": 0, "most": 7}],
        sizes=_sizes(tasks),
        length_edges=[0, 20_000, 40_000, 60_000],
        lengths=[{"split": s, "task": t, "counts": [0, 900, 100]} for s in ("train", "bench") for t in names],
        coverage=[
            {"split": split, "depth": tenth / 10, "max_tokens": 1 << power, "needles": tenth + power}
            for split in ("train", "bench") for tenth in range(10) for power in (14, 15, 16)
        ],
        needles={"contexts": 700, "needles": 1234},
        overlap={
            "documents": shared,
            "seeds": shared | {"shared": 7},
            "ngrams": {"tokens": 13, "bench": 2_000_000, "shared": 31, "share": 31 / 2_000_000,
                       "documents": [{"split": "bench", "document": "moby", "shared": 31, "ngrams": 500}]},
        },
        exact_duplicates=[{"split": "train", "samples": 3000, "duplicates": 4, "groups": [["x", "y"]]}],
        near_duplicates={
            "literals": {"compared": 900, "near": 6, "pairs": [["p", "q", 0.91]]},
            "documents": {"compared": 23, "near": 1, "pairs": [["a", "b", 0.85]]},
        },
        reuse={"documents": 24, "used": 23, "share": 23 / 24, "mean": 9.5, "max": 40,
               "top": [{"document": "moby", "uses": 40}]},
        twins={"benign_query": 3000, "benign_needle": 0, "short": 3000},
        licences={"CC0-1.0": 9000, "CC-BY-4.0": 3000},
        strictest_licence="CC-BY-4.0",
        languages=[{"split": "train", "query": "zh", "context": on, "samples": 50} for on in ("en", "zh", "")],
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def _printed(audit: Audit, width: int = 100) -> str:
    buffer = io.StringIO()
    console = Console(width=width, file=buffer)
    for table in audit_view.audit_tables(audit):
        console.print(table)
    return buffer.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_of_thirteen_tasks_fit_a_screen(width: int) -> None:
    text = _printed(_audit(13), width)
    assert text.count("\n") <= 58
    assert max(map(len, text.splitlines())) <= width
    assert "1,234 found" in text and "CC-BY-4.0" in text


def test_all_tasks_are_summed_without_twins() -> None:
    rows = audit_view.task_rows(_audit())
    assert [row["task"] for row in rows] == [*(f"AnUncommonlyLongTask{task}" for task in range(3)), "all"]
    assert rows[-1] == {
        "task": "all", "train": "3,003", "train_twins": "6,006", "train_mean": "40,000", "train_range": "39,000–41,000",
        "bench": "3,003", "bench_twins": "6,006", "bench_mean": "40,000", "bench_range": "39,000–41,000",
        "at_target": "100%",
    }  # fmt: skip


def test_one_item_off_its_length_shows() -> None:
    sizes = _sizes(1)
    sizes[0] |= {"samples": 100_000, "at_target": 0.99999}
    assert audit_view.task_rows(_audit(1, sizes=sizes))[-1]["at_target"] == "99.9%"


def test_a_task_of_one_split_has_no_numbers_in_the_other() -> None:
    sizes = [row for row in _sizes(1) if row["split"] == "bench"]
    row = audit_view.task_rows(_audit(1, sizes=sizes))[0]
    assert (row["train"], row["train_mean"], row["train_range"], row["bench"]) == ("—", "—", "—", "1,000")


def test_checks_say_what_overlaps_and_repeats() -> None:
    rows = {what: (result, against) for what, result, against in audit_view.check_rows(_audit())}
    assert rows["documents in both splits"] == ("2", "of 18 and 5")
    assert rows["seed items in both splits"][0] == "7"
    assert rows["13-grams in both splits"] == ("31", "<0.1% of bench's 2,000,000; most: moby")
    assert rows["exact duplicates"] == ("4", "of 3,000 items")
    assert rows["near duplicates"] == ("6 + 1", "of 900 literals + 23 documents")
    assert rows["corpus documents used"] == ("23", "95.8% of 24")
    assert rows["contexts a document"] == ("9.5", "mean; at most 40 (moby)")
    assert rows["twins"] == ("6,000 correct", "3,000 query, 3,000 short")
    assert rows["languages"] == ("zh", "zh on en 50, zh on zh 50")


def test_the_grid_adds_both_splits() -> None:
    bounds, grid = audit_view.coverage_grid(_audit())
    assert bounds == [1 << 14, 1 << 15, 1 << 16]
    assert grid[1] == [2 * (tenth + 15) for tenth in range(10)]


def test_lengths_left_out_of_the_table_are_said() -> None:
    coverage = [{"split": "train", "depth": 0.3, "max_tokens": 1 << power, "needles": 1} for power in range(8, 17)]
    text = _printed(_audit(coverage=coverage))
    assert "3 shorter lengths" in text and "≤ 65,536" in text and "≤ 256" not in text


def test_figures_are_written_for_what_there_is(tmp_path: Path) -> None:
    paths = audit_view.save_figures(_audit(), tmp_path / "figures")
    assert list(paths) == ["tokens_by_task", "depth_by_length"]
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in paths.values())
    assert list(audit_view.save_figures(_audit(coverage=[]), tmp_path)) == ["tokens_by_task"]


def test_the_figures_show_every_task_and_count() -> None:
    drawn = audit_view.figures(_audit())
    (axes,) = drawn["tokens_by_task"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"AnUncommonlyLongTask{task}" for task in range(3)
    ]
    assert axes.get_legend_handles_labels()[1] == ["train", "bench"]
    (axes,) = drawn["depth_by_length"].axes
    assert {text.get_text() for text in axes.texts} >= {"28", "50"}


def test_an_empty_build_has_tables_and_no_figures() -> None:
    empty = _audit(sizes=[], lengths=[], coverage=[], languages=[], licences={}, twins={}, gate=[], copies=[])
    assert audit_view.figures(empty) == {}
    text = _printed(empty)
    assert "checks" in text and "not measured" in text and "copies" not in text


def test_a_gate_that_passed_is_one_line() -> None:
    assert audit_view.check_rows(_audit())[0][:2] == ("gate: words alone", "1 passed")
    assert "gate: words alone  1 passed" in _printed(_audit())


def test_each_failed_check_is_red_with_its_value_and_limit() -> None:
    gate = [
        gate_row("DocAttack", "needle alone: pairs told apart", 0.95, limit="at most 0.75", passed=False),
        gate_row("all", "options alone: harm aware", 0.6, limit="", passed=None),
        gate_row("all", "question alone: pairs told apart", 0.6),
    ]
    rows = audit_view.check_rows(_audit(gate=gate))
    failed = "gate failed: DocAttack, needle alone: pairs told apart"
    assert rows[0] == (failed, ".95 [.85,1.05]", "limit at most 0.75; 30 seed items")
    assert "1 of 2 checks failed" in " ".join(_printed(_audit(gate=gate)).split())
    buffer = io.StringIO()
    Console(width=120, file=buffer, force_terminal=True, color_system="standard").print(gate_table(gate))
    [line] = [line for line in buffer.getvalue().splitlines() if "DocAttack" in line]
    assert "\x1b[1;31m" in line


def test_copies_are_counted_by_task_and_split() -> None:
    line = next(line for line in _printed(_audit()).splitlines() if " bench " in line and "147" in line)
    assert line.split()[1:] == ["bench", "147", "40", "39", "12", "—", "7"]
