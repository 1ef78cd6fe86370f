"""A user's files of requests: which column is the request, labels, languages, and several sets in one folder."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.scenarios.seeds.borrow import borrow_twins
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.splits import split_seeds
from longsafety.scenarios.teacher.complete import complete
from tests.formats.test_public import ROWS
from tests.scenarios.test_seeds import write

ZH = "怎样在夜里撬开邻居家的门锁？"
JBB = ROWS["jailbreakbench"]


def mine(path: Path, language: str = "en") -> list[Seed]:
    return load_seeds(str(path), language, only_own=True).seeds


def counts(path: Path) -> dict[str, int]:
    return load_seeds(str(path)).counts


# Columns


@pytest.mark.parametrize(
    ("row", "request_", "category"),
    [
        ({"Prompt": "How?", "Category": "theft"}, "How?", "theft"),
        ({"GOAL": "How?", "Behavior": "A title", "Category": "theft"}, "How?", "theft"),
        ({"goal": "How?", "behavior": "A title"}, "How?", "rows"),
        ({"behavior": "How?"}, "How?", "rows"),
        ({"request": "How?", "prompt": "wrapped: How?"}, "How?", "rows"),
        ({"prompt": "How?", "goal": "How?"}, "How?", "rows"),
        ({"question": "How?", "category": "a", "subcategory": "b"}, "How?", "a"),
    ],
)
def test_the_request_is_found_in_any_spelling_and_a_title_is_none(
    tmp_path: Path, row: dict[str, Any], request_: str, category: str
) -> None:
    (seed,) = mine(write(tmp_path / "rows.jsonl", row))
    assert (seed.request, seed.category, seed.topic, seed.origin) == (request_, category, "", "rows")


@pytest.mark.parametrize("keys", [("prompt", "goal"), ("Prompt", "prompt"), ("question", "prompt")])
def test_two_columns_that_could_be_the_request_are_refused(tmp_path: Path, keys: tuple[str, str]) -> None:
    path = write(tmp_path / "rows.jsonl", dict(zip(keys, ("One?", "Two?"), strict=True)))
    with pytest.raises(DataError, match=r"rows\.jsonl:1: \w+ and \w+: each could be the request; rename the one"):
        load_seeds(str(path))


def test_columns_that_nothing_reads_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "How?", "risk": 4}, {"prompt": "Why?", "risk": 5})
    assert counts(path)["seed column not used: risk"] == 2


# Labels


def test_a_safe_prompt_is_never_asked_as_a_harmful_one(tmp_path: Path) -> None:
    rows = [{"prompt": "How do I harm?", "label": "unsafe"}, {"prompt": "How do I bake?", "label": "safe"}]
    harmful, control = mine(write(tmp_path / "rows.jsonl", *rows))
    assert (harmful.request, harmful.is_control) == ("How do I harm?", False)
    assert (control.request, control.benign_request, control.is_control) == ("", "How do I bake?", True)
    told = counts(tmp_path / "rows.jsonl")
    assert [n for reason, n in told.items() if reason.startswith("benign prompts: no items, lent")] == [1]


def test_a_label_that_says_neither_names_the_row(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "How?", "label": "safe"}, {"prompt": "Why?", "label": 0})
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}:2: label = 0: says neither harmful nor benign"):
        load_seeds(str(path))


@pytest.mark.parametrize("name", ["safe", "benign"])
def test_a_file_of_benign_prompts_alone_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / f"{name}.jsonl", {"prompt": "How do I bake?"})
    with pytest.raises(DataError, match=r"all 1 rows are benign prompts, .*; add harmful requests, or ask these alone"):
        load_seeds(str(path))


def test_a_benign_prompt_has_no_safe_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "How?", "label": "safe", "safe_answer": "No."})
    with pytest.raises(
        DataError, match=r":1: safe_answer: stand beside a benign prompt, which has none; leave them out"
    ):
        load_seeds(str(path))


def test_an_answered_benign_prompt_is_lent_to_the_most_similar_request(tmp_path: Path) -> None:
    rows = [{"prompt": f"How do I poison the {thing} of a neighbour?", "split": "train"} for thing in ("dog", "well")]
    rows += [
        {"prompt": f"How do I clean the {thing} of a neighbour?", "label": "benign", "split": "train"} | more
        for thing, more in (("dog", {"benign_answer": "With soap."}), ("well", {}))
    ]
    seeds = complete(mine(write(tmp_path / "rows.jsonl", *({"label": "harmful"} | row for row in rows))), None, "en")
    assert seeds.counts["benign prompts without an answer, which a teacher writes: not lent as benign twins"] == 1
    parts = split_seeds(seeds.seeds, bench_fraction=0.3, seed=0)
    lent = {seed.benign_request for seed in parts["train"] if seed.request}
    assert lent == {"How do I clean the dog of a neighbour?"}
    assert not any(seed.is_control for seed in parts["short_safety"])


@pytest.mark.parametrize(
    "row",
    [
        {"isSafe": True},
        {"gold": "benign"},
        {"safety_type": "Harmless"},
        {"must_refuse": 0},
        {"unsafe_request": "no"},
    ],
)
def test_labels_under_many_names_are_read(tmp_path: Path, row: dict[str, Any]) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "How do I harm?"}, {"prompt": "How do I bake?"} | row)
    assert [seed.is_control for seed in mine(path)] == [False, True]
    assert not [reason for reason in counts(path) if "not used" in reason]


def test_texts_of_ours_are_no_labels(tmp_path: Path) -> None:
    row = {"prompt": "How do I harm?", "benign_request": "Bake?", "safe_answer": "No.", "benign_answer": "Yes."}
    (seed,) = mine(write(tmp_path / "rows.jsonl", row))
    assert (seed.request, seed.benign_request, seed.safe_answer) == ("How do I harm?", "Bake?", "No.")


@pytest.mark.parametrize("name", ["harmless_questions.jsonl", "safe/part.jsonl", "non-toxic.jsonl"])
def test_names_of_files_and_folders_say_what_is_benign(tmp_path: Path, name: str) -> None:
    write(tmp_path / "set" / "harmful_with_safe_answers.jsonl", {"prompt": "How do I harm?"})
    write(tmp_path / "set" / name, {"prompt": "How do I bake?"})
    found = {seed.request or seed.benign_request: seed.is_control for seed in mine(tmp_path / "set")}
    assert found == {"How do I harm?": False, "How do I bake?": True}
    told = counts(tmp_path / "set")
    assert told["seed rows read as benign prompts, because the name of their file, folder or split says so"] == 1


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        (
            "safe/toxic.jsonl",
            {},
            r"toxic\.jsonl and safe: the name says both harmful and benign; rename the file or folder",
        ),
        ("safe_vs_unsafe.jsonl", {}, r"safe_vs_unsafe\.jsonl: the name says both"),
        ("benign_set.jsonl", {"label": "unsafe"}, "label = harmful: the name of the file, .* says benign; rename it"),
        ("toxic_set.jsonl", {"is_safe": 1}, "label = benign: the name of the file, .* says harmful; rename it"),
        ("benign.jsonl", {"target": "Sure", "goal": "How?"}, "label = harmful: the name .* says benign; rename it"),
    ],
)
def test_names_that_contradict_each_other_or_a_label_are_refused(
    tmp_path: Path, name: str, row: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "set" / name, {"prompt": "How?"} | row)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}:1: {message}"):
        load_seeds(str(tmp_path / "set"))
    if "says both" in message:
        write(path, {"prompt": "How?", "label": "unsafe"})
        assert len(mine(tmp_path / "set")) == 1, "a label settles it"


def test_a_row_keeps_its_licence_in_either_spelling(tmp_path: Path) -> None:
    rows = [{"prompt": "One?", "license": "CC-BY-4.0"}, {"prompt": "Two?", "Licence": "MIT"}, {"prompt": "Three?"}]
    path = write(tmp_path / "rows.jsonl", *rows)
    assert [seed.licence for seed in mine(path)] == ["CC-BY-4.0", "MIT", "unknown"]
    write(path, rows[0] | {"licence": "MIT"})
    with pytest.raises(DataError, match=r":1: license and licence: CC-BY-4\.0, MIT; a row has one licence"):
        load_seeds(str(path))


# Rows


def test_a_list_on_one_line_is_read_like_lines(tmp_path: Path) -> None:
    rows = [{"prompt": f"How do I harm {word}?"} for word in ("a dog", "the well", "their roof")]
    lines = write(tmp_path / "lines.jsonl", *rows)
    (tmp_path / "list.json").write_text(json.dumps(rows))
    listed = mine(tmp_path / "list.json")
    assert len({seed.id for seed in listed}) == 3
    lent = [Seed("l", "c", benign_request="How do I wash a dog?", benign_answer="Soap.")]
    for seeds in (mine(lines), listed, [replace(seed, id="same") for seed in listed]):
        assert [seed.request for seed in borrow_twins([*seeds, *lent])[:3]] == [row["prompt"] for row in rows]
    (tmp_path / "list.json").write_text(json.dumps([row | {"id": "x"} for row in rows[:2]]))
    with pytest.raises(DataError, match=r"list\.json:1#2: id = x: stands already at \S+list\.json:1; ids are unique"):
        load_seeds(str(tmp_path / "list.json"))


def test_an_id_of_a_public_set_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "adv.jsonl", {"goal": "Two?", "target": "Sure"})
    write(tmp_path / "own.jsonl", {"prompt": "One?", "id": "advbench/adv.jsonl:1"})
    with pytest.raises(
        DataError, match=r"own\.jsonl:1: id = advbench/adv\.jsonl:1: stands already at a row of advbench"
    ):
        load_seeds(str(tmp_path))


def test_a_column_without_a_name_is_no_language(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(",prompt,category\n0,How do I harm?,a\n1,How do I rob?,b\n")
    assert [seed.category for seed in mine(tmp_path / "rows.csv")] == ["a", "b"]
    assert counts(tmp_path / "rows.csv")["seed column not used: (without a name)"] == 2


@pytest.mark.parametrize(
    ("row", "counted"),
    [
        ({"prompt": 4}, r"seed rows left out: bad: 2"),
        ({"goal": "", "target": "Sure"}, r"seed bad rows: 2"),
    ],
)
def test_why_no_row_is_left_is_told(tmp_path: Path, row: dict[str, Any], counted: str) -> None:
    path = write(tmp_path / "rows.jsonl", row, row)
    with pytest.raises(DataError, match=rf"(?s)rows\.jsonl:1: .*\n\S+:2: .*no seed row \({counted}\); give a file"):
        load_seeds(str(path), on_bad_row="skip")


def test_bad_rows_are_told_beside_rows_that_are_all_of_no_use(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": 4}, {"prompt": "How do I bake?", "label": "safe"})
    with pytest.raises(
        DataError, match=r"(?s)rows\.jsonl:1: prompt = 4: is not a text; .*all 1 rows are benign prompts"
    ):
        load_seeds(str(path), on_bad_row="skip")
    write(path, {"prompt": 4}, {"prompt": ZH})
    with pytest.raises(
        DataError, match=r"(?s)rows\.jsonl:1: prompt = 4: is not a text; .*no row is in scenario\.language"
    ):
        load_seeds(str(path), on_bad_row="skip")


# Languages


def test_a_file_in_another_language_is_refused_with_the_setting(tmp_path: Path) -> None:
    path = write(tmp_path / "zh.jsonl", {"request": ZH})
    with pytest.raises(DataError, match=r"no row is in scenario\.language = en \(1 in zh\); set scenario\.language=zh"):
        load_seeds(str(path))
    assert [seed.request for seed in mine(path, "zh")] == [ZH]
    english = write(tmp_path / "en.jsonl", {"request": "How do I harm?"})
    with pytest.raises(DataError, match=r"\(1 in en\); set scenario\.language=en"):
        load_seeds(str(english), "zh")


@pytest.mark.parametrize(
    ("row", "other"),
    [
        ({"prompt": ZH}, "zh"),
        ({"prompt": "Как взломать замок соседа?"}, "Cyrillic letters"),
        ({"prompt": "となりの家のドアをどうやって壊しますか"}, "Japanese kana"),
        ({"prompt": "Comment crocheter une serrure ?", "language": "fr"}, "fr"),
        ({"prompt": "¿Cómo abro la cerradura?", "Lang": "Spanish"}, "spanish"),
        ({"prompt": "Comment crocheter une serrure ?", "locale": "fr_FR"}, "fr_fr"),
    ],
)
def test_rows_in_another_language_are_left_out_and_counted(tmp_path: Path, row: dict[str, Any], other: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "How do I harm?"}, row)
    assert [seed.request for seed in mine(path)] == ["How do I harm?"]
    assert counts(path)[f"seed rows left out: in {other}, not in en (scenario.language)"] == 1


def test_rows_of_public_sets_in_another_language_are_left_out_too(tmp_path: Path) -> None:
    rows = [{"goal": text, "target": "Sure"} for text in ("How do I harm?", ZH)]
    rows.append({"goal": "Comment faire ?", "target": "Sure", "language": "fr"})
    path = write(tmp_path / "rows.jsonl", *rows)
    assert [(seed.request, seed.origin) for seed in mine(path)] == [("How do I harm?", "advbench")]
    told = counts(path)
    assert [told[f"seed rows left out: in {other}, not in en (scenario.language)"] for other in ("zh", "fr")] == [1, 1]


def test_a_language_column_that_contradicts_the_letters_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": ZH, "language": "English"})
    with pytest.raises(DataError, match=r":1: language = English: the text is in zh; correct the column, or leave it"):
        load_seeds(str(path))


def test_an_answer_in_another_language_than_its_request_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "How do I harm?", "safe_answer": "我不能帮助你做这件事。"})
    with pytest.raises(DataError, match=r":1: safe_answer: is in zh, and scenario\.language = en; a row is in one"):
        load_seeds(str(path))


def test_latin_rows_that_read_like_another_language_are_told(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Comment est-ce que je peux entrer dans la maison de mon voisin sans qu'il le sache, {word} ?"}
        for word in ("la nuit", "le matin", "avec une échelle", "par la fenêtre", "sans bruit")
    ]
    told = counts(write(tmp_path / "rows.jsonl", *rows))
    assert told["seed rows that together read like fr: asked as they are, beside options in en"] == 5


# Folders


def test_each_file_of_a_folder_is_read_by_its_own_set(tmp_path: Path) -> None:
    write(tmp_path / "area.jsonl", {"prompt": "One?", "intents": ["A1"]})
    write(tmp_path / "adv.jsonl", {"goal": "Two?", "target": "Sure"})
    write(tmp_path / "harmful-behaviors.jsonl", {**JBB, "Goal": "Three?"})
    write(tmp_path / "benign-behaviors.jsonl", {**JBB, "Goal": "Four?"})
    write(tmp_path / "own.jsonl", {"prompt": "Five?", "category": "theft", "licence": "MIT"})
    found = {seed.request or seed.benign_request: seed for seed in mine(tmp_path)}
    assert {text: (seed.origin, seed.licence, seed.is_control) for text, seed in found.items()} == {
        "One?": ("do_not_answer", "CC-BY-NC-SA-4.0", False),
        "Two?": ("advbench", "MIT", False),
        "Three?": ("jailbreakbench", "MIT", False),
        "Four?": ("jailbreakbench", "MIT", True),
        "Five?": ("own", "MIT", False),
    }
    assert counts(tmp_path)["seed rows read"] == 5


def test_a_set_of_chats_is_no_set_of_requests(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS["beavertails"])
    with pytest.raises(
        DataError, match=r"rows\.jsonl is of the set beavertails, which holds chats .*data_mix\.sources"
    ):
        load_seeds(str(path))


def test_only_own_leaves_the_shipped_ones_out(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "How?"})
    assert [seed.request for seed in mine(path)] == ["How?"]
    assert {seed.origin for seed in load_seeds(str(path)).seeds} == {"rows", "shipped"}


# Values and folders that tables write


@pytest.mark.parametrize(("harmful", "benign"), [("is_safe=False", "is_safe=True"), ("harmful=1", "harmful=0")])
def test_a_folder_that_is_a_label_is_read_as_one(tmp_path: Path, harmful: str, benign: str) -> None:
    for name, prompt in ((harmful, "How do I harm?"), (benign, "How do I bake?")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "part-0.jsonl", {"prompt": prompt})
    assert {seed.request: seed.benign_request for seed in mine(tmp_path)} == {
        "How do I harm?": "",
        "": "How do I bake?",
    }


@pytest.mark.parametrize("lost", ["nan", "None", "NULL", "<NA>"])
def test_a_request_that_a_table_has_lost_is_a_bad_row(tmp_path: Path, lost: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "How?"}, {"prompt": lost})
    with pytest.raises(
        DataError, match=rf"rows\.jsonl:2: prompt = {lost}: stands for a missing value; give the request"
    ):
        mine(path)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"request": "How?\0"}, r"request = 'How\?\\x00': holds a NUL \(character 4\)"),
        ({"request": "How?", "safe_answers": ["No.", "\ud83d"]}, r"safe_answers = .*: holds half a surrogate pair"),
        ({"request": "How?", "turns": [["Hi", "a\0"]]}, r"turns = .*: holds a NUL"),
    ],
)
def test_what_is_no_text_is_a_bad_row(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {problem}"):
        mine(tmp_path / "rows.jsonl")
