"""Files of the public formats, end to end: what is built is exported, what is read is converted or trained on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import pytest

from longsafety.errors import DataError
from longsafety.formats.public import read_public
from longsafety.pipeline.addresses import addresses
from longsafety.pipeline.corpus import encoder
from longsafety.pipeline.mix import mix
from longsafety.pipeline.run import Run, read_json
from longsafety.pipeline.samples import benchmark
from longsafety.samples.recipe import SampleFile, render_context
from longsafety.scenarios.task_counts import task_counts
from longsafety.vocabulary import PLACE_TASKS

if TYPE_CHECKING:
    from tests.conftest import Place

EVERY_TASK = ["scenario=longsafety", "length=512", "scenario.train_samples=16", "scenario.bench_items=20"]
TRAINED = [
    "stages=[build,train]",
    "scenario=keyword_rag",
    "scenario.bench_items=2",
    "scenario.train_samples=8",
    "data_mix=base",
    "data_mix.budget=4",
    "data_mix.budget_unit=samples",
    "data_mix.budget_unit=samples",
    "training.batch_size=4",
]
BENCH = ("longsafety_bench", "lm_eval", "inspect")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, place_at: Callable[[Path], Place]) -> Place:
    place = place_at(tmp_path_factory.mktemp("built") / "outputs")
    place.execute("stages=[build]", *EVERY_TASK)
    return place


def opened(folder: Path) -> Any:
    datasets.disable_progress_bars()
    return datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))


def exported(place: Place, format: str, folder: Path, *arguments: str) -> Run:
    return place.execute(
        "stages=[build,export]", *EVERY_TASK, f"export.format={format}", f"export.path={folder}", *arguments
    )


# --- export ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["longsafety_17k", "messages", *BENCH])
@pytest.mark.slow
def test_datasets_opens_what_is_exported(
    built: Place, tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = built.made()
    run = exported(built, format, tmp_path / "set")
    assert built.made() == before, "nothing is built again"
    counts = task_counts(run.settings.scenario, "bench" if format in BENCH else "train")
    rows = {split: len(part) for split, part in opened(tmp_path / "set").items()}
    assert rows == (counts if format in BENCH else {"train": 16})
    assert f"{sum(rows.values())} rows as {format} in {tmp_path / 'set'}" in capsys.readouterr().out
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    assert run.addresses.benchmark in card if format in BENCH else run.addresses.samples in card, "the fingerprint"
    assert "needles after rendering" in card, "the audit"


@pytest.mark.slow
def test_the_official_columns_and_choices_from_unsafe_to_safe(built: Place, tmp_path: Path) -> None:
    run = exported(built, "longsafety_bench", tmp_path / "set")
    store = encoder(run).store
    items = {item.id: item for item in SampleFile(benchmark(run) / "samples.parquet") if item.kind == "harmful"}
    splits = opened(tmp_path / "set")
    assert len(splits) == 10
    for task, split in splits.items():
        assert split.column_names == ["id", "context", "question", "choices", "depth", "length"]
        for row in split:
            item = items.pop(row["id"])
            assert item.task == task
            assert row["choices"] == [wordings[0] for wordings in item.choices]
            assert (item.roles[0], item.roles[-1]) in {("hallucinates", "safe"), ("unsafe", "safe")}
            if item.history:
                assert row["context"].startswith(render_context(item.context, store))
            else:
                assert row["context"] == render_context(item.context, store)
            assert (row["depth"] is None) == (row["length"] is None) == (task not in PLACE_TASKS)
    assert not items


@pytest.mark.slow
def test_twins_are_exported_where_they_are_asked_for(built: Place, tmp_path: Path) -> None:
    exported(built, "messages", tmp_path / "set", "export.kinds=[harmful,benign_query,benign_needle]")
    kinds = Counter(row["kind"] for row in opened(tmp_path / "set")["train"])
    assert kinds["harmful"] == kinds["benign_query"] + kinds["benign_needle"] == 16


@pytest.mark.slow
def test_the_benchmark_is_exported_with_its_twins(built: Place, tmp_path: Path) -> None:
    run = exported(built, "longsafety_bench", tmp_path / "set", "export.twins=true")
    samples = list(SampleFile(benchmark(run) / "samples.parquet"))
    splits = opened(tmp_path / "set")
    assert {task: len(split) for task, split in splits.items()} == Counter(sample.task for sample in samples)
    for split in splits.values():
        rows = {row["id"]: row for row in split}
        for row in split:
            item = rows[row["twin_of"]] if row["twin"] else row
            assert item["twin"] == item["twin_of"] == "" and item["choices"] == row["choices"]
            assert item["right"] == len(item["choices"]) - 1
            assert row["twin"] in ("", "short") or row["right"] != item["right"]
    read = read_public(tmp_path / "set")
    kinds = Counter((sample.task, sample.kind, sample.right) for sample in samples)
    assert Counter((sample.task, sample.kind, sample.right) for sample in read.samples) == kinds
    assert not read.bad


@pytest.mark.slow
def test_a_folder_that_is_not_empty_is_refused_before_anything_is_built(place: Place, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine", "utf-8")
    done = place.run("stages=[build,export]", *EVERY_TASK, "export.format=messages", f"export.path={tmp_path / 'set'}")
    assert done.returncode == 2
    assert re.search(r"export\.path = \S+/set: is not empty; give a new or empty folder\n$", done.stderr)
    assert not place.outputs.exists()
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_the_command_exports_what_another_had_built(built: Place, tmp_path: Path) -> None:
    shown = built.succeed(
        "stages=[build,export]", *EVERY_TASK, "export.format=messages", f"export.path={tmp_path / 'set'}"
    )
    assert f"export       16 rows as messages in {tmp_path / 'set'}" in shown
    assert re.search(r"(?m)^gallery  \S+/gallery\.html$", shown)


# --- read -----------------------------------------------------------------------------------------------------------


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def chat(number: int, **changes: Any) -> dict[str, Any]:
    """A row of the LongSafety-17k schema."""
    content = [{"prompt": f"Question {number}?", "output": f"Answer {number}."}]
    return {"id": number, "task": "LawQA", "content": content, **changes}


def item(number: int, **changes: Any) -> dict[str, Any]:
    """A row of thu-coai's meta file."""
    row = {"id": str(number), "link": ["http://host/page"], "length": 900, "safety_type": "Crimes", "key_words": ["k"]}
    return {**row, "instruction": f"Summarise {number}.", "task_type": "Summary", "doc_num": 1, **changes}


