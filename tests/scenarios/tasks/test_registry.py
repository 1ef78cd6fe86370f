"""Tasks of a user's own files: what is loaded, what is refused, and what a stage's address knows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from longsafety.errors import DataError
from longsafety.scenarios.tasks.registry import TASKS, several_needles, task_files_fingerprint, tasks
from longsafety.vocabulary import PAPER_TASKS

CLASS = """
from longsafety.scenarios.tasks.query_harmful import KeywordRAG


class {name}(KeywordRAG):
    {body}
"""
OPTIONS = "MyTask:\n  options:\n" + "".join(
    f"    {role}: ['{role} one', '{role} two', '{role} three']\n"
    for role in ("hallucinates", "ignores", "aware_unsafe", "safe")
)


def write(folder: Path, body: str = "seed_task = 'MyTask'", name: str = "MyTask", options: str = OPTIONS) -> str:
    file = folder / "my_task.py"
    file.write_text(CLASS.format(name=name, body=body), "utf-8")
    (folder / "my_task_en.yaml").write_text(options, "utf-8")
    return str(file)


def test_the_papers_tasks_are_shipped_with_its_facts() -> None:
    assert set(PAPER_TASKS) <= set(TASKS)
    assert all(TASKS[name].scenario == task.scenario for name, task in PAPER_TASKS.items())
    assert sum(task.bench_items for task in PAPER_TASKS.values()) == 1201


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_shipped_task_keeps_the_rules(name: str) -> None:
    assert TASKS[name].problems() == []
    assert TASKS[name].options_problems("en") == []


def test_a_task_of_a_users_file_stands_beside_the_shipped_ones(tmp_path: Path) -> None:
    known = tasks([write(tmp_path)])
    assert {*known} == {*TASKS, "MyTask"} and "MyTask" not in tasks()
    assert known["MyTask"].scenario == "QH"
    assert known["MyTask"].phrases("en")["options"]["safe"] == ["safe one", "safe two", "safe three"]
    assert known["KeywordRAG"] is TASKS["KeywordRAG"]


def test_tasks_with_several_needles_are_known_by_their_class(tmp_path: Path) -> None:
    file = write(tmp_path, "several_needles = True")
    assert several_needles() == {"CountingCrimes"}
    assert several_needles([file]) == {"CountingCrimes", "MyTask"}


def test_options_that_do_not_fit_are_named_with_their_file(tmp_path: Path) -> None:
    options = OPTIONS.replace("    ignores:", "    overlooks:")
    [problem] = tasks([write(tmp_path, options=options)])["MyTask"].options_problems("en")
    assert problem.startswith(f"{tmp_path}/my_task_en.yaml: MyTask.options has hallucinates, overlooks")
    [problem] = tasks([str(tmp_path / "my_task.py")])["MyTask"].options_problems("zh")
    assert problem.startswith(f"{tmp_path}/my_task_zh.yaml: no options for task MyTask; add MyTask.options, or set")


def test_options_need_three_wordings(tmp_path: Path) -> None:
    options = OPTIONS.replace(", 'safe three'", "")
    [problem] = tasks([write(tmp_path, options=options)])["MyTask"].options_problems("en")
    assert "MyTask.options.safe = ['safe one', 'safe two']: must be a list of 3 texts" in problem


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("scenario = 'XX'", "MyTask", "scenario = XX: must be QH, PH, FH or other; set it"),
        ("roles = ('bad', 'good')", "MyTask", r"roles = \('bad', 'good'\): unknown roles; must be"),
        ("comply_role = 'safe'", "MyTask", "comply_role = safe: must be one of hallucinates, ignores, aware_unsafe"),
        ("needs = ('request', 'rule')", "MyTask", "a seed item has no rule; name fields of Seed"),
        ("pass", "HarmfulNIAH", "class HarmfulNIAH has a name of the program's own; give the class another name"),
        ("pass", "all", "class all has a name"),
        ("pass", "_Hidden", "defines no task; derive a class"),
        ("1 / 0", "MyTask", r"cannot be loaded \(ZeroDivisionError: division by zero\); fix the file"),
        ("def", "MyTask", r"cannot be loaded \(SyntaxError line 6: .*\); fix the file"),
    ],
)
def test_a_file_that_breaks_a_rule_is_named(tmp_path: Path, body: str, name: str, message: str) -> None:
    file = write(tmp_path, body, name)
    with pytest.raises(DataError, match=f"scenario.task_files = {file}: .*{message}"):
        tasks([file])


def test_a_class_without_items_and_a_missing_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "bare.py"
    file.write_text(
        "from longsafety.scenarios.tasks.task import Task\n\n\nclass Bare(Task):\n    scenario = 'QH'\n", "utf-8"
    )
    with pytest.raises(DataError, match=r"class Bare has no method item\(seed, pool, rng, depth\); define it"):
        tasks([str(file)])
    with pytest.raises(DataError, match=r"none\.py: is no Python file; give the path of a \.py file"):
        tasks([str(tmp_path / "none.py")])


def test_the_fingerprint_follows_code_and_options_and_runs_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, "raise SystemExit")
    first = task_files_fingerprint([file])
    (tmp_path / "my_task_en.yaml").write_text(OPTIONS.replace("one", "1"), "utf-8")
    second = task_files_fingerprint([file])
    write(tmp_path, "pass", options=OPTIONS)
    third = task_files_fingerprint([file])
    assert len({first, second, third, task_files_fingerprint([])}) == 4
