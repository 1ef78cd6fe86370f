"""The blind sheet: what is drawn, what it hides, how it is read back, and what its labels say of a judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.open_replies.calibration import measured_by_people
from longsafety.evaluation.open_replies.sheet import COLUMNS, KEY, KEY_COLUMNS, SHEET, opaque, read_sheet, write_sheet
from longsafety.reporting.verdict_view import verdict_line
from tests.evaluation.open_replies.judge_server import RULES, Server, opened

REPLIES = ("I cannot.", "Sure, here.", '=HYPERLINK("x")', 'Two\nlines, and "quotes".', "不行。")


def replies(arms: tuple[str, ...] = ("base", "longsafety"), tasks: str = "TW", each: int = 20) -> pd.DataFrame:
    rows = [
        (opaque(arm, task, at), arm, f"{task}-{at}", "harmful", 256, "detector", "safe", True, task, f"How {at}?",
         REPLIES[at % len(REPLIES)])
        for arm in arms for task in tasks for at in range(each)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=KEY_COLUMNS)


def written(folder: Path, number: int = 10) -> pd.DataFrame:
    write_sheet(replies(), number, folder)
    return pd.read_csv(folder / SHEET, keep_default_na=False, encoding="utf-8-sig")


def test_tasks_and_arms_are_drawn_evenly_and_the_same_again(tmp_path: Path) -> None:
    sheet = written(tmp_path, 10)
    key = pd.read_csv(tmp_path / KEY, encoding="utf-8-sig")
    counts = Counter(zip(key["arm"], key["task"], strict=True))
    assert len(counts) == 4 and set(counts.values()) == {2, 3}
    assert key["arm"].tolist() != sorted(key["arm"]) and key["task"].tolist() != sorted(key["task"])
    assert sheet["id"].tolist() == key["id"].tolist()
    again = tmp_path / "again"
    again.mkdir()
    assert write_sheet(replies().sample(frac=1, random_state=5), 10, again) == 10
    assert (again / SHEET).read_bytes() == (tmp_path / SHEET).read_bytes()
    assert write_sheet(pd.concat([replies(), replies()]), 999, again) == 80


def test_a_small_task_leaves_its_places_to_the_others(tmp_path: Path) -> None:
    few = pd.concat([replies(tasks="T", each=1), replies(tasks="W")])
    assert write_sheet(few, 10, tmp_path) == 10
    assert Counter(pd.read_csv(tmp_path / KEY)["task"]) == {"T": 2, "W": 8}


def test_the_sheet_tells_nothing_of_the_arm(tmp_path: Path) -> None:
    sheet = written(tmp_path)
    assert tuple(sheet.columns) == COLUMNS
    text = (tmp_path / SHEET).read_text("utf-8")
    assert "base" not in text and "longsafety" not in text and "T-" not in text
    assert sheet["label"].eq("").all()


def test_a_filled_sheet_is_read_with_the_replies_as_they_were(tmp_path: Path) -> None:
    sheet = written(tmp_path, 80)
    assert not sheet["reply"].str.startswith("=").any()
    sheet["label"] = ["Safe " if "cannot" in reply else "unsafe" for reply in sheet["reply"]]
    sheet.loc[:4, "label"] = ""
    sheet.sample(frac=1).drop(columns=["reply", "question"]).to_csv(tmp_path / "filled.csv", index=False)
    rows, blank = read_sheet(tmp_path / "filled.csv")
    assert (len(rows), blank) == (75, 5)
    assert {row.reply for row in rows} == set(REPLIES)
    assert all(row.refusal == (row.reply == "I cannot.") and row.harmful and row.request for row in rows)


def first_label(text: str, label: str) -> str:
    head, _, rows = text.partition("\n")
    return f"{head}\n" + rows.replace(",\n", f",{label}\n", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("r-", "q-", 1), r"sheet\.csv:2: id = q-\w+: sheet_key\.csv has no such reply; "),
        (lambda text: first_label(text, "fine"), r"sheet\.csv:\d: label = fine: must be safe or unsafe, or empty; "),
        (lambda text: text.replace("label", "labels", 1), r"sheet\.csv:1: there is no column label; save the sheet"),
        (lambda text: text + text[text.index("r-") :], r"sheet\.csv:\d+: id = r-\w+: stands in the sheet twice; "),
        (lambda text: text + "r-1\n", r"sheet\.csv:\d+: 1 cells under a header of 5; quote cells"),
        (
            lambda text: text.replace(",", "~"),
            r"sheet\.csv:1: there is no column id, label; save the sheet as CSV, with its first row",
        ),
        (
            lambda text: text.replace(",\n", ",no, safe,unsafe\n", 2),
            r"sheet\.csv:2: 7 cells under a header of 5; quote cells that hold commas; in a spreadsheet, save it as",
        ),
        (lambda text: text.replace(",label", ",label,label", 1), r"sheet\.csv:1: the header names label twice; rename"),
        (
            lambda text: text.replace(",label", ",label,Label", 1).replace(",\n", ",,\n"),
            r"sheet\.csv:1: the header names label twice; rename one",
        ),
    ],
)
def test_what_is_wrong_with_a_sheet_is_named(change: Callable[[str], str], message: str, tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / SHEET
    path.write_text(change(path.read_text("utf-8-sig")), "utf-8")
    with pytest.raises(DataError, match=message):
        read_sheet(path)
    with pytest.raises(ConfigError, match=r"evaluation\.labels = \S+: \S+" + message):
        settle(compose_jobs(["scale=smoke", "evaluation.scorers=[open]", f"evaluation.labels={path}"], multirun=False))


@pytest.mark.parametrize(
    "saved",
    [
        "id,task,label\r\n{0},T,safe\r\n,,\r\n\r\n{1},T,UNSAFE\r\n,,\r\n", "id;label\n{0};safe\n{1};unsafe\n",
        "id\tlabel\n{0}\tsafe\n{1}\tunsafe\n", " ID , Label ,note\n{0},safe\u00a0,x\n{1},\u200bunsafe,\n",
        '"id";"reply";"label"\n{0};"yes; no";ｓａｆｅ\n{1};"";Unsafe\n',
        f"id,reply,label\n{{0}},{'x' * 140_000},safe\n{{1}},,unsafe\n",
    ],
)  # fmt: skip
def test_a_sheet_is_read_as_spreadsheets_save_it(saved: str, tmp_path: Path) -> None:
    names = written(tmp_path)["id"]
    for code in ("utf-8", "utf-8-sig"):
        (tmp_path / SHEET).write_bytes(saved.format(*names).encode(code))
        rows, blank = read_sheet(tmp_path / SHEET)
        assert [(row.id, row.refusal) for row in rows] == [(names[0], True), (names[1], False)] and not blank


def test_no_cell_of_a_sheet_is_a_formula(tmp_path: Path) -> None:
    write_sheet(replies().assign(question="=1+1", reply="-1"), 4, tmp_path)
    sheet = pd.read_csv(tmp_path / SHEET, dtype=str, encoding="utf-8-sig")
    assert set(sheet["question"]) == {"'=1+1"} and set(sheet["reply"]) == {"'-1"}


def test_a_row_is_named_by_the_line_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / KEY).write_text(",".join(KEY_COLUMNS) + "\nr-1" + "," * (len(KEY_COLUMNS) - 1) + "\n", "utf-8")
    (tmp_path / SHEET).write_text('id,reply,label\nr-1,"two\nlines",\nr-2,"two\nlines",\n', "utf-8")
    with pytest.raises(DataError, match=r"sheet\.csv:4: id = r-2: "):
        read_sheet(tmp_path / SHEET)


def test_a_sheet_needs_its_key_and_open_replies(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / KEY).unlink()
    with pytest.raises(DataError, match=r"there is no sheet_key\.csv beside it; "):
        read_sheet(tmp_path / SHEET)
    for typed in ("evaluation.sheet=3", f"evaluation.labels={tmp_path / SHEET}"):
        with pytest.raises(ConfigError, match=r"people label open replies; add open to evaluation\.scorers"):
            settle(compose_jobs(["scale=smoke", typed, "stages=[evaluate]"], multirun=False))


def test_judges_are_measured_by_peoples_labels(server: Server, tmp_path: Path) -> None:
    """People call 4 of 16 refusals unsafe. The judge answers in prose on the Chinese ones; the detector decides only
    task T."""
    sheet = written(tmp_path, 80)
    refusals = sheet.index[sheet["reply"] == "I cannot."]
    sheet["label"] = "unsafe"
    sheet.loc[refusals[:12], "label"] = "safe"
    sheet.to_csv(tmp_path / SHEET, index=False)
    server.say = lambda asked: (
        "prose" if "不" in asked.reply else asked.verdict("safe" if "cannot" in asked.reply else "unsafe")
    )
    judge = opened(server, tmp_path)
    found = measured_by_people(tmp_path / SHEET, [judge], RULES, "fixed", confidence=0.95)
    assert (found["n"], found["blank"], found["safe"]) == (80, 0, 12)
    judged, detected = found["judges"]["judge"], found["judges"]["detector"]
    assert judged["unscored"] == 16
    assert judged["sensitivity"] == [1, pytest.approx(12 / (12 + 1.96**2), abs=1e-4), 1]  # Wilson
    assert judged["specificity"][0] == pytest.approx(48 / 52)
    assert detected["unscored"] >= 40  # all of W
    assert detected["sensitivity"][0] == 1 > detected["specificity"][0]
    asked = len(server.asked)
    twice = measured_by_people(tmp_path / SHEET, [judge, judge], RULES, "fixed", confidence=0.95)
    assert set(twice["judges"]) == {"detector", "judge", "judge (2)"}
    assert twice["judges"]["judge (2)"] == judged and len(server.asked) == asked
    facts = {"by": "judge", "replies": 0, "unscored": {}, "verdicts": {}, "scoring": "fixed", "reasons": {}}
    facts |= {"labelled": {"n": 0, "file": "", "unscored": 0, "sensitivity": None, "specificity": None}}
    line = verdict_line({**facts, "calibration": [], "languages": {}, "people": found})
    assert "Of 80 replies that people labelled (sheet.csv) 12 are safe; the refusal detector finds" in line
    assert "the judge judge finds the safe ones with sensitivity 1.00 [" in line and "16 unscored" in line
