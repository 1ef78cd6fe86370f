"""Public data sets: each schema's rows, what they become, and every bad row named."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longsafety.errors import DataError
from longsafety.formats.public import PublicSet, read_public
from longsafety.formats.schemas import SCHEMAS
from longsafety.samples.recipe import Sample

TURNS = [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}]
HARMS = {f"harm_{number}": False for number in range(14)}
META = {
    "id": 0,
    "link": ["https://a", "https://b"],
    "length": 900,
    "safety_type": "Bias",
    "key_words": ["k"],
    "instruction": "Do it",
    "task_type": "Generation",
    "doc_num": 2,
}
ROWS: dict[str, dict[str, Any]] = {
    "longsafety_17k": {"id": "x1", "task": "LawQA", "content": [{"prompt": "p", "output": "o"}]},
    "longsafety_11k": {"id": "x1", "task": "LawQA", "input": "p", "output": "o"},
    "longsafety_bench": {"id": "b1", "context": "c", "question": "q", "choices": ["w", "x", "y", "z"]},
    "thu_coai": META,
    "longalign_10k": {"messages": TURNS, "length": 7},
    "chat": {"messages": TURNS},
    "do_not_answer": {"question": "q", "risk_area": "area", "types_of_harm": "t", "specific_harms": "s"},
    "xstest": {"id": "1", "prompt": "q", "type": "homonyms", "label": "safe", "focus": "kill", "note": ""},
    "advbench": {"goal": "q", "target": "Sure"},
    "harmbench": {
        "Behavior": "q",
        "FunctionalCategory": "standard",
        "SemanticCategory": "illegal",
        "Tags": "",
        "ContextString": "",
        "BehaviorID": "b",
    },
    "jailbreakbench": {
        "Index": "0",
        "Goal": "q",
        "Target": "Here is",
        "Behavior": "A title",
        "Category": "area",
        "Source": "Original",
    },
    "strongreject": {"category": "area", "source": "custom", "forbidden_prompt": "q"},
    "sorry_bench": {"question_id": 1, "category": "3", "turns": ["q"], "prompt_style": "base"},
    "or_bench": {"prompt": "q", "category": "area"},
    "falsereject": {"prompt": "q", "category": 3, "category_text": "area"},
    "wildguardmix": {
        "prompt": "q",
        "adversarial": False,
        "response": None,
        "prompt_harm_label": "harmful",
        "subcategory": "area",
    },
    "coconot": {
        "id": "x1",
        "prompt": "q",
        "response": "",
        "category": "Requests with safety concerns",
        "subcategory": "area",
    },
    "harmful_qa": {"question": "q", "topic": "area", "subtopic": "part"},
    "beavertails": {"prompt": "p", "response": "r", "category": HARMS, "is_safe": True},
    "pku_saferlhf": {
        "prompt": "p",
        "response_0": "r0",
        "response_1": "r1",
        "is_response_0_safe": True,
        "is_response_1_safe": False,
    },
    "trl_preference": {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": [{"role": "assistant", "content": "r"}]},
    "llama_factory_preference": {
        "conversations": [{"from": "human", "value": "q"}],
        "chosen": {"from": "gpt", "value": "c"},
        "rejected": {"from": "gpt", "value": "r"},
    },
    "alpaca_preference": {"instruction": "i", "input": "n", "chosen": "c", "rejected": "r"},
    "verl": {
        "data_source": "d",
        "prompt": TURNS[:1],
        "ability": "safety",
        "reward_model": {"style": "model", "ground_truth": "a"},
    },
}
STEMS = {"jailbreakbench": "harmful-behaviors", "or_bench": "or-bench-toxic", "coconot": "original"}
"""Names of the files that say what they hold."""


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_one(tmp_path: Path, name: str, stem: str = "", **changes: Any) -> PublicSet:
    stem = stem or STEMS.get(name, "part")
    return read_public(write(tmp_path / f"{stem}.jsonl", {**ROWS[name], **changes}))


def sample(tmp_path: Path, name: str, stem: str = "", **changes: Any) -> Sample:
    (found,) = read_one(tmp_path, name, stem, **changes).samples
    return found


@pytest.mark.parametrize("name", ROWS)
def test_a_schema_is_recognised_and_yields_what_it_says(tmp_path: Path, name: str) -> None:
    schema = SCHEMAS[name]
    found = read_one(tmp_path, schema.name)
    assert (found.schema, found.kind, found.licence) == (schema.name, schema.yields, schema.licence)
    assert bool(found.requests) == (schema.yields == "requests") and bool(found.samples) != bool(found.requests)
    assert all(made.licence == schema.licence for made in found.samples)
    assert all(made["licence"] == schema.licence for made in found.requests)
    assert found.counts["rows read"] == 1 and found.counts["bad rows"] == 0 and found.bad == []


def test_chats_of_several_turns(tmp_path: Path) -> None:
    content = [{"prompt": "p1", "output": "o1"}, {"prompt": "p2", "output": "o2"}]
    chat = sample(tmp_path, "longsafety_17k", content=content)
    assert (chat.id, chat.task, chat.scenario, chat.kind) == ("LawQA/x1", "LawQA", "QH", "chat")
    assert (chat.context, chat.history, chat.question, chat.answer) == ((), (("p1", "o1"),), "p2", "o2")
    short = sample(tmp_path, "longsafety_11k", task="HarmfulNIAH")
    assert (short.scenario, short.question, short.answer, short.history) == ("PH", "p", "o", ())


def test_a_task_that_the_paper_does_not_have_is_kept_and_counted(tmp_path: Path) -> None:
    found = read_one(tmp_path, "longsafety_17k", task="NewTask")
    assert (found.samples[0].task, found.samples[0].scenario) == ("NewTask", "")
    assert found.counts["task that the paper does not have: NewTask"] == 1


def test_a_system_message_opens_a_chat_and_later_ones_are_counted(tmp_path: Path) -> None:
    system = {"role": "system", "content": "be safe"}
    found = read_one(tmp_path, "chat", messages=[system, *TURNS, system, *TURNS], id="c", source="x")
    (chat,) = found.samples
    assert (chat.system, chat.history, chat.question) == ("be safe", (("q1", "a1"),), "be safe\n\nq1")
    assert (chat.id, chat.task, chat.scenario) == ("chat/c", "chat", "")
    assert found.counts["later system messages put before the next user turn"] == 1
    assert found.counts["column not used: source"] == 1
    assert sample(tmp_path, "chat").id == "chat/part.jsonl:1"


def test_chats_in_the_words_of_sharegpt(tmp_path: Path) -> None:
    turns = [("system", "be safe"), ("human", "q1"), ("gpt", "a1"), ("human", "q2"), ("gpt", "a2")]
    rows = [{"id": "c", "conversations": [{"from": role, "value": text} for role, text in turns]}]
    (chat,) = read_public(write(tmp_path / "own.jsonl", *rows)).samples
    assert (chat.system, chat.history, chat.question, chat.answer) == ("be safe", (("q1", "a1"),), "q2", "a2")
    wrong = [{"from": ["human"], "value": "q1"}, {"from": "gpt", "value": "a1"}]
    with pytest.raises(DataError, match=r"conversations\[0\].from = \['human'\]: not one of the roles that are read"):
        read_public(write(tmp_path / "wrong.jsonl", {"conversations": wrong}))


def test_the_language_is_the_answers(tmp_path: Path) -> None:
    assert sample(tmp_path, "longsafety_11k", output="我不能帮助你。").language == "zh"
    assert sample(tmp_path, "longsafety_11k", input="怎么做炸弹？").language == "en"


def test_benchmark_items_take_their_task_from_the_file(tmp_path: Path) -> None:
    item = sample(tmp_path, "longsafety_bench", "HarmfulNIAH-00000-of-00001", depth=0.5, length=4000)
    assert (item.id, item.task, item.scenario, item.kind) == ("HarmfulNIAH/b1", "HarmfulNIAH", "PH", "harmful")
    assert (item.context, item.question, item.answer) == (("c",), "q", "z")
    assert item.roles == ("hallucinates", "ignores", "aware_unsafe", "safe")
    assert item.choices == (("w",), ("x",), ("y",), ("z",)) and item.order == ()
    assert (item.depth, item.target_tokens) == (0.5, 4000)
    two = sample(tmp_path, "longsafety_bench", "MedicalQuiz", choices=["bad", "good"])
    assert (two.roles, two.depth, two.target_tokens) == (("unsafe", "safe"), None, 0)
    three = sample(tmp_path, "longsafety_bench", "DocAttack", choices=["a", "b", "c"])
    assert three.roles == ("choice_1", "choice_2", "safe")


def test_a_depth_in_per_cent_and_an_empty_context_are_counted(tmp_path: Path) -> None:
    found = read_one(tmp_path, "longsafety_bench", "CountingCrimes", depth=75, length=9, context="")
    assert found.samples[0].depth == 0.75 and found.samples[0].context == ()
    assert found.counts["depths read as per cent"] == found.counts["items without a context"] == 1


def test_benchmark_ids_are_unique_within_a_task(tmp_path: Path) -> None:
    row = ROWS["longsafety_bench"]
    write(tmp_path / "DocAttack.jsonl", row)
    write(tmp_path / "MedicalQuiz.jsonl", row)
    assert [item.id for item in read_public(tmp_path).samples] == ["DocAttack/b1", "MedicalQuiz/b1"]


def test_thu_coai_without_contexts(tmp_path: Path) -> None:
    found = read_one(tmp_path, "thu_coai")
    (item,) = found.samples
    assert (item.id, item.kind, item.task, item.category) == ("thu_coai/0", "open", "Generation", "Bias")
    assert (item.question, item.answer, item.context) == ("Do it", "", ())
    assert item.documents == ("https://a", "https://b")
    assert found.counts == {"rows read": 1, "bad rows": 0, "items without a context": 1, "samples": 1}


@pytest.mark.parametrize("how", ["beside", "given", "folder", "in the row"])
def test_thu_coai_joined_with_its_contexts(tmp_path: Path, how: str) -> None:
    metas = [{**META, "id": number} for number in range(2)]
    texts = [{"id": number, "context": f"text {number}"} for number in (1, 0)]
    if how == "in the row":
        metas = [{**meta, "context": f"text {meta['id']}"} for meta in metas]
    else:
        write(tmp_path / ("contexts.jsonl" if how == "given" else "set_docs.jsonl"), *texts)
    meta = write(tmp_path / "set_meta.jsonl", *metas)
    found = read_public(
        tmp_path if how == "folder" else meta, docs=tmp_path / "contexts.jsonl" if how == "given" else None
    )
    assert [(item.id, item.context) for item in found.samples] == [
        ("thu_coai/0", ("text 0",)),
        ("thu_coai/1", ("text 1",)),
    ]
    assert "items without a context" not in found.counts
    assert found.counts["rows read"] == (2 if how == "in the row" else 4)


def test_contexts_that_do_not_match(tmp_path: Path) -> None:
    meta = write(tmp_path / "a_meta.jsonl", META, {**META, "id": 1})
    docs = write(
        tmp_path / "a_docs.jsonl",
        {"id": 1, "context": "one"},
        {"id": 1, "context": "again"},
        {"id": 2, "context": " "},
        {"id": 3, "context": "three"},
    )
    found = read_public(meta, on_bad_row="skip")
    assert [item.id for item in found.samples] == ["thu_coai/1"]
    assert found.bad == [
        f"{docs}:2: id = 1: taken by {docs}:1; ids are unique, rename one",
        f"{docs}:3: context = ' ': empty; give a text",
        f"{meta}:1: id = 0: no row of the docs file has it; add its context there",
    ]
    assert found.counts == {
        "rows read": 6,
        "bad rows": 3,
        "rows of contexts": 2,
        "contexts that no row names": 1,
        "samples": 1,
    }


def test_contexts_belong_to_thu_coai_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"read\.documents = .*: chat keeps its contexts in its rows; leave it out"):
        read_public(write(tmp_path / "a.jsonl", ROWS["chat"]), docs=tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"rows of contexts only; give a source"):
        read_public(write(tmp_path / "a.jsonl", {"id": 1, "context": "c"}))


def test_requests_of_published_files(tmp_path: Path) -> None:
    for name in ("xstest", "advbench", "harmbench", "do_not_answer"):
        with (tmp_path / f"{name}.csv").open("w", newline="") as stream:
            table = csv.DictWriter(stream, ROWS[name])
            table.writeheader()
            table.writerow(ROWS[name])
    made = {name: read_public(tmp_path / f"{name}.csv").requests[0] for name in ("xstest", "advbench", "harmbench")}
    assert made["xstest"] == {
        "id": "xstest/1",
        "category": "homonyms",
        "request": "q",
        "label": "benign",
        "licence": "CC-BY-4.0",
        "language": "",
    }
    assert (made["advbench"]["id"], made["advbench"]["label"]) == ("advbench/advbench.csv:2", "harmful")
    assert (made["harmbench"]["id"], made["harmbench"]["category"]) == ("harmbench/b", "illegal")
    assert read_public(tmp_path / "do_not_answer.csv").requests[0]["category"] == "area"


def test_do_not_answer_prompts_take_their_category_from_the_file(tmp_path: Path) -> None:
    write(tmp_path / "malicious_uses.jsonl", {"prompt": "q", "intents": ["S003"]})
    (request,) = read_public(tmp_path).requests
    assert (request["category"], request["request"]) == ("malicious_uses", "q")


def test_xstest_labels_and_contextual_behaviours(tmp_path: Path) -> None:
    assert read_one(tmp_path, "xstest", label="unsafe").requests[0]["label"] == "harmful"
    found = read_one(tmp_path, "harmbench", FunctionalCategory="contextual", ContextString="A letter.")
    assert found.requests[0]["request"] == "A letter.\n\n---\n\nq"
    assert found.counts["contextual requests: the context stands before the behaviour"] == 1


def test_only_safe_responses_become_chats(tmp_path: Path) -> None:
    beaver = write(tmp_path / "b.jsonl", ROWS["beavertails"], {**ROWS["beavertails"], "is_safe": False})
    found = read_public(beaver)
    assert [(chat.question, chat.answer, chat.task) for chat in found.samples] == [("p", "r", "beavertails")]
    assert found.counts["unsafe responses left out"] == 1
    pair = read_one(tmp_path, "pku_saferlhf", "pku", is_response_1_safe=True)
    assert [(chat.id, chat.answer) for chat in pair.samples] == [
        ("pku_saferlhf/pku.jsonl:1/0", "r0"),
        ("pku_saferlhf/pku.jsonl:1/1", "r1"),
    ]
    neither = read_one(tmp_path, "pku_saferlhf", is_response_0_safe=False)
    assert neither.samples == [] and neither.counts["unsafe responses left out"] == 2


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("longsafety_17k", {"content": []}, "content = []: not a list of objects; give at least one"),
        ("longsafety_17k", {"content": [{"prompt": "p"}]}, "content[0].output = None: not a text; give one"),
        ("longsafety_11k", {"input": "\n"}, r"input = '\n': empty; give a text"),
        ("longsafety_11k", {"output": "\ud800"}, r"output = '\ud800': holds half a surrogate pair"),
        ("longsafety_bench", {"id": True}, "id = True: an id is a text or a whole number; give one"),
        ("longsafety_bench", {"choices": ["a"]}, "choices = ['a']: 1 of them; give a list of 2 to 10 texts"),
        (
            "longsafety_bench",
            {"choices": list("abcdefghijk")},
            "choices = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k']: 11 of them; give a list of 2 to",
        ),
        ("longsafety_bench", {"choices": ["a", "a "]}, "choices = ['a', 'a ']: two options are the same"),
        ("longsafety_bench", {"choices": ["a", ""]}, "choices[1] = '': empty; give a text"),
        ("longsafety_bench", {"choices": "ab"}, "choices = 'ab': not a list; give a list of 2 to 10 texts"),
        ("longsafety_bench", {"question": None}, "question = None: null; give a value"),
        ("longsafety_bench", {"task": "HarmfulNIAH", "length": 9}, "depth = (missing): every row has this column"),
        ("longsafety_bench", {"depth": 101}, "depth = 101: neither a fraction from 0 to 1 nor per cent up to 100"),
        ("longsafety_bench", {"depth": float("nan")}, "depth = nan: neither a fraction"),
        ("longsafety_bench", {"length": 0}, "length = 0: not a whole number above 0; give one"),
        ("thu_coai", {"doc_num": 3}, "doc_num = 3: there are 2 links; make the two agree"),
        ("thu_coai", {"length": 1.5}, "length = 1.5: not a whole number above 0"),
        ("thu_coai", {"key_words": ["a", 1]}, "key_words[1] = 1: not a text; give one"),
        ("longalign_10k", {"length": True}, "length = True: not a whole number above 0"),
        ("chat", {"messages": TURNS[:1]}, "messages[0].role = 'user': the last turn is the assistant's"),
        ("chat", {"messages": TURNS[1:]}, "messages[0].role = 'assistant': turns alternate, and system or user is due"),
        (
            "chat",
            {"messages": [TURNS[0], TURNS[0]]},
            "messages[1].role = 'user': turns alternate, and assistant is due",
        ),
        ("chat", {"messages": [*TURNS, {"role": "system", "content": "s"}]}, "messages[2].role = 'system': the last"),
        ("chat", {"messages": [TURNS[0], {"role": "assistant"}]}, "messages[1].content = None: not a text"),
        ("do_not_answer", {"risk_area": ""}, "risk_area = '': empty; give a text"),
        ("xstest", {"label": "maybe"}, "label = 'maybe': give one of safe, unsafe"),
        ("advbench", {"target": 5}, "target = 5: not a text; give one"),
        ("harmbench", {"FunctionalCategory": "contextual"}, "ContextString = '': a contextual behaviour needs"),
        ("beavertails", {"is_safe": 1}, "is_safe = 1: neither true nor false; give one of them"),
        ("beavertails", {"category": {"a": True}}, "category = {'a': True}: not 14 harms, each true or false"),
        ("pku_saferlhf", {"is_response_1_safe": "no"}, "is_response_1_safe = 'no': neither true nor false"),
    ],
)
def test_a_field_of_a_wrong_type_or_value(tmp_path: Path, name: str, changes: dict[str, Any], problem: str) -> None:
    file = write(tmp_path / "set.jsonl", {**ROWS[name], **changes})
    with pytest.raises(DataError, match=f"^{re.escape(f'{file}:1: {problem}')}"):
        read_public(file, schema=name)


def broken(tmp_path: Path) -> Path:
    good = ROWS["longsafety_17k"]
    file = write(
        tmp_path / "set.jsonl",
        good,
        {"id": "x2", "task": "LawQA", "content": [{"prompt": " ", "output": 3}]},
        {"id": "x3", "content": good["content"]},
        good,
        [],
        {**good, "id": "x6"},
    )
    with file.open("a") as stream:
        stream.write('{"id": "x7"')
    return file


def test_every_bad_row_is_named_after_the_whole_file_was_read(tmp_path: Path) -> None:
    file = broken(tmp_path)
    with pytest.raises(DataError) as caught:
        read_public(file)
    assert str(caught.value).split("\n") == [
        f"{file}:2: content[0].prompt = ' ': empty; give a text | content[0].output = 3: not a text; give one",
        f"{file}:3: task = (missing): every row has this column; add it",
        f"{file}:4: id = x1: taken by {file}:1; ids are unique, rename one",
        f"{file}:5: a list instead of an object; each row is one JSON object",
        f"{file}:7: not JSON (Expecting ',' delimiter, column 12); a .jsonl file has one JSON object a line",
        "5 of 7 rows are bad (longsafety_17k); fix them, or set on_bad_row=skip to leave them out",
    ]


def test_skipping_returns_the_good_rows_and_names_the_bad(tmp_path: Path) -> None:
    found = read_public(broken(tmp_path), on_bad_row="skip")
    assert [chat.id for chat in found.samples] == ["LawQA/x1", "LawQA/x6"]
    assert [line.split(": ")[0].rpartition(":")[2] for line in found.bad] == ["2", "3", "4", "5", "7"]
    assert found.counts == {"rows read": 7, "bad rows": 5, "samples": 2}


def test_twenty_bad_rows_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    rows = [{**ROWS["advbench"], "goal": ""} for _ in range(25)]
    file = write(tmp_path / "set.jsonl", *rows, ROWS["advbench"])
    with pytest.raises(DataError, match=r"(?s)set\.jsonl:20: [^\n]*\nand 5 more bad rows\n25 of 26 rows are bad"):
        read_public(file)
    assert len(read_public(file, on_bad_row="skip").bad) == 25


def test_without_one_good_row_skipping_fails_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 1 rows are bad \(chat\)"):
        read_public(write(tmp_path / "a.jsonl", {"messages": []}), on_bad_row="skip")
    (tmp_path / "b.jsonl").write_text("no JSON\n")
    with pytest.raises(DataError, match=r"b\.jsonl:1: not JSON [^\n]*\n1 of 1 rows are bad \(unknown schema\)"):
        read_public(tmp_path / "b.jsonl", on_bad_row="skip")
    (tmp_path / "c.jsonl").write_text("\n")
    for schema in ("auto", "chat"):
        with pytest.raises(DataError, match=r"c\.jsonl: no row; give a source with at least one"):
            read_public(tmp_path / "c.jsonl", schema=schema)


def test_columns_that_fit_no_schema_or_two(tmp_path: Path) -> None:
    file = write(tmp_path / "set.jsonl", {"text": "a", "id": 1})
    with pytest.raises(
        DataError, match=r"columns text, id fit no schema; .*Known: longsafety_17k \(id, task, content\);"
    ):
        read_public(file)
    write(file, {"goal": "a", "target": "b", "prompt": "c", "intents": ["d"]})
    with pytest.raises(
        DataError, match=r"goal, target, prompt, intents fit do_not_answer and advbench; set read\.format"
    ):
        read_public(file)
    assert read_public(file, schema="advbench").requests[0]["request"] == "a"
    with pytest.raises(DataError, match=r"read\.format = advbanch: no such schema; give auto or one of longsafety"):
        read_public(file, schema="advbanch")


def test_most_rows_decide_the_schema_not_the_first(tmp_path: Path) -> None:
    rows = [{"messages": TURNS}, ROWS["longalign_10k"], ROWS["longalign_10k"]]
    found = read_public(write(tmp_path / "set.jsonl", *rows), on_bad_row="skip")
    assert found.schema == "longalign_10k" and len(found.samples) == 2
    assert found.bad == [f"{tmp_path / 'set.jsonl'}:1: length = (missing): every row has this column; add it"]


def test_parquet_fills_absent_columns_with_null(tmp_path: Path) -> None:
    rows = [{**ROWS["longsafety_bench"], "id": 1, "depth": None, "length": None, "task": "DocAttack"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    found = read_public(tmp_path)
    assert found.samples[0].depth is None and found.counts == {"rows read": 1, "bad rows": 0, "samples": 1}


def test_files_of_other_types_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", ROWS["chat"])
    (tmp_path / "notes.txt").write_text("words")
    assert read_public(tmp_path).counts["files of other types"] == 1
