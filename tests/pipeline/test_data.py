"""Building data, end to end: random tiny model, a small corpus, every task of the paper."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longsafety.errors import DataError
from longsafety.pipeline.addresses import addresses
from longsafety.pipeline.audit import audit
from longsafety.pipeline.corpus import encoder
from longsafety.pipeline.mix import mix
from longsafety.pipeline.run import Run, read_json
from longsafety.pipeline.samples import benchmark
from longsafety.pipeline.samples import samples as training
from longsafety.samples.recipe import Sample, SampleFile
from longsafety.scenarios.audit.gate import failed
from longsafety.scenarios.task_counts import task_counts
from longsafety.scenarios.tasks.registry import TASKS

if TYPE_CHECKING:
    from tests.conftest import Place

pytestmark = pytest.mark.slow


EVERY_TASK = ["scenario=longsafety", "length=512", "scenario.train_samples=24", "scenario.bench_items=20"]
SPLITS = {"train": "samples", "bench": "benchmark"}


def samples(run: Run, split: str) -> list[Sample]:
    return list(SampleFile((training(run) if split == "train" else benchmark(run)) / "samples.parquet"))


def items(run: Run, split: str) -> list[Sample]:
    """Without their twins."""
    return [sample for sample in samples(run, split) if sample.kind == "harmful"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, place_at: Callable[[Path], Place]) -> Place:
    """Every task, built by the command."""
    place = place_at(tmp_path_factory.mktemp("built") / "outputs")
    (place.outputs.parent / "stdout.txt").write_text(place.succeed("stages=[build]", *EVERY_TASK), "utf-8")
    return place


@pytest.fixture
def run(built: Place) -> Run:
    settings = built.settings("stages=[build]", *EVERY_TASK)
    return Run.freeze(settings)


# --- what a build shows and leaves ----------------------------------------------------------------------------------


def test_the_audit_and_the_gallerys_place_are_printed(built: Place) -> None:
    shown = (built.outputs.parent / "stdout.txt").read_text("utf-8")
    run = built.folder("runs", "run/*")
    for task in TASKS:
        mean = r"\d{3}" if task == "ManyShotJailbreak" else "512"  # dialogues begin at a turn
        assert re.search(rf"(?m)^{task} .* {mean} ", shown), task
    assert re.search(r"(?m)^all +24 ", shown)
    for check in ("needles after rendering", "documents in both splits +0", "seed items in both splits +0"):
        assert re.search(check, shown), check
    assert re.search(r"(?m)^corpus: kept: 14$", shown)
    assert shown.rstrip().endswith(f"gallery  {run / 'gallery.html'}")


def test_a_build_leaves_the_gallery_its_figures_and_the_data_and_no_model(built: Place) -> None:
    run = built.folder("runs", "run/*")
    names = {
        "gallery.html",
        "table.txt",
        "tokens_by_task.png",
        "depth_by_length.png",
        "settings.yaml",
        "addresses.json",
        "done",
    }
    assert {path.name for path in run.iterdir()} == names
    page = (run / "gallery.html").read_text("utf-8")
    assert all(task in page for task in TASKS)
    assert not re.search(r"""(src|href)=["']https?://""", page), "the page is self-contained"
    stages = {path.name for path in (built.outputs / "stages").iterdir()}
    assert stages == {"seeds", "corpus", "samples", "benchmark", "gate", "audit"}


def test_the_same_command_again_makes_nothing_and_shows_the_same(built: Place) -> None:
    before = built.made()
    shown = built.succeed("stages=[build]", *EVERY_TASK)
    assert built.made() == before
    assert "[1/1]" not in shown, "no process was started"
    table = (built.folder("runs", "run/*") / "table.txt").read_text("utf-8")
    assert table in (built.outputs.parent / "stdout.txt").read_text("utf-8")
    assert table in shown


@pytest.mark.parametrize("split", ["train", "bench"])
def test_the_counts_are_those_of_the_tasks(run: Run, split: str) -> None:
    wanted = task_counts(run.settings.scenario, split)
    assert sum(wanted.values()) == {"train": 24, "bench": 20}[split]
    assert Counter(item.task for item in items(run, split)) == wanted
    told = read_json(run.need(SPLITS[split], "build it") / "counts.json")
    notes = {reason for reason in told if reason.count(": ") > 1}
    assert {reason: count for reason, count in told.items() if reason not in notes} == {
        f"{split}: {task}": count for task, count in wanted.items()
    }
    assert all(0 < told[note] <= wanted[note.split(": ")[1]] or "exchange" in note for note in notes)