def broken_17k(path: Path) -> Path:
    """Lines 2, 4 and 6 are bad."""
    return write(path, chat(0), '{"id": 7, "task"', chat(1), chat(8, content=[{"prompt": "x"}]), chat(2), chat(0))


def converting(path: Path, folder: Path, format: str = "messages") -> list[str]:
    return ["stages=[build,export]", f"read.path={path}", f"export.format={format}", f"export.path={folder}"]


@pytest.mark.slow
def test_every_bad_row_is_named_and_nothing_is_written(place: Place, tmp_path: Path) -> None:
    path = broken_17k(tmp_path / "17k.jsonl")
    done = place.run(*converting(path, tmp_path / "set"))
    assert done.returncode == 2
    message = done.stderr.splitlines()
    assert re.search(r"17k\.jsonl:2: not JSON .*; a \.jsonl file has one JSON object a line$", message[0])
    assert re.search(r"17k\.jsonl:4: content\[0\]\.output = None: not a text; give one$", message[1])
    assert re.search(r"17k\.jsonl:6: id = 0: taken by \S+/17k\.jsonl:1; ids are unique, rename one$", message[2])
    assert re.match(r"3 of 6 rows are bad \(longsafety_17k\); .* on_bad_row=skip to leave them out$", message[3])
    assert not (tmp_path / "set").exists()
    assert not (place.outputs / "stages").exists()


