"""Preference pairs and verl's prompts: written as their programs document them, and read back the same."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from longsafety.errors import DataError
from longsafety.formats.export import export
from longsafety.formats.public import PublicSet, read_public
from longsafety.samples.recipe import Sample, Span

FACTS = {
    "corpus_licence": "CC-BY-4.0", "name": "pairs", "seed": 3, "fingerprint": "abc", "audit": None,
    "settings": {"scenario": {"name": "s"}},
}  # fmt: skip
STORE = SimpleNamespace(ids=("book",), languages=("en",), text=lambda document, start, stop: "abcdefghij"[start:stop])
HISTORY = (("First, please.", "Of course."), ("And then?", "Then this."))
PAIRED = ("trl_preference", "llama_factory_preference")
EVERY = (*PAIRED, "verl")


def sample(number: int, **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "id": f"KeywordRAG-{number}", "pair_id": f"KeywordRAG-{number}", "task": "KeywordRAG", "scenario": "QH",
        "kind": "harmful", "category": "c", "seed_id": "s", "licence": "Apache-2.0", "context": (Span(0, 0, 4),),
        "documents": ("book",), "question": f"Harm {number}?", "answer": f"I won't, {number}.",
        "rejected": f"Sure, {number}. [withheld]", "num_tokens": 60, "writers": ("rejected: template",),
    }  # fmt: skip
    return Sample(**{**values, **changes})


SAMPLES = [
    sample(0),
    sample(0, id="KeywordRAG-0-benign_query", kind="benign_query", question="Good?", answer="“Yes”\n\n是的。",
           rejected="I won't, 0.", writers=()),
    sample(1, history=HISTORY),
    sample(2, goal="before", context=(), documents=()),
]  # fmt: skip


def write(format: str, folder: Path, samples: list[Sample] = SAMPLES) -> list[dict[str, Any]]:
    kinds = list(dict.fromkeys(one.kind for one in samples))
    encoder: Any = SimpleNamespace(store=STORE)
    export(samples, encoder, format=format, folder=folder, kinds=kinds, facts=FACTS)
    if format == "verl":
        rows: list[dict[str, Any]] = pq.read_table(folder / "train.parquet").to_pylist()
        return rows
    return [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").split("\n") if line]


def test_trl_has_prompt_chosen_and_rejected_as_messages(tmp_path: Path) -> None:
    rows = write("trl_preference", tmp_path / "out")
    assert rows[0] == {
        "prompt": [{"role": "user", "content": "abcd\n\nHarm 0?"}],
        "chosen": [{"role": "assistant", "content": "I won't, 0."}],
        "rejected": [{"role": "assistant", "content": "Sure, 0. [withheld]"}],
        "id": "KeywordRAG-0", "task": "KeywordRAG", "kind": "harmful",
    }  # fmt: skip
    assert rows[1]["rejected"] == rows[0]["chosen"]  # the twin is the other way round
    assert [message["role"] for message in rows[2]["prompt"]] == ["user", "assistant"] * 2 + ["user"]


def test_llama_factory_has_its_ranking_entry_and_an_odd_number_of_turns(tmp_path: Path) -> None:
    rows = write("llama_factory_preference", tmp_path / "out")
    entry = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))["pairs"]
    assert entry["ranking"] is True and entry["formatting"] == "sharegpt"
    assert (tmp_path / "out" / entry["file_name"]).is_file()
    for row in rows:
        turns = row[entry["columns"]["messages"]]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2) + ["human"]
        for side in ("chosen", "rejected"):
            assert {*row[entry["columns"][side]]} == {"from", "value"} and row[side]["from"] == "gpt"
    assert (rows[0]["chosen"]["value"], rows[0]["rejected"]["value"]) == ("I won't, 0.", "Sure, 0. [withheld]")


def test_verl_has_its_five_fields_in_parquet_and_numbers_its_rows(tmp_path: Path) -> None:
    rows = write("verl", tmp_path / "out", [*SAMPLES, *(sample(number) for number in range(3, 80))])
    assert [{*row} for row in rows] == [{"data_source", "prompt", "ability", "reward_model", "extra_info"}] * 81
    assert [row["extra_info"]["index"] for row in rows] == list(range(81))
    assert rows[0]["reward_model"] == {"style": "model", "ground_truth": "I won't, 0."}
    assert rows[0]["prompt"] == [{"role": "user", "content": "abcd\n\nHarm 0?"}]
    assert rows[0]["data_source"] == "longsafety/KeywordRAG"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "train.parquet"]


def said(one: Sample) -> tuple[Any, ...]:
    """What a program sees of a sample that has no context any more."""
    return one.task, one.history, one.question, one.answer, one.rejected


@pytest.mark.parametrize("format", EVERY)
def test_what_is_written_is_read_back_the_same(format: str, tmp_path: Path) -> None:
    written = write(format, tmp_path / "out")
    found = read_public(str(tmp_path / "out"))
    assert (found.schema, found.bad, len(found.samples)) == (format, [], len(SAMPLES))
    for one, other in zip(found.samples, SAMPLES, strict=True):
        assert one.id == f"{format}/{other.id}"
        first, *rest = [*(user for user, _ in other.history), other.question]
        asked = [f"abcd\n\n{first}" if other.context else first, *rest]
        assert [*(user for user, _ in one.history), one.question] == asked
        assert [reply for _, reply in one.history] == [reply for _, reply in other.history]
        assert (one.task, one.answer, one.rejected) == (other.task, other.answer, other.rejected)
    again = write(format, tmp_path / "again", found.samples)
    prompts = {"llama_factory_preference": "conversations"}.get(format, "prompt")
    assert [row[prompts] for row in again] == [row[prompts] for row in written]
    assert [said(one) for one in read_public(str(tmp_path / "again")).samples] == [said(one) for one in found.samples]


@pytest.mark.parametrize("format", EVERY)
def test_the_card_warns_and_says_who_wrote_the_rejected_answers(format: str, tmp_path: Path) -> None:
    write(format, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "Content warning" in card and "a stub without content" in card
    assert "rejected: template (3)" in card
    assert "license: cc-by-4.0" in card
    write("messages", tmp_path / "chats")
    assert "rejected" not in (tmp_path / "chats" / "README.md").read_text("utf-8")


# Reading what others wrote


def read(tmp_path: Path, row: dict[str, Any]) -> PublicSet:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    return read_public(str(tmp_path / "rows.jsonl"))


def test_plain_texts_and_system_messages_are_read(tmp_path: Path) -> None:
    [one] = read(tmp_path, {"prompt": "q", "chosen": "c", "rejected": "r"}).samples
    assert (one.question, one.answer, one.rejected, one.history) == ("q", "c", "r", ())
    prompt = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "q"}]
    found = read(tmp_path, {"prompt": prompt, "chosen": "c", "rejected": "r"})
    assert (found.samples[0].system, found.samples[0].question) == ("be brief", "q")
    row = {"conversations": [{"from": "human", "value": "q"}], "system": "be kind"}
    sides = {side: {"from": "gpt", "value": side} for side in ("chosen", "rejected")}
    assert read(tmp_path, row | sides).samples[0].system == "be kind"
    [one] = read(tmp_path, {"instruction": "i", "input": "n", "chosen": "c", "rejected": "r"}).samples
    assert (one.question, one.answer, one.rejected) == ("i\nn", "c", "r")


USER, REPLY = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prompt": [USER, REPLY]}, r"prompt = .*a prompt ends with the user's turn; move the answer to chosen"),
        ({"prompt": [USER, USER]}, r"prompt\[1\]\.role = 'user': turns alternate, and assistant is due here"),
        ({"prompt": [REPLY]}, r"prompt\[0\]\.role = 'assistant': .*system or user is due here"),
        ({"prompt": " "}, r"prompt = ' ': empty; give a text"),
        ({"chosen": [USER, REPLY]}, r"chosen = .*not a text or one assistant message; give the reply alone"),
        ({"rejected": [USER]}, r"rejected = .*not a text or one assistant message"),
        ({"rejected": [{"role": "assistant", "content": ""}]}, r"rejected\.content = '': empty"),
        ({"chosen": None}, r"chosen = None: null; give a value"),
    ],
)
def test_a_pair_of_another_form_is_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {problem}"):
        read(tmp_path, {"prompt": [USER], "chosen": [REPLY], "rejected": [REPLY], **changes})


def test_a_ground_truth_that_is_no_text_is_refused(tmp_path: Path) -> None:
    row = {"data_source": "d", "prompt": [USER], "ability": "math", "reward_model": {"style": "rule"}}
    with pytest.raises(DataError, match=r"reward_model\.ground_truth = None: not a text; give one"):
        read(tmp_path, row)


def test_a_pair_of_two_equal_answers_is_no_pair(tmp_path: Path) -> None:
    found = read(tmp_path, {"prompt": "Harm?", "chosen": "No.", "rejected": " No.\n"})
    assert [(one.answer, one.rejected) for one in found.samples] == [("No.", "")]
    assert found.counts["pairs of two equal answers: read without the rejected one"] == 1
