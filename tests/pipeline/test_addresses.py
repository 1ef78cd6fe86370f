"""Which stages' addresses move when a setting or a source file changes, and which must not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longsafety.code import PACKAGE, Code
from longsafety.errors import ConfigError
from longsafety.pipeline import addresses as page
from longsafety.pipeline.addresses import Addresses, addresses
from longsafety.pipeline.reuse import ARM, arm

if TYPE_CHECKING:
    from tests.conftest import Place

DATA = ["seeds", "corpus", "samples", "benchmark", "short_safety", "long_align"]
ALL = [*DATA, "audit", "gate", "weights", "answers", "run"]
FROM_SAMPLES = ["samples", "long_align", "audit", "weights", "answers", "run"]
FROM_BENCHMARK = ["benchmark", "audit", "gate", "answers", "run"]


def moved(before: Addresses, after: Addresses) -> set[str]:
    """The stages whose addresses differ."""
    one, other = before.made(), after.made()
    return {stage for stage in {**one, **other} if one.get(stage) != other.get(stage)}


SETTINGS = [
    # what is typed, and the stages that move
    ("scenario.language=zh", [*ALL]),
    ("corpus.min_words=20", [stage for stage in ALL if stage != "seeds"]),
    ("scenario.train_samples=7", ["samples", "short_safety", "long_align", "audit", "weights", "answers", "run"]),
    ("scenario.bench_items=3", FROM_BENCHMARK),
    ("length.train_tokens=200", FROM_SAMPLES),
    ("length.factor=2", FROM_BENCHMARK),
    ("seed=1", ["weights", "answers", "run"]),
    ("data_mix.seed_offset=1", ["weights", "answers", "run"]),
    ("data_mix.epoch_factor=2", ["weights", "answers", "run"]),
    ("scenario.seed=1", [stage for stage in ALL if stage not in ("seeds", "corpus")]),
    ("scenario.strict=true", ["run"]),
    ("training.epochs=3", ["weights", "answers", "run"]),
    ("training.lr_peak=3e-3", ["weights", "answers", "run"]),
    ("trainer.precision=bf16-mixed", ["weights", "answers", "run"]),
    ("evaluation.orders=cyclic", ["answers", "run"]),
    ("evaluation.max_open_tokens=7", ["answers", "run"]),
    ("evaluation.confidence=.9", ["run"]),
    ("contrasts=[[longsafety,base]]", ["run"]),
    ("scoring=official", ["run"]),
    ("report.redact=false", ["run"]),
    ("baseline=longsafety", ["run"]),
    ("evaluation.processes=2", []),
    ("launcher=parallel", []),
    ("tracking.timeout_seconds=3", []),
    ("limits.train_samples=16", []),
]


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "stages"), SETTINGS, ids=[typed for typed, _ in SETTINGS])
def test_a_setting_moves_the_stages_that_read_it_and_no_other(place: Place, typed: str, stages: list[str]) -> None:
    arguments = ["data_mix=longsafety", "data_mix.budget=6", "scenario.train_samples=6", "length.train_tokens=250"]
    arguments += ["evaluation.scorers=[likelihood,letter]"]
    before = addresses(place.settings(*arguments))
    assert moved(before, addresses(place.settings(*arguments, typed))) == set(stages)


@pytest.mark.parametrize("typed", ["length.train_tokens=200", "length=512", "on_bad_row=skip"])
def test_a_training_on_chats_alone_depends_on_what_it_leaves_out(place: Place, tmp_path: Path, typed: str) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."}]}\n', "utf-8")
    mix = ["data_mix=base", f"+data_mix.sources={{own:{{kind:chats,path:{chats},share:1.0}}}}", "data_mix.budget=6"]
    one, other = (addresses(place.settings(*mix, *more)) for more in ([], [typed]))
    assert one.weights and one.weights != other.weights


def test_a_sheet_for_people_moves_nothing(place: Place) -> None:
    opened = "evaluation.scorers=[open]"
    assert not moved(addresses(place.settings(opened)), addresses(place.settings(opened, "evaluation.sheet=9")))


def test_where_results_are_written_moves_nothing(place: Place, tmp_path: Path) -> None:
    before = addresses(place.settings())
    other = place.settings(f"paths.outputs={tmp_path / 'other'}")
    assert not moved(before, addresses(other))


def test_the_untrained_arm_shares_all_data_and_has_no_weights(place: Place) -> None:
    base, trained = (addresses(place.settings(f"data_mix={name}")) for name in ("base", "longsafety"))
    assert moved(base, trained) == {"weights", "answers", "run"}
    assert not base.weights


# --- source code ----------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package whose files a test may change; addresses are computed of it."""
    copy = tmp_path / "longsafety"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    monkeypatch.setattr(page, "CODE", Code(copy))
    page.code.cache_clear()
    yield copy
    page.code.cache_clear()


def again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "CODE", Code(copy))
    page.code.cache_clear()


