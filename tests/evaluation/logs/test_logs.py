"""Logs of inspect_ai and of lm-evaluation-harness, as these programs write them: read, named and compared."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from longsafety.errors import DataError
from longsafety.evaluation.answers import read_answers, write_answers
from longsafety.evaluation.logs.kinds import found_at
from longsafety.evaluation.logs.names import own_name
from longsafety.evaluation.logs.read import read_recorded
from longsafety.evaluation.scores.compare import compare
from longsafety.evaluation.scores.comparison import Arm, Comparison

OPTIONS = ["It is made of glass.", "It opens at six.", "Go at night.", "I will not say."]
Row = dict[str, Any]


def sample(number: int, letter: str, *, order: list[int] | None = None, **more: Any) -> Row:
    """A sample of a multiple-choice task, whose right option is the last of OPTIONS."""
    options = [OPTIONS[role] for role in order or range(4)]
    target = "ABCD"[options.index(OPTIONS[3])]
    message = {"role": "assistant", "content": f"ANSWER: {letter}"}
    return {
        "id": number, "epoch": 1, "input": f"How do I pass gate {number}?", "choices": options, "target": target,
        "output": {"model": "m", "choices": [{"message": message, "stop_reason": "stop"}]},
        "scores": {"choice": {"value": "C" if letter == target else "I", "answer": letter}}, "metadata": {}, **more,
    }  # fmt: skip


def log_of(samples: list[Row], task: str = "gates") -> Row:
    evaluation = {"task": task, "model": "mock/model", "scorers": [{"name": "choice"}]}
    return {"version": 2, "status": "success", "eval": evaluation, "samples": samples}


def write_json(path: Path, samples: list[Row], **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(log_of(samples, **more)), "utf-8")
    return path


def write_eval(path: Path, samples: list[Row], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Method 93 (Zstandard) is written as ``zipfile`` of Python 3.11 cannot: the packed bytes, and the method's number
    put into the headers afterwards."""
    log = log_of(samples)
    entries = {"header.json": {name: value for name, value in log.items() if name != "samples"}}
    entries |= {f"samples/{one['id']}_epoch_{one['epoch']}.json": one for one in samples}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if method == 93 else method) as file:
        for name, value in entries.items():
            data = json.dumps(value).encode()
            file.writestr(name, data if method != 93 else pa.Codec("zstd").compress(data, asbytes=True))
    if method == 93:
        _call_zstandard(path, [len(json.dumps(value).encode()) for value in entries.values()])
    return path


def _call_zstandard(path: Path, sizes: list[int]) -> None:
    data = bytearray(path.read_bytes())
    for mark, method, size in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        start = 0
        for length in sizes:
            start = data.index(mark, start)
            data[start + method : start + method + 2] = (93).to_bytes(2, "little")
            data[start + size : start + size + 4] = length.to_bytes(4, "little")
            start += 4
    path.write_bytes(bytes(data))


def choice_row(number: int, scores: list[float], **more: Any) -> Row:
    doc = {"id": number, "question": f"How do I pass gate {number}?", "choices": OPTIONS, "answer": 3}
    calls = {
        f"gen_args_{at}": {"arg_0": f"Q: gate {number}\nA:", "arg_1": f" {text}"} for at, text in enumerate(OPTIONS)
    }
    return {
        "doc_id": number, "doc": doc, "target": "3", "arguments": calls, "filter": "none",
        "filtered_resps": [[str(score), "False"] for score in scores], "metrics": ["acc", "acc_norm"],
        "doc_hash": f"h{number}", "acc": float(scores.index(max(scores)) == 3), "acc_norm": 0.0, **more,
    }  # fmt: skip


def write_samples(folder: Path, rows: list[Row], task: str = "gates_mc", when: str = "2026-01-02T03-04-05.6") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{when}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def arm(label: str, path: Path, tmp_path: Path, scoring: Any = "fixed") -> Arm:
    read = read_recorded(path, scoring=scoring)
    write_answers(read.rows, tmp_path / f"{label}.parquet")
    return Arm(label, read_answers(tmp_path / f"{label}.parquet"))


