"""Names of arms: two are never alike, and who compares recorded answers can give them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError
from longsafety.settings import arm_of

SCORES = "stages=[score,report]"


def recorded(folder: Path) -> Path:
    folder.mkdir(parents=True)
    pairs = [["A", "no"], ["B", "yes"]]
    row = {"id": 1, "response": "B", "choices": pairs, "gt": pairs[1], "chosen": pairs[1], "ha": True, "sr": True}
    (folder / "Task.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    return folder


def labels(*typed: str, multirun: bool = False) -> list[str]:
    return [job.label for job in settle(compose_jobs([SCORES, *typed], multirun=multirun))]


def test_folders_of_one_name_are_told_apart_by_those_above(tmp_path: Path) -> None:
    one, two, three = (recorded(tmp_path / name) for name in ("monday/llama", "friday/llama", "friday/qwen seed=1"))
    assert labels(f"evaluation.answers=[{one},{two},'{three}']") == [
        "monday/llama", "friday/llama", "qwen\u00a0seed=1",
    ]  # fmt: skip
    assert labels(f"evaluation.answers={one},{two}", multirun=True) == ["monday/llama", "friday/llama"]
    with pytest.raises(ConfigError, match="give each value once"):
        labels(f"evaluation.answers=[{one},{one}]")


def test_names_can_be_given(tmp_path: Path) -> None:
    one, two = recorded(tmp_path / "a=b" / "llama"), recorded(tmp_path / "c")
    assert labels(f"evaluation.answers=[基线={one},after={two}]") == ["基线", "after"]
    assert labels(f"evaluation.answers=mine={one}") == ["mine"]
    assert labels(f"evaluation.answers={one}") == ["llama"]  # a folder above has an = in its name
    assert labels(f"evaluation.answers={one}", "label=theirs") == ["theirs"]
    assert labels(f"evaluation.answers=[{one},{two}]", "label=x") == ["x llama", "x c"]
    job = settle(compose_jobs([SCORES, f"evaluation.answers=[after={two},{one}]", "baseline=after"]))[0]
    assert job.baseline == "after" and job.evaluation.answers == str(two)


def test_names_that_look_alike_or_act_are_told_apart(tmp_path: Path) -> None:
    one, two = recorded(tmp_path / "x" / "e\u0301"), recorded(tmp_path / "y" / "\u00e9")
    assert labels(f"evaluation.answers=[{one},{two}]") == ["x/e\u0301", "y/\u00e9"]
    turned = recorded(tmp_path / "\u202egnp.a")
    assert labels(f"evaluation.answers={turned}") == ["⟨U+202E⟩gnp.a"]
    assert labels(f"evaluation.answers=[same={one},same={two}]") == ["same x/e\u0301", "same y/\u00e9"]


def test_folders_that_own_runs_write_have_their_arms_names(tmp_path: Path) -> None:
    folders = [recorded(tmp_path / name / "official") for name in ("base-1", "longsafety-2")]
    for folder, label in zip(folders, ("base", "longsafety"), strict=True):
        (folder.parent / "record.json").write_text(json.dumps({"label": label}), "utf-8")
    assert labels(f"evaluation.answers=[{folders[0]},{folders[1]}]") == ["base", "longsafety"]


def test_a_label_names_a_run_of_our_own_too() -> None:
    typed = ["scale=smoke", "data_mix=base,longsafety", "label=mine"]
    assert [job.label for job in settle(compose_jobs(typed))] == ["mine data_mix=base", "mine data_mix=longsafety"]
    assert arm_of("seed=3 x seed=1") == "seed=3 x"


def test_a_long_text_does_not_fill_a_label() -> None:
    text = "You are a harbour master who answers in one sentence and never lies"
    typed = ["scale=smoke", "data_mix=base", f"evaluation.system=none,{text}"]
    first, second = (job.label for job in settle(compose_jobs(typed, multirun=True)))
    assert first == "base evaluation.system=none" and len(second) < 90 and second != first