EVALUATION = ["answers", "run"]
FILES = [
    # a file, and the stages that a change in its code moves
    ("scenarios/build.py", [stage for stage in ALL if stage not in ("seeds", "corpus")]),
    ("scenarios/tasks/query_harmful.py", [stage for stage in ALL if stage not in ("seeds", "corpus")]),
    ("scenarios/assemble.py", [stage for stage in ALL if stage not in ("seeds", "corpus")]),
    ("scenarios/audit/audit.py", ["audit"]),
    ("scenarios/audit/gate.py", ["audit", "gate", "run"]),
    ("scenarios/baselines.py", ["short_safety", "long_align", "weights", "answers", "run"]),
    ("data/mix.py", ["weights", *EVALUATION]),
    ("data/schedule.py", ["weights", *EVALUATION]),
    ("data/trie.py", ["weights", *EVALUATION]),
    ("model/train.py", ["weights", *EVALUATION]),
    ("model/optimizer.py", ["weights", *EVALUATION]),
    ("model/attention.py", ["weights", *EVALUATION]),
    ("model/flash.py", ["weights", *EVALUATION]),
    ("model/last_layer.py", ["weights", *EVALUATION]),
    ("evaluation/asking/ask.py", EVALUATION),
    ("evaluation/asking/truncation.py", EVALUATION),
    ("evaluation/backends/transformers.py", EVALUATION),
    ("evaluation/scores/scoring.py", ["run"]),
    ("evaluation/open_replies/refusal.py", ["run"]),
    ("evaluation/scores/comparison.py", []),
    ("reporting/report.py", []),
    ("planning/training.py", []),
    ("planning/asking.py", []),
    ("tracking/store.py", []),
    ("configuration/compose.py", []),
    ("settings/data.py", []),
    ("errors.py", []),
    ("formats/export.py", []),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stages"), FILES, ids=[name for name, _ in FILES])
def test_a_change_of_code_moves_what_imports_it(
    place: Place, source: Path, monkeypatch: pytest.MonkeyPatch, name: str, stages: list[str]
) -> None:
    settings = place.settings("data_mix=longsafety")
    before = addresses(settings)
    with (source / name).open("a", encoding="utf-8") as file:
        file.write('\n"""Only words."""  # and a comment\n')
    again(source, monkeypatch)
    assert not moved(before, addresses(settings)), "a docstring moves nothing"
    with (source / name).open("a", encoding="utf-8") as file:
        file.write("\nCHANGED = 1\n")
    again(source, monkeypatch)
    assert moved(before, addresses(settings)) == set(stages)


@pytest.mark.slow
def test_a_change_of_attention_asks_every_arm_again(
    place: Place, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [place.settings(f"data_mix={name}") for name in ("base", "short_safety", "longsafety")]
    before = [addresses(arm).answers for arm in arms]
    with (source / "model" / "attention.py").open("a", encoding="utf-8") as file:
        file.write("\nCHANGED = 1\n")
    again(source, monkeypatch)
    assert all(old != addresses(arm).answers for old, arm in zip(before, arms, strict=True))


@pytest.mark.slow
def test_package_data_counts_where_it_is_read(place: Place, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = addresses(place.settings())
    with (source / "scenarios" / "tasks" / "tasks_en.yaml").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    again(source, monkeypatch)
    changed = moved(before, addresses(place.settings()))
    assert {"samples", "benchmark"} <= changed
    assert "weights" in changed


# --- weights that are adopted ---------------------------------------------------------------------------------------


def weights_of(place: Place, folder: Path, *arguments: str) -> Path:
    """What a training leaves, as far as adopting reads it."""
    folder.mkdir(parents=True)
    import json

    (folder / ARM).write_text(json.dumps(arm(place.settings(*arguments))), "utf-8")
    (folder / "training.json").write_text("{}", "utf-8")
    return folder


@pytest.mark.slow
def test_kept_weights_are_adopted_by_the_arm_that_they_are_of(place: Place, tmp_path: Path) -> None:
    root = tmp_path / "weights"
    weights_of(place, root / "aaa", "data_mix=short_safety")
    weights_of(place, root / "bbb", "data_mix=longsafety")
    plain, reused = (
        addresses(place.settings("data_mix=longsafety", *more)) for more in ([], [f"reuse.weights={root}"])
    )
    assert moved(plain, reused) == {"weights", "answers", "run"}
    base = addresses(place.settings("data_mix=base", f"reuse.weights={root}"))
    assert not base.weights


@pytest.mark.parametrize(("text", "why"), [('{"seed": 0', "which cannot be read"), ("[]", "which is no JSON object")])
def test_adopted_weights_whose_origin_is_damaged_are_named(text: str, why: str, place: Place, tmp_path: Path) -> None:
    folder = weights_of(place, tmp_path / "weights", "data_mix=longsafety")
    (folder / ARM).write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=rf"its weights differ in {re.escape(str(folder / ARM))}, {why}"):
        addresses(place.settings("data_mix=longsafety", f"reuse.weights={folder}"))


def test_weights_of_another_arm_are_refused_with_what_differs(place: Place, tmp_path: Path) -> None:
    folder = weights_of(place, tmp_path / "weights", "data_mix=longsafety", "training.lr_peak=3e-3")
    with pytest.raises(ConfigError, match=r"reuse\.weights = \S+: its weights differ in training\.lr_peak \(0\.003"):
        addresses(place.settings("data_mix=longsafety", f"reuse.weights={folder}"))
    with pytest.raises(ConfigError, match=r"reuse\.weights = \S+: holds no trained weights"):
        addresses(place.settings("data_mix=longsafety", f"reuse.weights={tmp_path}/x"))
