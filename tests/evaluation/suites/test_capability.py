"""Standard suites by lm-evaluation-harness: a local task file, and what is said where the harness is missing."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.suites.capability import COLUMNS, measure_harness
from longsafety.evaluation.suites.names import absolute_suites, suite_problems, suites_fingerprint

if TYPE_CHECKING:
    from tests.conftest import Place

QUESTIONS = 12


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    folder.mkdir()
    rows = [{"question": f"Colour {at}?", "choices": ["red", "green"], "answer": at % 2} for at in range(QUESTIONS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    task = {
        "task": "local_colours",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(folder / "rows.jsonl")},
            "cache_dir": str(tmp_path / "cache"),
        },
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in task.items())
    (folder / "colours.yaml").write_text(lines, "utf-8")
    return folder / "colours.yaml"


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_the_harness_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "lm_eval" else found(name))
    told = r"evaluation\.capability = \[lm_eval:arc_easy\]: lm-evaluation-harness is not installed; pip install "
    with pytest.raises(ConfigError, match=told):
        place.settings("evaluation.capability=[lm_eval:arc_easy]")
    assert not place.outputs.exists()
    assert place.settings().evaluation.capability == []


@pytest.mark.usefixtures("_installed")
def test_unknown_suites_are_refused(task_file: Path) -> None:
    assert suite_problems(["lm_eval:arc_easy", f"lm_eval:{task_file}"]) == []
    problems = suite_problems(["arc_easy", "lm_eval:", f"lm_eval:{task_file}.yaml"])
    rules = [
        "arc_easy: no such suite; give icl, lm_eval:TASK",
        "lm_eval:: no such suite",
        r".*\.yaml\.yaml: no such file; ",
    ]
    assert all(re.match(f"evaluation.capability = {rule}", told) for rule, told in zip(rules, problems, strict=True)), (
        problems
    )


def test_a_task_file_is_known_by_its_place_and_content(task_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(task_file.parent)
    suites = absolute_suites(["lm_eval:arc_easy", "lm_eval:colours.yaml"])
    assert suites == ["lm_eval:arc_easy", f"lm_eval:{task_file}"]
    before = suites_fingerprint(suites)
    assert suites_fingerprint(suites) == before
    with (task_file.parent / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert suites_fingerprint(suites) != before


def test_a_local_task_runs_and_is_reported(place: Place, task_file: Path) -> None:
    pytest.importorskip("lm_eval")
    place.execute("data_mix=base", "scenario.bench_items=2", f"evaluation.capability=[lm_eval:{task_file}]")
    run = place.folder("runs", "run/*")
    table = pd.read_parquet(run / "capability.parquet")
    assert list(table) == COLUMNS
    [row] = table.to_dict("records")
    assert (row["task"], row["metric"], row["n"]) == ("local_colours", "acc", QUESTIONS)
    assert row["value"] * QUESTIONS == pytest.approx(round(row["value"] * QUESTIONS))
    assert row["stderr"] == pytest.approx((row["value"] * (1 - row["value"]) / (QUESTIONS - 1)) ** 0.5)
    assert json.loads((run / "record.json").read_text("utf-8"))["capability"] == [row]


def test_a_limit_and_unavailable_tasks(task_file: Path, tiny_cache: Path, tiny_model: Any) -> None:
    pytest.importorskip("lm_eval")
    from longsafety.model.load import load_model
    from longsafety.model.tokenizer import load_tokenizer

    network, tokenizer = load_model(tiny_model, tiny_cache, seed=0), load_tokenizer(tiny_model, tiny_cache)

    def run(suite: str) -> list[dict[str, Any]]:
        return measure_harness(network, tokenizer, [suite], limit=5, batch_size=2, window=2048, seed=0)

    assert [row["n"] for row in run(f"lm_eval:{task_file}")] == [5]
    with pytest.raises(DataError, match=r"lm_eval:no_such_task: lm-evaluation-harness knows no task no_such_task; "):
        run("lm_eval:no_such_task")
    (task_file.parent / "rows.jsonl").unlink()
    with pytest.raises(DataError, match=r"colours\.yaml: lm-evaluation-harness could not ask it \(.*\); make its data"):
        run(f"lm_eval:{task_file}")
    task_file.write_text("a: 1\n", "utf-8")
    with pytest.raises(DataError, match=r"colours\.yaml:1: no task file of lm-evaluation-harness"):
        run(f"lm_eval:{task_file}")