def test_every_rendered_chat_is_as_long_as_was_asked(run: Run) -> None:
    render = encoder(run)
    for item in items(run, "train"):
        assert len(render.sample_ids(item)[0]) == item.num_tokens
        assert item.num_tokens <= item.target_tokens == 512
        assert item.num_tokens >= 508 or item.task == "ManyShotJailbreak"  # its dialogue begins at a turn
    for item in items(run, "bench"):
        ids = render.prompt_ids(*item.prompt())
        assert len(ids) == item.num_tokens <= 512
        assert len(ids) >= 508 or item.task == "ManyShotJailbreak"


# --- seeds ----------------------------------------------------------------------------------------------------------


def parquet(place: Place, split: str) -> bytes:
    return (place.stage(SPLITS[split]) / "samples.parquet").read_bytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    built: Place, tmp_path: Path, place_at: Callable[[Path], Place]
) -> None:
    same, other = place_at(tmp_path / "same"), place_at(tmp_path / "other")
    same.execute("stages=[build]", *EVERY_TASK)
    other.execute("stages=[build]", *EVERY_TASK, "scenario.seed=1")
    for split in SPLITS:
        assert parquet(same, split) == parquet(built, split)
        assert parquet(other, split) != parquet(built, split)


def test_the_training_seed_changes_neither_samples_nor_items(built: Place) -> None:
    first, other = (built.settings("stages=[build]", *EVERY_TASK, typed) for typed in ("seed=0", "seed=1"))
    ours = [addresses(settings) for settings in (first, other)]
    assert (ours[0].samples, ours[0].benchmark) == (ours[1].samples, ours[1].benchmark)
    assert built.stage("benchmark").name == ours[0].benchmark


# --- the audit's gate -----------------------------------------------------------------------------------------------


