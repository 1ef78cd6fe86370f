"""Every config file composes; the paper's counts; facts of Hydra that the configs rely on."""

from __future__ import annotations

import ast
import re
from itertools import chain, product
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException

import longsafety
from longsafety.configuration.compose import Job, compose_jobs, register_roots
from longsafety.configuration.places import CONF, SWEEPS
from longsafety.configuration.settle import settle
from longsafety.configuration.versions import BASE
from longsafety.errors import ConfigError
from longsafety.scenarios.task_counts import task_counts
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.settings import Settings
from tests.conftest import ARMS

SCALES = ("smoke", "nano", "paper")
EXPERIMENT_FILES = sorted(chain(CONF.glob("experiment/*.yaml"), SWEEPS.glob("experiment/*.yaml")))
SWEEP_FILES = sorted(SWEEPS.glob("experiment/*.yaml"))
EXPERIMENTS = [path.stem for path in EXPERIMENT_FILES]
GROUP_FILES = sorted(
    path for path in CONF.glob("*/**/[!_]*.yaml") if not {"hydra", "experiment"}.intersection(path.parts)
)
"""Every option of a group; ``_shared`` is a part of others, and what stands below ``hydra`` cannot be typed. The golden
files show what experiments compose to."""
MODELS = sorted(path.stem for path in CONF.glob("model/[!_]*.yaml"))
SCENARIOS = sorted(path.stem for path in CONF.glob("scenario/[!_]*.yaml"))
HELPS: tuple[list[str], ...] = ([], ["teacher.model=served"], ["data_mix=base"], ["stages=[build]"])
"""What some options need beside them: a server names its model itself, and a benchmark alone trains nothing."""


def settled(*arguments: str) -> list[Settings]:
    return settle(compose_jobs(arguments))


def problems(*arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settled(*arguments)
    return caught.value.problems


def only(lines: list[str], key: str) -> str:
    """The one problem that is about ``key``."""
    found = [line for line in lines if re.match(rf"{re.escape(key)}( =|:)", line)]
    assert len(found) == 1, lines
    return found[0]


# --- every file -----------------------------------------------------------------------------------------------------


def group_and_option(path: Path) -> tuple[str, str]:
    return path.relative_to(CONF).parent.as_posix(), path.stem


@pytest.mark.slow
@pytest.mark.parametrize("path", GROUP_FILES, ids=lambda path: "/".join(group_and_option(path)))
def test_every_config_file_fits_some_scale(path: Path) -> None:
    """A length or a model may be too much for a scale, but each option is of use somewhere."""
    group, option = group_and_option(path)
    typed = f"{group}={option}"
    models = [[f"model={name}"] for name in MODELS] if group == "length" else []
    refused: list[str] = []
    for scale, helps in product(SCALES if group != "scale" else (option,), [*HELPS, *models]):
        arguments = [typed, *helps] if group == "scale" else [f"scale={scale}", typed, *helps]
        try:
            assert settled(*arguments)
            return
        except ConfigError as error:
            refused += error.problems
    pytest.fail("\n".join(dict.fromkeys(refused)))


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_the_lengths_of_a_sweep_are_those_of_its_scale(scale: str) -> None:
    jobs = settled("+experiment=length_generalization", f"scale={scale}")
    factors = ["1", "2", "4"] if scale == "smoke" else ["1", "2", "4", "8"]
    found = [(job.varied["data_mix"], job.varied["length.factor"]) for job in jobs]
    assert found == [*product(["base", "longsafety_twins"], factors)]
    trained = 16352 if scale == "paper" else 256  # an eighth of what 128k leaves for the prompt
    assert {(job.name, job.scale, job.length.max_tokens) for job in jobs} == {("length_generalization", scale, trained)}


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_the_arms_of_a_sweep_are_those_of_its_scale(scale: str) -> None:
    jobs = settled("+experiment=mix_ablation", f"scale={scale}")
    arms = [job.varied["data_mix"] for job in jobs]
    assert arms == ARMS if scale != "paper" else arms[0] == "base" and {*ARMS} < {*arms} and len(arms) == 10
    assert {(job.name, job.scale) for job in jobs} == {("mix_ablation", scale)}


# --- the paper's counts ---------------------------------------------------------------------------------------------

TRAIN = {
    "HarmfulNIAH": 3300,
    "KeywordRAG": 2550,
    "CountingCrimes": 2200,
    "MedicalQuiz": 2162,
    "ManyShotJailbreak": 2000,
    "PoliticallyIncorrect": 1848,
    "SafeMTLong": 1821,
    "LawQA": 1587,
}
BENCH = {
    "HarmfulExtraction": 108,
    "HarmfulTendency": 108,
    "ManyShotJailbreak": 100,
    "HarmfulNIAH": 147,
    "CountingCrimes": 147,
    "DocAttack": 100,
    "HarmfulAdvice": 100,
    "MedicalQuiz": 128,
    "PoliticallyIncorrect": 100,
    "LeadingQuestion": 163,
}


@pytest.mark.parametrize(
    ("scenario", "train", "bench"), [("longsafety", TRAIN, BENCH), ("longsafety_bench", {}, BENCH)]
)
def test_the_papers_sets_have_the_papers_counts(scenario: str, train: dict[str, int], bench: dict[str, int]) -> None:
    [settings] = settled("scale=paper", f"scenario={scenario}", "stages=[build]")
    assert task_counts(settings.scenario, "train") == train
    assert task_counts(settings.scenario, "bench") == bench
    assert (sum(TRAIN.values()), sum(BENCH.values())) == (17468, 1201)


def test_tasks_are_generalised_to_others_or_not() -> None:
    [inside], [outside] = (settled("scale=paper", f"scenario={name}_domain") for name in ("in", "out_of"))
    assert task_counts(inside.scenario, "train") == task_counts(outside.scenario, "train") == TRAIN
    within, beyond = task_counts(inside.scenario, "bench"), task_counts(outside.scenario, "bench")
    assert within | beyond == BENCH
    assert set(within) <= set(TRAIN) and not set(beyond) & set(TRAIN)


@pytest.mark.slow
def test_the_papers_tasks_and_scenarios_can_be_chosen_alone() -> None:
    alone: dict[str, list[str]] = {}
    for name in SCENARIOS:
        [settings] = settled("scale=paper", f"scenario={name}", "stages=[build]")
        alone[name] = sorted(settings.scenario.tasks)
    for name in {*TRAIN, *BENCH}:
        assert [name] in alone.values()
    for option, abbreviation in (("query", "QH"), ("partially", "PH"), ("fully", "FH")):
        members = [name for name in {*TRAIN, *BENCH} if TASKS[name].scenario == abbreviation]
        assert {*members} <= {*alone[f"{option}_harmful"]}
        assert {TASKS[name].scenario for name in alone[f"{option}_harmful"]} == {abbreviation}


# --- facts of Hydra that this relies on -----------------------------------------------------------------------------


def composed(*arguments: str) -> Job:
    [job] = compose_jobs(arguments)
    return job


def test_an_experiment_group_in_the_defaults_would_forbid_plus_experiment(tmp_path: Path) -> None:
    defaults = yaml.safe_load((CONF / "config.yaml").read_text("utf-8"))["defaults"]
    assert not [entry for entry in defaults if isinstance(entry, dict) and "experiment" in entry]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "x.yaml").write_text("# @package _global_\na: 1\n", "utf-8")
    (tmp_path / "config.yaml").write_text("defaults:\n  - experiment: null\n", "utf-8")
    GlobalHydra.instance().clear()
    with (
        initialize_config_dir(str(tmp_path), **BASE),
        pytest.raises(ConfigCompositionException, match="Multiple values"),
    ):
        compose("config", ["+experiment=x"])


