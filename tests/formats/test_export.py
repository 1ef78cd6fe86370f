"""Every public format, read back as its readers do; refusals before anything is written."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jinja2
import pytest
import yaml

from longsafety.errors import DataError
from longsafety.formats.bench_rows import shown_order
from longsafety.formats.export import export
from longsafety.formats.layouts import FORMATS
from longsafety.formats.public import read_public
from longsafety.formats.row_files import row_file
from longsafety.samples.recipe import Sample, Span
from longsafety.vocabulary import HARMFUL_ROLES

BENCH_TASKS = (
    "HarmfulExtraction", "HarmfulTendency", "ManyShotJailbreak", "HarmfulNIAH", "CountingCrimes", "DocAttack",
    "HarmfulAdvice", "MedicalQuiz", "PoliticallyIncorrect", "LeadingQuestion",
)  # fmt: skip
FACTS: Mapping[str, Any] = {
    "corpus_licence": "CC-BY-4.0",
    "name": "my_set",
    "seed": 3,
    "fingerprint": "abc123",
    "audit": {"near_duplicates": 0},
    "settings": {"scenario": {"name": "longsafety_bench"}, "path": Path("somewhere")},
}


class Store:
    """Two documents of ten letters, a letter a token."""

    ids = ("book", "exchange:one")
    languages = ("en", "zh")

    def __init__(self) -> None:
        self.rendered = 0

    def text(self, document: int, start: int, stop: int) -> str:
        self.rendered += 1
        return ("abcdefghij", "一二三四五六七八九十")[document][start:stop]


@pytest.fixture
def encoder() -> Any:
    return SimpleNamespace(store=Store())


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def sample(task: str = "HarmfulNIAH", number: int = 0, kind: str = "harmful", **changes: Any) -> Sample:
    roles = 2 if task in ("MedicalQuiz", "PoliticallyIncorrect") else 4
    values: dict[str, Any] = {
        "id": f"{task}-{number}-{kind}", "pair_id": f"{task}-{number}", "task": task, "scenario": "PH", "kind": kind,
        "category": "c", "seed_id": "s", "licence": "Apache-2.0",
        "context": (Span(0, 0, 4), " NEEDLE ", Span(0, 4, 10)), "needles": (1,), "depth": 0.123456,
        "question": "What is it?", "answer": "I would rather not.", "rejected": "Gladly: [withheld]",
        "documents": ("book",), "target_tokens": 64,
        "num_tokens": 60 + number, "roles": tuple("abcd"[:roles]),
        "choices": tuple((f"wording {role}", f"other {role}") for role in range(roles)),
        "order": (2, 3, 0, 1) if roles == 4 else (1, 0), "right": "abcd"[roles - 1],
    }  # fmt: skip
    return Sample(**{**values, **changes})


HISTORY = (("First, please.", "Of course."), ("And then?", "Then this."))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def load(folder: Path) -> Any:
    import datasets

    return datasets.load_dataset(str(folder))


def header(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "README.md").read_text("utf-8").split("---\n")[1]))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_opens_with_datasets(format: str, encoder: Any, tmp_path: Path) -> None:
    samples = [sample(task, number) for number in range(3) for task in BENCH_TASKS]
    counts = export(samples, encoder, format=format, folder=tmp_path / "out", kinds=["harmful"], facts=FACTS)
    opened = load(tmp_path / "out")
    assert {split: len(rows) for split, rows in opened.items()} == counts
    assert sum(counts.values()) == 30
    assert list(counts) == (["train"] if FORMATS[format].in_turns else list(BENCH_TASKS))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"]


def test_bench_has_the_official_columns_unsafe_to_safe(encoder: Any, tmp_path: Path) -> None:
    samples = [sample(task) for task in BENCH_TASKS]
    export(samples, encoder, format="longsafety_bench", folder=tmp_path / "out", kinds=["harmful"], facts=FACTS)
    for task in BENCH_TASKS:
        [row] = read(tmp_path / "out" / f"{task}.jsonl")
        places = ["depth", "length"] if task in ("HarmfulNIAH", "CountingCrimes") else []
        assert list(row) == ["id", "context", "question", "choices", *places]
        assert row["choices"] == [f"wording {role}" for role in range(2 if "Quiz" in task or "Poli" in task else 4)]
        assert row["context"] == "abcd NEEDLE efghij"
    [row] = load(tmp_path / "out")["CountingCrimes"]
    assert (row["depth"], row["length"]) == (0.1235, 64)


def test_bench_writes_earlier_turns_into_the_context_and_keeps_twins_apart(encoder: Any, tmp_path: Path) -> None:
    samples = [
        sample(history=HISTORY), sample(kind="benign_query"),
        sample(kind="short", context=(), documents=(), depth=None, history=HISTORY[:1], goal="before"),
        sample(number=1, goal="before"),
    ]  # fmt: skip
    counts = export(
        samples, encoder, format="longsafety_bench", folder=tmp_path / "out",
        kinds=["harmful", "benign_query", "short"], facts=FACTS,
    )  # fmt: skip
    assert counts == {"HarmfulNIAH": 2, "HarmfulNIAH_benign_query": 1, "HarmfulNIAH_short": 1}
    dialogue = "User: First, please.\nAssistant: Of course."
    assert read(tmp_path / "out" / "HarmfulNIAH.jsonl")[0]["context"] == (
        f"abcd NEEDLE efghij\n\n{dialogue}\n\nUser: And then?\nAssistant: Then this."
    )
    [row] = read(tmp_path / "out" / "HarmfulNIAH_short.jsonl")
    assert (row["context"], row["depth"]) == (dialogue, None)
    assert load(tmp_path / "out")["HarmfulNIAH_short"][0]["depth"] is None
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "2 items have earlier turns" in card
    assert "1 items were built with the question before the context" in card


def test_training_formats_hold_the_turns(encoder: Any, tmp_path: Path) -> None:
    samples = [sample(history=HISTORY), sample(number=1, goal="before"), sample(number=2, context=(), documents=())]
    for format in ("longsafety_17k", "messages"):
        export(samples, encoder, format=format, folder=tmp_path / format, kinds=["harmful"], facts=FACTS)
    rows = read(tmp_path / "longsafety_17k" / "train.jsonl")
    assert rows[0] == {
        "id": "HarmfulNIAH-0-harmful",
        "task": "HarmfulNIAH",
        "content": [
            {"prompt": "abcd NEEDLE efghij\n\nFirst, please.", "output": "Of course."},
            {"prompt": "And then?", "output": "Then this."},
            {"prompt": "What is it?", "output": "I would rather not."},
        ],
    }
    assert rows[1]["content"][0]["prompt"] == "What is it?\n\nabcd NEEDLE efghij"
    assert rows[2]["content"][0]["prompt"] == "What is it?"
    opened = load(tmp_path / "longsafety_17k")["train"][0]["content"]
    assert opened == rows[0]["content"]
    chats = read(tmp_path / "messages" / "train.jsonl")
    flat = [text for turn in rows[0]["content"] for text in turn.values()]
    assert [message["content"] for message in chats[0]["messages"]] == flat
    assert [message["role"] for message in chats[0]["messages"]] == ["user", "assistant"] * 3
    assert {key: chats[0][key] for key in ("id", "task", "kind")} == {
        "id": "HarmfulNIAH-0-harmful", "task": "HarmfulNIAH", "kind": "harmful",
    }  # fmt: skip


def test_messages_bring_the_entry_for_llama_factory(encoder: Any, tmp_path: Path) -> None:
    export([sample()], encoder, format="messages", folder=tmp_path / "out", kinds=["harmful"], facts=FACTS)
    entry = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))["my_set"]
    assert (tmp_path / "out" / entry["file_name"]).is_file()
    [row] = read(tmp_path / "out" / entry["file_name"])
    tags = entry["tags"]
    assert entry["formatting"] == "sharegpt"
    messages = row[entry["columns"]["messages"]]
    assert [message[tags["role_tag"]] for message in messages] == [tags["user_tag"], tags["assistant_tag"]]
    assert messages[-1][tags["content_tag"]] == "I would rather not."


class _Loader(yaml.SafeLoader):
    """Reads lm-eval's tag as its text."""