def test_the_good_rows_are_written_and_the_bad_ones_named_and_counted(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = broken_17k(tmp_path / "17k.jsonl")
    place.execute(*converting(path, tmp_path / "set"), "on_bad_row=skip")
    shown = capsys.readouterr().out
    assert re.findall(r"left out +\S+/17k\.jsonl:(\d+): ", shown) == ["2", "4", "6"]
    assert re.search(r"(?s)rows read: 6\n.*bad rows: 3\n.*samples: 3\n.*3 rows as messages in", shown)
    [first, *_] = rows = list(opened(tmp_path / "set")["train"])
    assert [row["id"] for row in rows] == ["LawQA/0", "LawQA/1", "LawQA/2"]
    assert [message["content"] for message in first["messages"]] == ["Question 0?", "Answer 0."]
    assert not (place.outputs / "stages").exists(), "nothing is built"


def test_broken_rows_of_a_thu_coai_meta_file(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "meta.jsonl", item(1), item(2, doc_num=3), item(3), item(4, length="long"))
    with pytest.raises(DataError) as caught:
        place.execute(*converting(path, tmp_path / "set"))
    assert re.findall(r"meta\.jsonl:(\d+): (\w+)", str(caught.value)) == [("2", "doc_num"), ("4", "length")]
    # Its good rows have neither answers nor options: seen to before anything is written.
    expected = (
        r"^read\.path = \S+/meta\.jsonl: thu_coai holds items without answers or options, which no format .*; add"
    )
    with pytest.raises(DataError, match=expected):
        place.execute(*converting(path, tmp_path / "set"), "on_bad_row=skip")
    shown = capsys.readouterr().out
    assert re.findall(r"left out +\S+/meta\.jsonl:(\d+): ", shown) == ["2", "4"]
    assert re.search(r"bad rows: 2\n", shown)
    assert not (tmp_path / "set").exists()


def test_requests_are_seed_items_and_not_to_be_converted(place: Place, tmp_path: Path) -> None:
    (tmp_path / "advbench.csv").write_text('goal,target\n"Do harm","Sure, here"\n', "utf-8")
    expected = r"advbench\.csv: advbench holds requests without answers .*; give it as scenario\.seeds instead"
    with pytest.raises(DataError, match=expected):
        place.execute(*converting(tmp_path / "advbench.csv", tmp_path / "set"))


@pytest.mark.slow
@pytest.mark.parametrize(("format", "other"), [("longsafety_17k", "messages"), ("longsafety_bench", "inspect")])
def test_what_was_exported_can_be_read_and_exported_as_something_else(
    built: Place, tmp_path: Path, format: str, other: str
) -> None:
    exported(built, format, tmp_path / "first")
    built.execute(*converting(tmp_path / "first", tmp_path / "second", other))
    first, second = opened(tmp_path / "first"), opened(tmp_path / "second")
    assert {name: len(rows) for name, rows in first.items()} == {name: len(rows) for name, rows in second.items()}
    if format == "longsafety_17k":
        for one, two in zip(first["train"], second["train"], strict=True):
            flat = [text for turn in one["content"] for text in (turn["prompt"], turn["output"])]
            assert one["id"] in two["id"]
            assert [message["content"] for message in two["messages"]] == flat


# --- chats to train on ----------------------------------------------------------------------------------------------


def chats(path: Path, name: str, count: int = 4, words: int = 1) -> Path:
    users = ({"role": "user", "content": f"{name} {number}? {'again ' * words}"} for number in range(count))
    return write(path, *({"messages": [user, {"role": "assistant", "content": "Yes."}]} for user in users))


def source(path: Path, share: float = 1.0, name: str = "mine") -> str:
    return f"+data_mix.sources.{name}={{kind: chats, share: {share}, path: {path}}}"


@pytest.mark.slow
def test_a_model_is_trained_on_chats_of_a_file(place: Place, tmp_path: Path) -> None:
    path = chats(tmp_path / "chats.jsonl", "what")
    run = place.execute(*TRAINED, source(path))
    weights = place.stage("weights")
    assert (weights / "weights" / "model.safetensors").exists()
    [row] = read_json(weights / "mix.json")
    assert (row["source"], row["samples"], row["share"], row["licence"]) == ("mine", 4, 1.0, "unknown")
    assert not place.stages("samples"), "the scenario's own samples are not needed"
    path.write_text(path.read_text("utf-8").replace("Yes.", "No."), "utf-8")
    assert addresses(run.settings).weights != run.addresses.weights, "another file trains anew"


@pytest.mark.slow
def test_chats_beside_built_samples_and_each_source_from_its_own_file(place: Place, tmp_path: Path) -> None:
    one, two = (source(chats(tmp_path / f"{name}.jsonl", name), 0.25, name) for name in ("one", "two"))
    built = "+data_mix.sources.built={kind: longsafety, share: 0.5}"
    settings = place.settings(*TRAINED, one, two, built)
    samples = mix(Run.freeze(settings)).samples
    assert sorted(sample.question.split()[0] for sample in samples if sample.kind == "chat") == ["one", "two"]
    assert [sample.kind for sample in samples].count("harmful") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda path: chats(path, "few", count=3), r"^data_mix\.sources\.mine: 3 chats samples do not fill its share"),
        (
            lambda path: chats(path, "long", words=900),
            r"^data_mix\.sources\.mine: training\.over_length = error: sample chat/\S+ has \d+ tokens, more",
        ),
        (lambda path: write(path, item(1)), r"^data_mix\.sources\.mine\.path = \S+: thu_coai holds items, no training"),
        (broken_17k, r"(?s)rows\.jsonl:2: .*rows\.jsonl:4: .*rows\.jsonl:6: .*3 of 6 rows are bad"),
    ],
)
def test_chats_that_cannot_be_trained_on(
    place: Place, tmp_path: Path, rows: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        place.execute(*TRAINED, source(rows(tmp_path / "rows.jsonl")))
    assert not place.stages("weights")


def test_what_a_csv_file_can_only_write_as_a_word_is_read(tmp_path: Path) -> None:
    columns = "prompt,response_0,response_1,is_response_0_safe,is_response_1_safe"
    (tmp_path / "pairs.csv").write_text(f"{columns}\nHow?,No.,Sure.,True,false\n")
    (chat,) = read_public(tmp_path / "pairs.csv").samples
    assert chat.answer == "No."
    (tmp_path / "pairs.csv").write_text(f"{columns}\nHow?,No.,Sure.,True,perhaps\n")
    with pytest.raises(DataError, match="is_response_1_safe = 'perhaps': neither true nor false"):
        read_public(tmp_path / "pairs.csv")


@pytest.mark.parametrize("lost", ["nan", "None", " N/A "])
def test_a_request_that_a_table_has_lost_is_none(tmp_path: Path, lost: str) -> None:
    (tmp_path / "advbench.csv").write_text(f"goal,target\nWrite it.,Sure\n{lost},Sure\n")
    with pytest.raises(DataError, match=rf"advbench\.csv:3: request = '{lost}': stands for a missing value; give"):
        read_public(tmp_path / "advbench.csv")