@pytest.mark.parametrize("path", EXPERIMENT_FILES + sorted(CONF.glob("scale/*.yaml")), ids=lambda path: path.stem)
def test_files_that_reach_across_groups_are_global_and_override(path: Path) -> None:
    text = path.read_text("utf-8")
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert "# @package _global_" in header
    for entry in (yaml.safe_load(text) or {}).get("defaults", []):
        assert entry == "_self_" or all(key.startswith("override /") for key in entry), entry


@pytest.mark.parametrize("path", EXPERIMENT_FILES, ids=lambda path: path.stem)
def test_sweep_files_declare_multirun_and_others_do_not(path: Path) -> None:
    declared = (yaml.safe_load(path.read_text("utf-8")) or {}).get("hydra", {})
    if path in SWEEP_FILES:
        assert declared["mode"] == "MULTIRUN"
        assert declared["sweeper"]["params"]
    else:
        assert not declared


def test_sweeps_are_a_second_config_root() -> None:
    register_roots()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), **BASE):
        config = compose("config", ["+experiment=mix_ablation"], return_hydra_config=True)
        loader = GlobalHydra.instance().config_loader()
        assert set(loader.get_group_options("experiment")) == set(EXPERIMENTS)
    assert str(config.hydra.mode) == "RunMode.MULTIRUN"
    assert [source.provider for source in config.hydra.runtime.config_sources if source.path == str(SWEEPS)]


def test_experiment_names_are_unique_over_both_roots() -> None:
    assert len(set(EXPERIMENTS)) == len(EXPERIMENTS)


def test_the_job_is_named_and_stays_in_its_folder() -> None:
    declared = yaml.safe_load((CONF / "config.yaml").read_text("utf-8"))["hydra"]["job"]
    assert declared == {"name": "longsafety", "chdir": False}


def test_dicts_merge_and_lists_replace() -> None:
    config = composed("scale=smoke", "scenario.tasks={KeywordRAG: {bench: 7}}", "scenario.depths=[0.5]").config
    assert config["scenario"]["tasks"]["KeywordRAG"] == {"train": 2550, "bench": 7}
    assert config["scenario"]["tasks"]["HarmfulNIAH"] == {"train": 3300, "bench": 147}
    assert config["scenario"]["depths"] == [0.5]


def test_no_config_names_a_python_object() -> None:
    assert not [
        path
        for path in [*GROUP_FILES, *EXPERIMENT_FILES, CONF / "config.yaml"]
        if "_target_" in path.read_text("utf-8")
    ]


@pytest.mark.slow
def test_hydra_stops_at_the_door() -> None:
    """Past composing, no module imports Hydra or OmegaConf."""
    package = Path(longsafety.__file__).parent
    importers = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.split(".")[0] for name in names} & {"hydra", "omegaconf"}:
                importers.add(path.relative_to(package).as_posix())
    assert all(path == "__main__.py" or path.startswith("configuration/") for path in importers), importers


def test_a_folder_that_was_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match=r"the current folder is no longer there; change to one that is \(cd\)"):
        compose_jobs(["scale=smoke", "corpus=texts"])