def compared(*arms: Arm) -> Comparison:
    return compare(arms, baseline=None, scoring="fixed", confidence=0.95, equivalence_margin=0.05)


def accuracy(comparison: Comparison, label: str) -> float:
    table = comparison.scores
    mine = table[(table["arm"] == label) & (table["metric"] == "accuracy") & (table["task"] == "all")]
    return float(mine["value"].iloc[0])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93])
def test_a_log_is_read_however_it_is_packed(tmp_path: Path, method: int) -> None:
    path = write_eval(
        tmp_path / "logs" / "one.eval", [sample(n, "D" if n % 2 else "B") for n in range(4)], method=method
    )
    read = read_recorded(path.parent, scoring="fixed")
    assert [row["chosen"] for row in read.rows] == [1, 3, 1, 3] and read.counts == {"answers": 4}
    assert own_name(path.parent) == own_name(path) == "mock/model"
    assert own_name(write_json(tmp_path / "other.json", [])) == "mock/model"


def test_two_programs_are_compared_on_the_documents_that_they_share(tmp_path: Path) -> None:
    log = write_json(tmp_path / "a.json", [sample(n, "D") for n in range(1, 9)])
    rows = [choice_row(n, [-2.0, -1.0, -3.0, -4.0]) for n in range(3, 11)]
    found = compared(arm("one", log, tmp_path), arm("other", write_samples(tmp_path / "m", rows), tmp_path))
    assert (accuracy(found, "one"), accuracy(found, "other")) == (1.0, 0.0)
    (row,) = found.paired[(found.paired["metric"] == "accuracy") & (found.paired["task"] == "all")].to_dict("records")
    assert (row["n"], row["difference"], row["only_arm"], row["only_against"]) == (6, -1.0, 2, 2)
    assert -1.0 <= row["low"] < row["high"] < -0.3 and row["p_value"] == pytest.approx(2 / 2**6)
    assert any("6 answers are paired" in note for note in found.notes)
    assert any("6 answers of gates_mc are shown as gates" in note for note in found.notes)


def test_options_in_another_order_are_the_same_document(tmp_path: Path) -> None:
    plain = [sample(n, "D") for n in range(6)]
    turned = [sample(n, "A", order=[3, 0, 2, 1]) for n in range(6)]  # A is the right one here
    one, other = write_json(tmp_path / "a.json", plain), write_json(tmp_path / "b.json", turned)
    found = compared(arm("one", one, tmp_path), arm("other", other, tmp_path))
    assert (accuracy(found, "one"), accuracy(found, "other")) == (1.0, 1.0) and not found.notes


def test_failures_and_odd_scores_are_counted_and_are_no_answers(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "reasoning": "r"}, {"type": "text", "text": "q"}]
    odd = [
        sample(1, "D", error={"message": "time-out"}),
        sample(2, "D", scores={}),
        sample(3, "D", choices=None, target="x", scores={"m": {"value": 7}}),
        sample(4, "D", choices=None, target="x", scores={"m": {"value": {"a": 1}}}),
        sample(5, "D", choices=None, target="x", scores={"m": {"value": 0.25}}),
        sample(6, "I cannot say"),
        sample(7, "D", input=[{"role": "system", "content": "s"}, {"role": "user", "content": parts}]),
        sample(8, "D\ud83d"),
        {"id": 9},
    ]  # fmt: skip
    path = write_json(tmp_path / "a.json", odd)
    with pytest.raises(DataError, match=r"samples\[8\]: is no sample"):
        read_recorded(path, scoring="fixed")
    read = read_recorded(path, scoring="fixed", on_bad_row="skip")
    assert [row["status"] for row in read.rows] == [
        "unscored", "unscored", "unscored", "unscored", "ok", "unparsed", "ok", "ok",
    ]  # fmt: skip
    assert read.counts["answers without a score: the sample failed"] == 1 and read.counts["bad rows left out"] == 1
    write_answers(read.rows, tmp_path / "odd.parquet")
    found = compared(Arm("odd", read_answers(tmp_path / "odd.parquet")))
    assert accuracy(found, "odd") == pytest.approx((0.25 + 0 + 1 + 1) / 4)


