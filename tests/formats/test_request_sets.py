"""Public sets of requests: which rows are harmful, which benign controls, which are left out, and which are broken."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.formats.public import PublicSet, read_public
from longsafety.formats.schemas import SCHEMAS
from longsafety.samples.licence import UNKNOWN, restriction
from tests.formats.test_public import ROWS, STEMS, write

Found = list[tuple[str, str]]
JBB, XSTEST, COCONOT = ROWS["jailbreakbench"], ROWS["xstest"], ROWS["coconot"]
WILDGUARD, SORRY = ROWS["wildguardmix"], ROWS["sorry_bench"]


def labels(found: PublicSet) -> Found:
    return [(request["request"], request["label"]) for request in found.requests]


def read(path: Path, *rows: dict[str, Any]) -> PublicSet:
    path.parent.mkdir(parents=True, exist_ok=True)
    return read_public(write(path, *rows))


@pytest.mark.parametrize(
    ("name", "file", "changes", "label"),
    [
        ("jailbreakbench", "harmful-behaviors.jsonl", {}, "harmful"),
        ("jailbreakbench", "benign-behaviors.jsonl", {}, "benign"),
        ("jailbreakbench", "benign/part.jsonl", {}, "benign"),
        ("jailbreakbench", "mine.jsonl", {"label": "safe"}, "benign"),
        ("strongreject", "part.jsonl", {}, "harmful"),
        ("sorry_bench", "question.jsonl", {}, "harmful"),
        ("or_bench", "or-bench-toxic.jsonl", {}, "harmful"),
        ("or_bench", "or-bench-hard-1k.jsonl", {}, "benign"),
        ("or_bench", "or-bench-80k.jsonl", {}, "benign"),
        ("falsereject", "test.jsonl", {}, "benign"),
        ("wildguardmix", "part.jsonl", {}, "harmful"),
        ("wildguardmix", "part.jsonl", {"prompt_harm_label": "unharmful"}, "benign"),
        ("coconot", "original/test.jsonl", {}, "harmful"),
        ("coconot", "contrast/test.jsonl", {}, "benign"),
        ("coconot", "coconot_contrast_eval.jsonl", {}, "benign"),
        ("harmful_qa", "part.jsonl", {}, "harmful"),
        ("xstest", "part.jsonl", {"label": "unsafe", "type": "contrast_homonyms"}, "harmful"),
        ("xstest", "part.jsonl", {}, "benign"),
        ("advbench", "part.jsonl", {}, "harmful"),
        ("advbench", "part.jsonl", {"label": "harmless"}, "benign"),
        ("harmbench", "part.jsonl", {}, "harmful"),
    ],
)
def test_a_row_is_harmful_or_a_benign_control(
    tmp_path: Path, name: str, file: str, changes: dict[str, Any], label: str
) -> None:
    found = read(tmp_path / file, {**ROWS[name], **changes})
    assert (found.schema, labels(found)) == (name, [("q", label)])
    assert SCHEMAS[name].published and {request["licence"] for request in found.requests} == {SCHEMAS[name].licence}


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("jailbreakbench", {"Goal": ""}, "Goal = '': empty; give a text"),
        ("strongreject", {"forbidden_prompt": 5}, "forbidden_prompt = 5: not a text; give one"),
        ("sorry_bench", {"turns": ["a", "b"]}, "turns = ['a', 'b']: 2 of them; give a list of"),
        ("or_bench", {"prompt": " "}, "prompt = ' ': empty"),
        ("falsereject", {"prompt": None}, "prompt = None: null; give a value"),
        ("wildguardmix", {"prompt_harm_label": "bad"}, "prompt_harm_label = 'bad': give one of harmful, unharmful"),
        ("coconot", {"prompt": ""}, "prompt = '': empty"),
        ("harmful_qa", {"question": 1}, "question = 1: not a text"),
        ("xstest", {"type": "contrast_homonyms"}, "label = 'safe': type = contrast_homonyms is the unsafe side"),
        ("advbench", {"target": 3}, "target = 3: not a text"),
        ("advbench", {"label": "theft"}, "label = 'theft': says neither harmful nor benign"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, name: str, changes: dict[str, Any], problem: str) -> None:
    path = tmp_path / f"{STEMS.get(name, 'part')}.jsonl"
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}:1: {re.escape(problem)}"):
        read(path, {**ROWS[name], **changes})


@pytest.mark.parametrize(("name", "file"), [("jailbreakbench", "a.jsonl"), ("coconot", "a.jsonl")])
def test_a_file_that_does_not_say_what_it_holds_is_refused(tmp_path: Path, name: str, file: str) -> None:
    with pytest.raises(
        DataError, match=r"a\.jsonl:1: label = \(missing\): neither the file's name nor its folder's says"
    ):
        read(tmp_path / "x" / file, ROWS[name])


def test_the_title_of_a_behaviour_is_not_the_request(tmp_path: Path) -> None:
    found = read(tmp_path / "harmful-behaviors.jsonl", JBB, {**JBB, "Index": "1", "Goal": "Another"})
    assert [request["request"] for request in found.requests] == ["q", "Another"]
    assert found.requests[0]["category"] == "area"


def test_both_files_of_a_set_may_lie_in_one_folder(tmp_path: Path) -> None:
    for name in ("harmful", "benign"):
        write(tmp_path / f"{name}-behaviors.jsonl", JBB)
    assert sorted(request["id"] for request in read_public(tmp_path).requests) == [
        "jailbreakbench/benign/0", "jailbreakbench/harmful/0",
    ]  # fmt: skip


def test_older_files_of_xstest_have_no_label(tmp_path: Path) -> None:
    rows = [{"id": f"v2-{n}", "type": kind, "prompt": "q", "focus": "kill", "note": ""}
            for n, kind in enumerate(["homonyms", "contrast_homonyms"])]  # fmt: skip
    assert labels(read(tmp_path / "a.jsonl", *rows)) == [("q", "benign"), ("q", "harmful")]
    plain = [{key: row[key] for key in ("id", "type", "prompt")} for row in rows]
    assert read(tmp_path / "xstest_v2_prompts.jsonl", *plain).schema == "xstest"


def test_requests_of_other_sets_have_no_known_licence(tmp_path: Path) -> None:
    found = read(tmp_path / "a.jsonl", ROWS["strongreject"] | {"source": "DAN"}, ROWS["strongreject"])
    assert [request["licence"] for request in found.requests] == [UNKNOWN, "MIT"]
    assert found.counts["requests taken from other sets: their licences are not known"] == 1


def test_what_is_no_request_of_its_own_is_left_out_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path / "a.jsonl", SORRY, {**SORRY, "prompt_style": "caesar", "turns": ["r"]})
    assert labels(found) == [("q", "harmful")]
    assert found.counts["left out: other wordings of base requests (prompt_style)"] == 1
    found = read(
        tmp_path / "b.jsonl", WILDGUARD, {**WILDGUARD, "prompt_harm_label": None}, {**WILDGUARD, "adversarial": True}
    )
    assert len(found.requests) == 2
    assert found.counts["left out: prompts on whose label the annotators did not agree"] == 1
    assert found.counts["adversarial prompts: their request is wrapped"] == 1
    found = read(tmp_path / "original.jsonl", COCONOT, {**COCONOT, "id": "x2", "category": "Incomplete requests"})
    assert len(found.requests) == found.counts["left out: not about harm (Incomplete requests)"] == 1


def test_common_columns_are_a_set_only_under_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fit no schema"):
        read(tmp_path / "mine.jsonl", ROWS["or_bench"])
    for stem, row, name in (
        ("advbench", {"prompt": "q", "target": "Sure"}, "advbench"),
        ("StrongREJECT", {"prompt": "q", "category": "area", "source": "custom"}, "strongreject"),
        ("FalseReject-test", {"prompt": "q", "category": "area"}, "falsereject"),
    ):
        assert read(tmp_path / f"{stem}.jsonl", row).schema == name


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if schema.yields == "requests"])
def test_each_set_is_read_from_csv(tmp_path: Path, name: str) -> None:
    """Every cell is a text there, and an empty one is a missing value."""
    if name == "sorry_bench":
        return  # it is published as JSON Lines alone: its turns are a list
    path = tmp_path / f"{STEMS.get(name, name)}.csv"
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, ROWS[name])
        table.writeheader()
        table.writerow({key: "" if value is None else value for key, value in ROWS[name].items()})
    found = read_public(path)
    assert (found.schema, found.requests[0]["request"]) == (name, "q")


@pytest.mark.parametrize(
    ("name", "word"), [("sorry_bench", "may not be passed on"), ("falsereject", "non-commercial"),
                       ("wildguardmix", "gated"), ("do_not_answer", "non-commercial"), ("advbench", "")]
)  # fmt: skip
def test_what_a_licence_forbids_is_known(name: str, word: str) -> None:
    told = restriction(SCHEMAS[name].licence)
    assert (word in told) if word else told == ""
