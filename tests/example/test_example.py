"""The worked example: from a user's own folder to the report, as its README says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError, DataError
from longsafety.samples.recipe import SampleFile
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.tasks.registry import option_roles

if TYPE_CHECKING:
    from tests.conftest import Place

EXAMPLE = Path(__file__).parent
NUM_SEEDS = 10


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder of the test's own, to be spoilt."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "mine", ignore=shutil.ignore_patterns("*.py[co]", "test_*")))


def problems(folder: Path, *arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settle(compose_jobs(["scale=smoke", "scenario=rule_in_text", *arguments], str(folder)))
    return caught.value.problems


@pytest.mark.slow
def test_the_example_runs_to_its_report(place_at: Callable[[Path], Place], tmp_path: Path) -> None:
    place = place_at(tmp_path / "outputs")
    place.succeed(
        "--config-dir", str(EXAMPLE), "scenario=rule_in_text", f"corpus={EXAMPLE / 'documents'}",
        "limits={train_samples: 7, bench_items: 3}", "data_mix.budget=100",
    )  # fmt: skip
    items = list(SampleFile(place.stage("benchmark") / "samples.parquet"))
    assert {item.task for item in items} == {"RuleInText"}
    assert {item.kind for item in items} == {"harmful", "short", "benign_query", "short_benign"}
    assert all(item.seed_id.startswith("rule-") for item in items)
    assert {item.right for item in items if item.kind.endswith(("query", "benign"))} == {"aware_unsafe"}
    assert {item.right for item in items if item.kind in ("harmful", "short")} == {"safe"}
    [report] = place.outputs.rglob("report.html")
    assert "RuleInText" in report.read_text("utf-8")


def test_the_files_stand_beside_the_config_wherever_it_is_started(
    copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    [settings] = settle(compose_jobs(["scale=smoke", "scenario=rule_in_text"], "mine"))
    assert settings.scenario.task_files == [str(copied / "rule_in_text.py")]
    assert settings.scenario.seeds == str(copied / "seeds.jsonl")
    assert len((copied / "seeds.jsonl").read_text("utf-8").splitlines()) == NUM_SEEDS


def test_a_task_without_options_in_the_language_is_refused(copied: Path) -> None:
    [problem] = problems(copied, "scenario.language=zh")
    assert problem.startswith(f"{copied}/rule_in_text_zh.yaml: no options for task RuleInText; add RuleInText.options")
    assert problem.endswith("or set scenario.language to en")


def test_a_task_without_seed_items_is_refused(copied: Path) -> None:
    [problem] = problems(copied, "scenario.seeds=shipped")
    assert problem.startswith(
        "scenario.tasks.RuleInText: no seed item has what this task needs (request, safe_answer, "
    )
    assert problem.endswith("give more seeds (scenario.seeds) or leave the task out")


def test_a_broken_task_file_is_named(copied: Path) -> None:
    file = copied / "rule_in_text.py"
    file.write_text(file.read_text("utf-8").replace('scenario = "QH"', 'scenario = "query"'), "utf-8")
    [problem] = problems(copied)
    assert problem.startswith(f"scenario.task_files = {file}: class RuleInText: scenario = query: must be QH, PH, FH")


def test_config_dir_in_a_config_needs_the_option() -> None:
    with pytest.raises(ConfigError, match=r"stands for the folder of --config-dir; give it"):
        settle(compose_jobs(["scale=smoke", "scenario.seeds=${config_dir:}/seeds.jsonl"]))


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"safe": ["No."]}, r"options = {safe}: must have the roles hallucinates, ignores, aware_unsafe, safe; give"),
        ({"HarmfulNIAH": {}}, r"options\.HarmfulNIAH: no such task takes this item; must be one of RuleInText; rename"),
    ],
)
def test_options_with_other_roles_are_refused_with_the_line(copied: Path, options: dict[str, Any], rule: str) -> None:
    file = copied / "seeds.jsonl"
    first, *rest = file.read_text("utf-8").splitlines()
    file.write_text("\n".join([json.dumps(json.loads(first) | {"options": options}), *rest]), "utf-8")
    with pytest.raises(DataError, match=rf"^{re.escape(str(file))}:1: {rule}"):
        load_seeds(str(file), own_tasks=["RuleInText"], roles=option_roles([str(copied / "rule_in_text.py")]))