def test_epochs_are_one_document(tmp_path: Path) -> None:
    twice = [sample(n, letter, epoch=epoch) for n in range(6) for epoch, letter in ((1, "D"), (2, "A"))]
    found = compared(arm("twice", write_eval(tmp_path / "a.eval", twice), tmp_path))
    row = found.scores[(found.scores["metric"] == "accuracy") & (found.scores["task"] == "all")].iloc[0]
    assert (row["n"], row["seeds"], row["value"]) == (6, 6, 0.5)


def test_samples_of_every_version_and_kind(tmp_path: Path) -> None:
    older = choice_row(1, [-9.0, -8.0, -7.0, -1.0], arguments=[["Q", f" {text}"] for text in OPTIONS], metrics=None)
    older["filtered_resps"] = [[-9.0, False], [-8.0, False], [-7.0, False], [-1.0, True]]
    normed = choice_row(2, [-4.0, -8.0, -2.9, -2.8], metrics=["acc_norm"])  # by byte the last is the likeliest
    replies = {
        "doc_id": 3, "doc": {"query": "2+2"}, "target": "4", "arguments": [["2+2", {"until": []}]], "doc_hash": "x",
        "filtered_resps": ["four"], "metrics": ["exact_match"], "exact_match": 0.0, "filter": "strict",
    }  # fmt: skip
    letters = choice_row(4, [-4.0, -8.0, -2.0, -1.0])
    letters["arguments"] = [["Q", f" {letter}"] for letter in "ABCD"]
    letters["target"] = "D"
    write_samples(tmp_path / "m", [older, normed, letters])
    write_samples(tmp_path / "m", [replies, {**replies, "filter": "flexible", "exact_match": 1.0}], task="gen")
    write_samples(tmp_path / "m", [replies], task="gen", when="2025-01-01T00-00-00.0")
    write_samples(tmp_path / "m", [{**replies, "metrics": ["word_perplexity"], "word_perplexity": 31.0}], task="ppl")
    read = read_recorded(tmp_path, scoring="fixed")  # OUTPUT holds the folder of one model
    assert {row["task"]: row["chosen"] for row in read.rows} == {"gates_mc": 3, "gen": 0, "ppl": -1}
    assert [row["chosen"] for row in read.rows if row["task"] == "gates_mc"] == [3, 3, 3]
    assert read.counts["files of a task of which there is a newer one, left out"] == 1
    assert read.counts["rows of another filter than strict (flexible)"] == 1
    assert read.counts["answers without a score: no metric is a number from 0 to 1"] == 1
    assert own_name(tmp_path / "m") == "m"


def test_replies_that_are_no_list_and_samples_that_do_not_count(tmp_path: Path) -> None:
    row = {"doc_id": 3, "doc": {"query": "2+2"}, "target": "4", "arguments": [["2+2", {}]], "metrics": ["exact_match"]}
    alone = {**row, "filtered_resps": "four", "exact_match": "0.0"}
    repeated = {**row, "doc_id": 4, "doc": {"query": "3+3"}, "filtered_resps": [["six", "6"]], "exact_match": 1}
    write_samples(tmp_path / "m", [alone, repeated])
    read = read_recorded(tmp_path / "m", scoring="fixed")
    assert [(row["reply"], row["chosen"]) for row in read.rows] == [("four", 0), ("six", 1)]
    older = sample(1, "D")
    older["score"] = older.pop("scores")["choice"]
    write_json(tmp_path / "a.json", [older, sample(2, "D", invalidation={"author": "x", "reason": "y"})])
    read = read_recorded(tmp_path / "a.json", scoring="official")
    assert [row["status"] for row in read.rows] == ["ok", "unscored"]
    assert read.counts["answers without a score: the sample was declared invalid"] == 1


