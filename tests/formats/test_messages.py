"""Chats as others write them: every part of a message is read, counted or refused, and labels are listened to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.formats.public import PublicSet, read_public
from tests.formats.test_public import write

ASKED, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
PAIR = {"prompt": [ASKED], "chosen": [SAID], "rejected": [{"role": "assistant", "content": "r"}]}


def read(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> PublicSet:
    return read_public(write(tmp_path / "rows.jsonl", *rows), **more)


@pytest.mark.parametrize(
    ("opens", "asks", "answers"),
    [("developer", "USER", "Model"), ("System", " Human", "chatgpt"), ("system", "user", "GPT")],
)
def test_roles_have_many_names(tmp_path: Path, opens: str, asks: str, answers: str) -> None:
    said = zip((opens, asks, answers), ("be kind", "q", "a"), strict=True)
    messages = [{"role": role, "content": text} for role, text in said]
    (chat,) = read(tmp_path, {"messages": messages}).samples
    assert (chat.system, chat.question, chat.answer) == ("be kind", "q", "a")


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"role": "narrator"}, r"messages\[1\]\.role = 'narrator': not one of the roles that are read: system \(dev"),
        ({"role": None}, r"messages\[1\]\.role = None: not one of the roles"),
        ({"role": "tool"}, r"messages\[1\]\.role = 'tool': a turn of a tool, and chats that call tools are not read"),
        ({"tool_calls": [{"id": "1"}]}, r"messages\[1\]\.tool_calls = .*: chats that call tools are not read; leave"),
        ({"function_call": {"name": "f"}}, r"messages\[1\]\.function_call = .*: chats that call tools are not read"),
        ({"weight": 0}, r"messages\[1\]\.weight = 0: the answer is not to be trained on; leave the chat out"),
        ({"loss": False}, r"messages\[1\]\.loss = False: the answer is not to be trained on; leave the chat out"),
        ({"train": False}, r"messages\[1\]\.train = False: the answer is not to be trained on"),
        ({"training": False, "weight": 1}, r"messages\[1\]\.training = False: the answer is not to be trained on"),
        ({"content": None}, r"messages\[1\]\.content = None: not a text; give one\n"),
        ({"content": "a\0"}, r"messages\[1\]\.content = 'a\\x00': holds a NUL \(character 1\)"),
    ],
)
def test_a_message_that_is_not_read_refuses_its_chat(tmp_path: Path, part: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {problem}"):
        read(tmp_path, {"messages": [ASKED, SAID | part]})


@pytest.mark.parametrize(("key", "part"), [("chosen", {"weight": 0}), ("rejected", {"tool_calls": [1]})])
def test_replies_that_stand_alone_are_no_exception(tmp_path: Path, key: str, part: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {key}\.{next(iter(part))} = "):
        read(tmp_path, PAIR | {key: PAIR[key][0] | part})


def test_what_is_not_read_of_a_message_is_counted(tmp_path: Path) -> None:
    thoughts: dict[str, Any] = {"reasoning_content": "hm", "name": None, "tool_calls": [], "weight": 1}
    chat = [ASKED, SAID | {"weight": 0}, ASKED | {"name": "Bo"}, SAID | thoughts]
    counts = read(tmp_path, {"messages": chat}).counts
    assert {name: count for name, count in counts.items() if "message" in name or "weight" in name} == {
        "part of a message not used: name": 1,
        "part of a message not used: reasoning_content": 1,
        "turns of weight 0 before the last: kept, as turns before the answer are not trained on": 1,
    }
    untrained = read(tmp_path, {"messages": [ASKED, SAID | {"loss": False}, ASKED, SAID | {"loss": None}]}).counts
    assert untrained["turns of loss False before the last: kept, as turns before the answer are not trained on"] == 1
    pairs = read(tmp_path, PAIR | {"chosen": SAID | {"weight": 0.5}}).counts
    assert pairs["part of a message not used: weight"] == 1
    turn = {"prompt": "p", "output": "o", "model": "m"}
    turns = read(tmp_path, {"id": "x", "task": "LawQA", "content": [turn, turn]}).counts
    assert turns["part of a message not used: model"] == 2


@pytest.mark.parametrize("column", ["system", "system_prompt"])
@pytest.mark.parametrize(
    "row",
    [{"messages": [ASKED, SAID]}, PAIR, {"prompt": "q", "chosen": "a", "rejected": "r"}],
    ids=["chat", "pair", "text"],
)
def test_a_system_column_opens_the_chat(tmp_path: Path, row: dict[str, Any], column: str) -> None:
    found = read(tmp_path, row | {column: "be kind"})
    assert (found.samples[0].system, found.counts.get(f"column not used: {column}")) == ("be kind", None)


def test_two_system_messages_that_differ_are_refused(tmp_path: Path) -> None:
    opened = [{"role": "system", "content": "be kind"}, ASKED, SAID]
    with pytest.raises(DataError, match=r"system = 'be rude': stands beside another system message; leave one"):
        read(tmp_path, {"messages": opened, "system": "be rude"})
    assert read(tmp_path, {"messages": opened, "system": "be kind"}).samples[0].system == "be kind"


def test_null_names_the_column_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:1: messages = None: null; give a value"):
        read(tmp_path, {"messages": None})
    row = {"messages": None, "conversations": [ASKED, SAID]}
    assert read(tmp_path, row, schema="chat").samples[0].answer == "a"


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ({"is_safe": False}, 1),
        ({"Label": "unsafe"}, 1),
        ({"harmful": 1}, 1),
        ({"prompt_label": "unsafe"}, 2),
        ({"label": "safe"}, 2),
    ],
)
@pytest.mark.parametrize("row", [{"messages": [ASKED, SAID]}, PAIR], ids=["chat", "pair"])
def test_an_answer_that_a_label_calls_unsafe_is_left_out(
    tmp_path: Path, row: dict[str, Any], label: dict[str, Any], kept: int
) -> None:
    found = read(tmp_path, row, row | label)
    assert len(found.samples) == kept
    assert found.counts.get(f"unsafe responses left out ({next(iter(label))})", 0) == 2 - kept


@pytest.mark.parametrize("column", ["license", "Licence"])
def test_a_row_has_its_own_licence(tmp_path: Path, column: str) -> None:
    found = read(tmp_path, {"messages": [ASKED, SAID], column: "CC-BY-NC-4.0"}, {"messages": [ASKED, SAID]})
    assert [chat.licence for chat in found.samples] == ["CC-BY-NC-4.0", "unknown"]
    request = {"goal": "q", "target": "Sure"}
    assert read(tmp_path, request | {column: "GPL-3.0"}).requests[0]["licence"] == "GPL-3.0"


def test_two_licences_of_a_row_that_differ_are_refused(tmp_path: Path) -> None:
    row = {"goal": "q", "target": "Sure", "licence": "MIT"}
    with pytest.raises(DataError, match=r"licence and License: MIT, GPL-3\.0; a row has one licence, leave one column"):
        read(tmp_path, row | {"License": "GPL-3.0"})
    assert read(tmp_path, row | {"License": "MIT"}).requests[0]["licence"] == "MIT"


def test_one_chat_in_a_json_file_is_one_row(tmp_path: Path) -> None:
    for row in ({"messages": [ASKED, SAID]}, {"messages": [ASKED, SAID], "id": "x"}, {"conversations": [ASKED, SAID]}):
        (tmp_path / "one.json").write_text(json.dumps(row, indent=1))
        found = read_public(tmp_path / "one.json")
        assert [(chat.question, chat.answer) for chat in found.samples] == [("q", "a")]
    (tmp_path / "one.json").write_text(json.dumps({"messages": [[ASKED, SAID], [ASKED, SAID]]}))
    assert len(read_public(tmp_path / "one.json").samples) == 2


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "value": "q"}, {"role": "assistant", "value": "a"}],
        [{"from": "human", "content": "q"}, {"from": "gpt", "content": "a"}],
        [{"role": None, "content": None, "from": "human", "value": "q"}, SAID | {"from": None, "value": None}],
    ],
    ids=["role and value", "from and content", "a table of both"],
)
def test_keys_of_two_layouts_may_stand_in_one_chat(tmp_path: Path, messages: list[dict[str, Any]]) -> None:
    read_chat = read(tmp_path, {"conversations": messages})
    assert [(chat.question, chat.answer) for chat in read_chat.samples] == [("q", "a")]
    assert not any("not used" in name for name in read_chat.counts)


def test_answers_that_are_to_be_avoided_are_left_out(tmp_path: Path) -> None:
    chat = {"messages": [ASKED, SAID]}
    marks = [True, False, "false", 0, "1"]
    found = read(tmp_path, *(chat | {"kto_tag": mark} for mark in marks), chat)
    assert len(found.samples) == 3
    assert found.counts["answers that are marked as not desired left out (kto_tag)"] == 3
    number = read(tmp_path, chat | {"label": 3})
    assert len(number.samples) == 1 and number.counts["column not used: label"] == 1


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        (False, "label = False: in a KTO set the answer is to be avoided, in others it is a harmless one; rename"),
        (True, "label = True: in a KTO set the answer is wanted, in others it is a harmful one; rename the column to"),
        ("false", "label = 'false': in a KTO set the answer is to be avoided"),
        (1, "label = 1: in a KTO set the answer is wanted"),
    ],
)
def test_a_label_of_chats_that_is_true_or_false_may_mean_two_things(tmp_path: Path, label: object, rule: str) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {rule}"):
        read(tmp_path, {"messages": [ASKED, SAID], "label": label})


@pytest.mark.parametrize(("key", "value"), [("weight", "0"), ("training", "false"), ("loss", "False"), ("weight", 0.0)])
def test_a_turn_that_is_not_trained_on_may_say_so_in_words(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(DataError, match=rf"messages\[1\]\.{key} = '?{value}'?: the answer is not to be trained on"):
        read(tmp_path, {"messages": [ASKED, SAID | {key: value}]})