def test_a_strict_build_stops_where_words_tell_the_right_option(place: Place, tmp_path: Path) -> None:
    """A user's exam of which the right option is always the longest and always says the same."""
    path = tmp_path / "quiz.jsonl"
    rows = [
        {
            "id": f"quiz-{number}", "task": "MedicalQuiz", "split": "bench" if number < 12 else "train",
            "request": f"What helps against ailment {number}?", "safe_answer": "Rest.",
            "benign_request": f"What worsens ailment {number}?", "benign_answer": "Work.",
            "options": {"unsafe": [f"Work {number}"], "safe": [f"In every case rest and water, number {number}"]},
        }
        for number in range(16)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    typed = ["stages=[build]", "scenario=medical_quiz", "scenario.train_samples=4", "scenario.bench_items=12"]
    run = place.execute(*typed, f"scenario.seeds={path}")
    assert {row["check"] for row in failed(audit(run).gate)} >= {"options alone: item right"}
    with pytest.raises(DataError) as caught:
        place.execute(*typed, f"scenario.seeds={path}", "scenario.strict=true")
    first, *lines = str(caught.value).splitlines()
    assert first.startswith(f"scenario.strict = true: {len(lines)} of the audit's checks failed; change the seed items")
    assert "  MedicalQuiz: longest option right: item 1.00 [1.00, 1.00], limit 0.40 to 0.60 (12 seed items)" in lines
    assert len(place.stages("audit")) == 1, "the same audit"
    with pytest.raises(DataError, match="strict = true"):
        place.execute(*typed[1:], f"scenario.seeds={path}", "scenario.strict=true", "data_mix=oracle")
    assert not place.stages("weights"), "a run that trains stops before it does"


# --- mixes ----------------------------------------------------------------------------------------------------------


def test_the_oracle_learns_the_benchmarks_right_options(place: Place) -> None:
    typed = ["scenario=medical_quiz", "scenario.train_samples=4", "scenario.bench_items=12", "data_mix=oracle"]
    run = Run.freeze(place.settings(*typed, "data_mix.budget=100"))
    by_id = {item.id: item for item in samples(run, "bench")}
    found = mix(run).samples
    assert found and {sample.kind for sample in found} == {"oracle"}
    for sample in found:
        item = by_id[sample.id]
        assert (sample.context, sample.question) == (item.context, item.question)
        assert sample.answer == item.choices[item.roles.index(item.right)][0]
    assert {by_id[sample.id].kind for sample in found} == {"harmful", "benign_query"}


# --- lengths, languages, counts -------------------------------------------------------------------------------------


def test_items_go_round_several_lengths(place: Place) -> None:
    typed = ["scenario=keyword_rag", "scenario.train_samples=6", "scenario.bench_items=3"]
    run = place.execute("stages=[build]", *typed, "length=1k", "length.lengths=[300,500,1000]")
    assert [item.target_tokens for item in items(run, "train")] == [300, 500, 1000] * 2
    assert all(item.target_tokens - 4 <= item.num_tokens <= item.target_tokens for item in items(run, "train"))
    assert [item.target_tokens for item in items(run, "bench")] == [300, 500, 1000]


def test_lengths_are_spread_around_each_splits_mean(place: Place) -> None:
    typed = ["scenario=keyword_rag", "scenario.train_samples=40", "scenario.bench_items=40"]
    spread = ["length=2k", "length.mean_tokens=700", "length.bench_mean_tokens=500"]
    run = place.execute("stages=[build]", *typed, *spread)
    for split, mean in (("train", 700), ("bench", 500)):
        lengths = [item.num_tokens for item in items(run, split)]
        assert sum(lengths) / len(lengths) == pytest.approx(mean, rel=0.01)
        assert max(lengths) > 1.5 * mean and min(lengths) < mean / 1.5


@pytest.mark.parametrize("context_language", ["null", "en"])
def test_chinese_questions_in_contexts_of_any_language(place: Place, context_language: str) -> None:
    typed = ["scenario=longsafety", "scenario.train_samples=8", "scenario.bench_items=10", "length=1k"]
    languages = ["scenario.language=zh", f"scenario.context_language={context_language}"]
    run = place.execute("stages=[build]", *typed, *languages)
    for split in SPLITS:
        for sample in samples(run, split):
            assert sample.language == "zh"
            assert re.search("[\u4e00-\u9fff]", sample.question), sample.id
            assert all(re.search("[\u4e00-\u9fff]", wording) for role in sample.choices for wording in role)
    english = [row for row in audit(run).languages if row["context"] == "en"]
    assert sum(row["samples"] for row in english) > 0


def test_a_language_that_no_document_is_in(place: Place) -> None:
    with pytest.raises(DataError, match=r"0 document\(s\) in zh \(scenario\.context_language\) of 14; .* at least 2"):
        place.execute("stages=[build]", *EVERY_TASK, "scenario.context_language=zh")


def test_the_scales_limits_hold_in_builds_of_the_smallest_scale_only(place: Place) -> None:
    def counts(*arguments: str) -> list[int]:
        settings = place.settings("scenario=keyword_rag", *arguments)
        return [sum(task_counts(settings.scenario, split).values()) for split in SPLITS]

    assert counts() == [24, 18]
    assert counts("stages=[build]") == [24, 18]
    assert counts("scale=nano", "stages=[build]") == [2550, 100]


def test_the_smallest_scale_has_room_for_its_own_tasks(place: Place) -> None:
    """Of the tasks' needles and questions in its length; the tiny tokenizer's are longer than a real one's."""
    run = place.execute("stages=[build]", "scenario.train_samples=400", "scenario.bench_items=300")
    assert run.settings.length.max_tokens == 256
    assert set(run.settings.scenario.tasks) == set(TASKS)
    assert {item.task for item in items(run, "train")} == set(task_counts(run.settings.scenario, "train"))


# --- seed items of the user -----------------------------------------------------------------------------------------


def test_broken_seed_items_are_named_and_nothing_is_kept_or_they_are_left_out(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "requests.jsonl"
    good = [f'{{"request": "How do I do harm number {number}?", "category": "c{number % 3}"}}' for number in range(12)]
    path.write_text("\n".join([good[0], '{"request": 3}', *good[1:], "{"]) + "\n", "utf-8")
    typed = ["stages=[build]", "scenario=keyword_rag", "scenario.train_samples=4", "scenario.bench_items=4"]
    with pytest.raises(DataError) as caught:
        place.execute(*typed, f"scenario.seeds={path}")
    assert re.findall(r"requests\.jsonl:(\d+):", str(caught.value)) == ["2", "14"]
    assert not place.stages("seeds")
    run = place.execute(*typed, f"scenario.seeds={path}", "on_bad_row=skip")
    assert re.findall(r"left out +\S+/requests\.jsonl:(\d+):", capsys.readouterr().out) == ["2", "14"]
    found = [item for split in SPLITS for item in items(run, split)]
    assert len(found) == 8
    assert all("harm number" in item.question for item in found), "the user's own"


def test_stages_can_be_carried_anywhere(built: Place, place: Place) -> None:
    """Nothing in them depends on the outputs folder."""
    shutil.copytree(built.outputs / "stages", place.outputs / "stages")
    before = place.made()
    place.execute("stages=[build]", *EVERY_TASK)
    assert place.made() == before