_Loader.add_constructor("!function", lambda loader, node: f"function {node.value}")


def test_lm_eval_tasks_point_to_the_safe_option(encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [
        sample(),
        sample("MedicalQuiz"),
        sample(kind="benign_query", choices=tuple(("x",) for _ in "abcd"), order=()),
    ]
    export(samples, encoder, format="lm_eval", folder=tmp_path / "out", kinds=["harmful", "benign_query"], facts=FACTS)
    files = {path.stem: yaml.load(path.read_text("utf-8"), _Loader) for path in (tmp_path / "out").glob("*.yaml")}
    assert files["longsafety_bench"]["task"] == ["longsafety_bench_HarmfulNIAH", "longsafety_bench_MedicalQuiz"]
    assert files["longsafety_bench_benign_query"]["task"] == ["longsafety_bench_HarmfulNIAH_benign_query"]
    task = files["longsafety_bench_HarmfulNIAH"]
    assert (task["output_type"], task["metric_list"][0]["metric"]) == ("multiple_choice", "acc")
    module, _, function = task["custom_dataset"].removeprefix("function ").rpartition(".")
    space: dict[str, Any] = {"__file__": str(tmp_path / "out" / f"{module}.py")}
    exec((tmp_path / "out" / f"{module}.py").read_text("utf-8"), space)
    monkeypatch.chdir(tmp_path)  # the rows are found from anywhere
    [row] = space[function](**task["dataset_kwargs"], **task["metadata"])[task["test_split"]]
    assert row["order"] == [2, 3, 0, 1]
    assert row[task["doc_to_choice"]][row[task["doc_to_target"]]] == "B"
    assert row["choices"][row["answer"]] == "wording 3"
    prompt = jinja2.Template(task["doc_to_text"]).render(**row)
    assert prompt.startswith("abcd NEEDLE efghij\n\nQUESTION: What is it?\n\n")
    assert "\nA. wording 2\nB. wording 3\nC. wording 0\nD. wording 1\n" in prompt
    assert prompt.endswith("letter only: A, B, C, D.\nAnswer:")


def test_an_order_is_drawn_from_seed_and_id_where_the_sample_has_none() -> None:
    orders = [shown_order(sample(number=number, order=()), 3) for number in range(20)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len({tuple(order) for order in orders}) > 5
    assert orders == [shown_order(sample(number=number, order=()), 3) for number in range(20)]
    assert orders != [shown_order(sample(number=number, order=()), 4) for number in range(20)]


def test_inspect_tasks_read_the_rows_beside_them(encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = sample("MedicalQuiz", context=(), documents=())
    export([sample(), short], encoder, format="inspect", folder=tmp_path / "out", kinds=["harmful"], facts=FACTS)
    registered: list[Any] = []

    def json_dataset(path: str, sample_of: Any, name: str) -> list[Any]:
        return [sample_of(row) for row in read(Path(path))]

    parts: dict[str, dict[str, Any]] = {
        "inspect_ai": {"Task": SimpleNamespace, "task": registered.append},
        "inspect_ai.dataset": {"Sample": SimpleNamespace, "json_dataset": json_dataset},
        "inspect_ai.scorer": {"choice": lambda: "choice"},
        "inspect_ai.solver": {"multiple_choice": lambda: "multiple_choice"},
    }
    for name, contents in parts.items():
        module = ModuleType(name)
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    path = tmp_path / "out" / "longsafety_bench.py"
    exec(path.read_text("utf-8"), {"__file__": str(path)})
    assert [function.__name__ for function in registered] == ["HarmfulNIAH", "MedicalQuiz"]
    task = registered[0]()
    assert (task.solver, task.scorer) == ("multiple_choice", "choice")
    [item] = task.dataset
    assert item.input == "abcd NEEDLE efghij\n\nQUESTION: What is it?"
    assert item.choices[ord(item.target) - ord("A")] == "wording 3"
    assert item.metadata["order"] == [2, 3, 0, 1]
    [item] = registered[1]().dataset
    assert item.input == "QUESTION: What is it?"


def test_card_says_what_is_in_the_set(encoder: Any, tmp_path: Path) -> None:
    samples = [
        sample(), sample(number=1, writers=("answer: template",)),
        sample("SafeMTLong", licence="MIT", language="zh", context=(Span(1, 0, 2),), documents=("exchange:one",)),
    ]  # fmt: skip
    export(iter(samples), encoder, format="messages", folder=tmp_path / "out", kinds=["harmful"], facts=FACTS)
    top = header(tmp_path / "out")
    assert (top["license"], top["language"], top["size_categories"]) == ("cc-by-4.0", ["en", "zh"], ["n<1K"])
    assert top["configs"][0]["data_files"] == [{"split": "train", "path": "train.jsonl"}]
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "Content warning" in card
    assert "| HarmfulNIAH | harmful | 2 | 60 | 60.5 | 61 |" in card
    assert "| documents | CC-BY-4.0 | 2 |" in card  # the third context is made of seed items
    assert "| requests, answers and options | MIT | 1 |" in card
    assert "answer: template (1)" in card
    assert "near_duplicates: 0" in card
    assert "fingerprint `abc123`" in card
    assert yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])["scenario"] == {"name": "longsafety_bench"}


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        ("unknown", {"license": "other", "license_name": "unknown"}),
        ("My Own Terms 2", {"license": "other", "license_name": "my-own-terms-2"}),
        ("cc-by-nc-4.0", {"license": "cc-by-nc-4.0"}),
        ("CC0-1.0", {"license": "apache-2.0"}),
    ],
)
def test_the_strictest_licence_is_the_set_s(
    corpus: str, expected: dict[str, str], encoder: Any, tmp_path: Path
) -> None:
    facts = {**FACTS, "corpus_licence": corpus, "audit": None}
    export([sample()], encoder, format="messages", folder=tmp_path / "out", kinds=["harmful"], facts=facts)
    top = header(tmp_path / "out")
    assert {key: top[key] for key in top if key.startswith("license")} == expected
    assert "## Audit" not in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("format", "kinds", "last", "message"),
    [
        ("csv", ["harmful"], sample(), r"export\.format = 'csv': must be one of longsafety_17k, "),
        ("longsafety_bench", ["harmful"], sample(number=9, choices=()), r"sample HarmfulNIAH-9-harmful .* no choices"),
        ("inspect", ["harmful"], sample(number=9, choices=((), ("a",))), r"HarmfulNIAH-9-harmful .* no choices"),
        ("lm_eval", ["harmful"], sample(choices=(("a",),) * 11), r"has 11 choices; at most 10"),
        ("messages", ["harmful"], sample(number=9, answer=""), r"sample HarmfulNIAH-9-harmful .* no answer"),
        ("verl", ["harmful"], sample(number=9, answer=""), r"sample HarmfulNIAH-9-harmful .* no answer"),
        ("trl_preference", ["harmful"], sample(number=9, rejected=""), r"9-harmful .* has no rejected answer; leave"),
        ("lm_eval", ["harmful"], sample(task="a/b"), r"'a/b' names its file and split; rename"),
        ("messages", ["harmful", "short"], sample(kind="chat"), r"no sample is short; there are: harmful \(1\), chat"),
        ("messages", [], sample(), r"kinds = \[\]: name at least one; there are: harmful \(2\)"),
    ],
)
def test_what_cannot_be_written_is_refused_first(
    format: str, kinds: list[str], last: Sample, message: str, encoder: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "out"
    with pytest.raises(DataError, match=message):
        export([sample(), last], encoder, format=format, folder=folder, kinds=kinds, facts=FACTS)
    assert not folder.parent.exists()
    assert encoder.store.rendered == 0


def test_a_kind_that_is_not_asked_for_may_lack_anything(encoder: Any, tmp_path: Path) -> None:
    samples = [sample(kind="chat", choices=()), sample()]
    counts = export(samples, encoder, format="lm_eval", folder=tmp_path / "out", kinds=["harmful"], facts=FACTS)
    assert counts == {"HarmfulNIAH": 1}


def test_a_folder_in_use_is_refused(encoder: Any, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("kept")
    for folder, rule in ((full, "is not empty"), (full / "mine.txt", "is a file")):
        with pytest.raises(DataError, match=rf"export\.path = {re.escape(str(folder))}: {rule}"):
            export([sample()], encoder, format="messages", folder=folder, kinds=["harmful"], facts=FACTS)
    with pytest.raises(DataError, match=r"load_dataset refuses a folder that holds longsafety_bench\.py"):
        export(
            [sample()], encoder, format="inspect", folder=tmp_path / "longsafety_bench", kinds=["harmful"], facts=FACTS
        )
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]
    (tmp_path / "empty").mkdir()
    assert export([sample()], encoder, format="messages", folder=tmp_path / "empty", kinds=["harmful"], facts=FACTS)


def test_contexts_are_rendered_one_at_a_time_and_a_failure_leaves_nothing(encoder: Any, tmp_path: Path) -> None:
    rendered: list[int] = []

    class Samples:
        def __iter__(self) -> Iterator[Sample]:
            for number in range(5):
                rendered.append(encoder.store.rendered)
                yield sample(number=number)

    export(Samples(), encoder, format="messages", folder=tmp_path / "out", kinds=["harmful"], facts=FACTS)  # type: ignore[arg-type]
    assert rendered == [0] * 5 + [0, 2, 4, 6, 8]

    def broken(*_: int) -> str:
        raise OSError("the store is gone")

    encoder.store.text = broken
    with pytest.raises(OSError, match="the store is gone"):
        export([sample()], encoder, format="messages", folder=tmp_path / "late", kinds=["harmful"], facts=FACTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


# An item's twins beside it


def with_all_twins() -> list[Sample]:
    """An item with needles and one without, each with its twins."""
    shared: dict[str, Any] = {"roles": HARMFUL_ROLES, "comply_role": "aware_unsafe", "order": (2, 3, 0, 1)}
    free: dict[str, Any] = {"context": (), "needles": (), "depth": None, "target_tokens": 0}
    samples = []
    for task, benign in (("HarmfulNIAH", "benign_needle"), ("LeadingQuestion", "benign_query")):
        item = sample(task, right="safe", **shared)
        item = item.replace(id=item.pair_id)
        samples += [item, item.replace(id=f"{item.id}-short", kind="short", **free)]
        if benign == "benign_needle":
            parts = (item.context[0], item.context[2])
            absent = item.replace(kind="absent", context=parts, needles=(), depth=None, right="ignores")
            samples.append(absent.replace(id=f"{item.id}-absent"))
        twin = item.replace(id=f"{item.id}-{benign}", kind=benign, right="aware_unsafe", question="And what is that?")
        samples += [twin, twin.replace(id=f"{item.id}-short_benign", kind="short_benign", **free)]
    return samples


def test_twins_stand_in_their_tasks_file_and_say_what_is_right(encoder: Any, tmp_path: Path) -> None:
    samples = with_all_twins()
    kinds = list(dict.fromkeys(one.kind for one in samples))
    facts = {**FACTS, "twins": True}
    counts = export(samples, encoder, format="longsafety_bench", folder=tmp_path / "out", kinds=kinds, facts=facts)
    assert counts == {"HarmfulNIAH": 5, "LeadingQuestion": 4}
    rows = read(tmp_path / "out" / "HarmfulNIAH.jsonl")
    assert [list(row)[-3:] for row in rows] == [["twin", "twin_of", "right"]] * 5
    assert [(row["twin"], row["twin_of"], row["right"]) for row in rows] == [
        ("", "", 3), ("short", "HarmfulNIAH-0", 3), ("absent", "HarmfulNIAH-0", 1),
        ("benign_needle", "HarmfulNIAH-0", 2), ("short", "HarmfulNIAH-0", 2),
    ]  # fmt: skip
    assert {row["twin_of"] for row in rows} - {""} == {rows[0]["id"]}
    assert len({tuple(row["choices"]) for row in rows}) == 1
    opened = load(tmp_path / "out")
    assert [row["twin"] for row in opened["LeadingQuestion"]] == ["", "short", "benign_query", "short"]
    assert "`twin_of` is the item's `id`" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_twins_are_read_back_as_they_were_written(encoder: Any, tmp_path: Path) -> None:
    samples = with_all_twins()
    kinds = list(dict.fromkeys(one.kind for one in samples))
    facts = {**FACTS, "twins": True}
    export(samples, encoder, format="longsafety_bench", folder=tmp_path / "out", kinds=kinds, facts=facts)
    found = read_public(str(tmp_path / "out"))
    assert (found.schema, found.bad) == ("longsafety_bench", [])
    names = ("task", "kind", "right", "question")
    read_back = [tuple(getattr(one, name) for name in names) for one in found.samples]
    assert read_back == [tuple(getattr(one, name) for name in names) for one in samples]
    for one, other in zip(found.samples, samples, strict=True):
        assert one.pair_id == f"{other.task}/{other.pair_id}"
        assert one.choices == tuple((wordings[0],) for wordings in other.choices)


def test_no_character_within_a_row_ends_its_line(tmp_path: Path) -> None:
    row = {"a": "one\u2028two\u2029three\x85four\\u2028", "b\u2028": 1}
    with row_file(tmp_path / "a.jsonl", "jsonl") as write:
        write(row)
    text = (tmp_path / "a.jsonl").read_text("utf-8")
    assert len(text.splitlines()) == 1 and json.loads(text) == row