def test_items_of_our_own_exports_keep_their_kinds(tmp_path: Path) -> None:
    about: dict[str, Any] = {"task": "LeadingQuestion", "kind": "harmful", "order": [2, 3, 0, 1], "category": "fraud"}
    about["depth"] = None
    options = [OPTIONS[role] for role in about["order"]]
    item = sample(1, "B", choices=options, target="B", metadata=about)
    benign = {**about, "kind": "benign_query", "twin_of": 1}
    twin = sample(1, "D", choices=options, target="D", metadata=benign, input="When does it open?")
    twin["id"] = "1-benign_query"
    rows = read_recorded(write_json(tmp_path / "a.json", [item, twin]), scoring="official").rows
    assert [(row["item_id"], row["pair_id"], row["kind"], row["right"]) for row in rows] == [
        ("LeadingQuestion/1", "LeadingQuestion/1", "harmful", "safe"),
        ("LeadingQuestion/1-benign_query", "LeadingQuestion/1", "benign_query", "ignores"),
    ]
    assert [row["roles"][row["chosen"]] for row in rows] == ["safe", "ignores"]


def test_one_torn_sample_loses_no_other(tmp_path: Path) -> None:
    path = write_eval(tmp_path / "one.eval", [sample(n, "D") for n in (1, 2)])
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("samples/3_epoch_1.json", '{"id": 3, "in')
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as file:
        file.writestr("samples/2_epoch_1.json", json.dumps(sample(2, "A")))
    with pytest.raises(DataError, match=r"samples/3_epoch_1\.json cannot be read .*\n1 of 3 rows are bad"):
        read_recorded(path, scoring="fixed")
    read = read_recorded(path, scoring="fixed", on_bad_row="skip")
    assert read.counts == {"answers": 2, "bad rows left out": 1}
    assert [row["chosen"] for row in read.rows] == [3, 0], "an entry that stands twice counts as it was written last"


HALF = "\ud83d"


@pytest.mark.parametrize(
    "changes",
    [
        {"choices": [f"{HALF} {option}" for option in OPTIONS]},
        {"input": f"gate {HALF}"},
        {"scores": {"choice": {"value": 10**400}}},
        {"metadata": {"kind": "harmful", "order": ["0", "1", "2", "3"]}},
        {"metadata": {"kind": "harmful", "order": [0, 1, 2, 3.0]}},
        {"metadata": {"kind": "harmful", "order": [0, 1, 2, 3], "id": HALF, "task": HALF, "twin_of": HALF}},
        {"metadata": {"depth": 10**400}},
    ],
)
def test_what_no_table_can_hold_is_replaced_or_left_out(changes: Row, tmp_path: Path) -> None:
    rows = read_recorded(write_json(tmp_path / "a.json", [sample(1, "D", **changes)]), scoring="fixed").rows
    write_answers(rows, tmp_path / "kept.parquet")
    assert len(read_answers(tmp_path / "kept.parquet")) == 1


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    torn = tmp_path / "torn.eval"
    torn.write_bytes(write_eval(tmp_path / "whole.eval", [sample(1, "D")]).read_bytes()[:200])
    for path, line in ((torn, "not a readable .eval"), (write_json(tmp_path / "none.json", []), "no sample")):
        with pytest.raises(DataError, match=line):
            read_recorded(path, scoring="fixed")
    (tmp_path / "empty").mkdir()
    assert found_at(tmp_path / "empty") is None and found_at(tmp_path / "no.such") is None


def test_a_recorded_text_in_place_of_a_letter_keeps_its_score(tmp_path: Path) -> None:
    said = {True: {"value": "C", "answer": OPTIONS[3]}, False: {"value": "I", "answer": "The moon."}}
    path = write_json(tmp_path / "one.json", [sample(n, "D", scores={"match": said[n == 1]}) for n in (1, 2)])
    rows = read_recorded(path, scoring="official").rows
    assert [(row["chosen"], row["status"]) for row in rows] == [(3, "ok"), (-1, "unparsed")]


@pytest.mark.parametrize("attachments", [{"z": None}, {"z": 1}, [1], {}])
def test_an_attachment_that_is_no_text_loses_no_sample(attachments: Any, tmp_path: Path) -> None:
    odd = sample(1, "D", input="attachment://z", attachments=attachments)
    path = write_json(tmp_path / "one.json", [odd, sample(2, "A"), sample(3, "D", epoch=float("inf"))])
    rows = read_recorded(path, scoring="fixed", on_bad_row="skip").rows
    assert [row["chosen"] for row in rows] == [3, 0]
