"""Every config file composes; every declared job is held against a golden snapshot; mistakes are told together.

Renew the snapshots after a deliberate change, and read the difference before committing it:
``LONGSAFETY_RENEW_GOLDEN=1 python -m pytest tests/test_compose.py``.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

import longsafety
from longsafety.compose import CONF, SWEEPS, Job, compose_jobs, register_plugins, settle
from longsafety.errors import ConfigError
from longsafety.settings import Settings

GOLDEN = Path(__file__).with_name("golden")
RENEW = bool(os.environ.get("LONGSAFETY_RENEW_GOLDEN"))
SCALES = ("smoke", "nano", "paper")
EXPERIMENT_FILES = sorted(chain(CONF.glob("experiment/*.yaml"), SWEEPS.glob("experiment/*.yaml")))
SWEEP_FILES = sorted(SWEEPS.glob("experiment/*.yaml"))
EXPERIMENTS = [path.stem for path in EXPERIMENT_FILES]
GROUP_FILES = sorted(path for root in (CONF, SWEEPS) for path in root.glob("*/**/*.yaml"))
MODELS = sorted(path.stem for path in CONF.glob("model/*.yaml"))
HEAVY = ("torch", "lightning", "transformers", "datasets", "mlflow", "pandas", "matplotlib")


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
    root = CONF if path.is_relative_to(CONF) else SWEEPS
    return path.relative_to(root).parent.as_posix(), path.stem


@pytest.mark.parametrize("path", GROUP_FILES, ids=lambda path: "/".join(group_and_option(path)))
def test_every_config_file_fits_some_scale(path: Path) -> None:
    """A length or a model may be too much for a scale, but each option is of use somewhere."""
    group, option = group_and_option(path)
    typed = f"+{group}={option}" if group == "experiment" else f"{group}={option}"
    models = [f"model={name}" for name in MODELS] if group == "length" else []
    refused: list[str] = []
    for scale, *model in [(scale,) for scale in SCALES] + list(product(SCALES, models)):
        if group == "scale" and scale != option:
            continue
        arguments = [typed, *model] if group == "scale" else [f"scale={scale}", typed, *model]
        try:
            assert settled(*arguments)
            return
        except ConfigError as error:
            refused += error.problems
    pytest.fail("\n".join(refused))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("path", SWEEP_FILES, ids=lambda path: path.stem)
def test_every_job_of_a_sweep_settles_at_every_scale(path: Path, scale: str) -> None:
    params = yaml.safe_load(path.read_text("utf-8"))["hydra"]["sweeper"]["params"]
    expected = list(product(*(str(values).split(",") for values in params.values())))
    jobs = settled(f"+experiment={path.stem}", f"scale={scale}")
    assert [tuple(job.varied[key] for key in params) for job in jobs] == expected
    assert {job.scale for job in jobs} == {scale}
    assert {job.name for job in jobs} == {path.stem}


# --- golden snapshots -----------------------------------------------------------------------------------------------


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        result |= flat(item, f"{prefix}{key}.") if isinstance(item, dict) and item else {f"{prefix}{key}": item}
    return result


def snapshot(jobs: list[Settings]) -> str:
    """What all jobs have in common, then what each has of its own; without the machine's paths."""
    flats = [flat(job.model_dump(exclude={"paths"})) for job in jobs]
    common = {key: item for key, item in flats[0].items() if all(other.get(key, ...) == item for other in flats)}
    own = [{key: item for key, item in job.items() if key not in common} for job in flats]
    content = {"common": common} | ({"jobs": own} if len(jobs) > 1 else {})
    header = "# Renew: LONGSAFETY_RENEW_GOLDEN=1 python -m pytest tests/test_compose.py\n"
    return header + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", ["run", *EXPERIMENTS])
def test_resolved_jobs_are_as_in_the_snapshot(experiment: str, scale: str) -> None:
    chosen = [] if experiment == "run" else [f"+experiment={experiment}"]
    found = snapshot(settled(*chosen, f"scale={scale}"))
    path = GOLDEN / f"{experiment}-{scale}.yaml"
    if RENEW:
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, "utf-8")
    assert path.exists(), f"{path} is missing; see how to renew it at the top of this file"
    assert found == path.read_text("utf-8")


def test_no_snapshot_without_its_experiment() -> None:
    expected = {f"{name}-{scale}.yaml" for name in ("run", *EXPERIMENTS) for scale in SCALES}
    assert {path.name for path in GOLDEN.glob("*")} == expected


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_all_mistakes_are_reported_together() -> None:
    lines = problems("scale=smoke", "training.epoch=2", "training.lr_peak=fast", "length=16k")
    assert len(lines) == 3
    assert re.fullmatch(
        r"training\.epoch = 2: unknown key; did you mean training\.epochs\?", only(lines, "training.epoch")
    )
    assert re.fullmatch(
        r"training\.lr_peak = 'fast': should be a valid number; change the value", only(lines, "training.lr_peak")
    )
    assert re.fullmatch(
        r"length\.max_tokens = 16384: .*2048-token window of model tiny; give at most 1792 or another model",
        only(lines, "length.max_tokens"),
    )


def test_the_error_counts_and_lists_the_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"(?s)^2 settings are wrong:\n  \S+.*\n  \S+.*$"):
        settled("scale=smoke", "training.epoch=2", "seed=-1")


@pytest.mark.parametrize(
    ("arguments", "key", "rest"),
    [
        (["trainning.epochs=2"], "trainning", r" = \{'epochs': 2\}: unknown key; did you mean training\?"),
        (["scenario.tasks.Foo.train=1"], "scenario.tasks.Foo.bench", ": is missing; give it a value"),
        (["stages=[score,cook]"], "stages.1", " = 'cook': should be 'build', .*; change the value"),
        (["training.epochs=true"], "training.epochs", " = True: should be a valid integer; change the value"),
        (["seed='1'"], "seed", " = '1': should be a valid integer; change the value"),
        (["trainer.strategy=fsdp"], "trainer.strategy", " = 'fsdp': should be 'auto', 'ddp' or .*; change the value"),
        (["trainer.strateggy=ddp"], "trainer.strateggy", r" = 'ddp': unknown key; did you mean trainer\.strategy\?"),
        (["training.lr_peak=${nix}"], "training.lr_peak", ": .*'nix' not found; mend the interpolation"),
        (["data_mix.budget=17"], "data_mix.budget", " = 17: the scenario builds 16 .*; give at most 16, .*"),
        (["data_mix.sources.longsafety.share=0.5"], "data_mix.sources", ".*sum to 0.5; make them sum to 1"),
        (["training.batch_size=6"], "training.batch_size", " = 6: not a multiple of .*; change one of them"),
        (["tracking.uri=mlruns"], "tracking.uri", r" = 'mlruns': is a plain path.*; give sqlite:///PATH\.db .*"),
        (["length.train_tokens=9999"], "length.train_tokens", " = 9999: .*; give at most 1792 or another model"),
        (
            ["scoring=official", "evaluation.scorers=[likelihood]"],
            "scoring",
            " = official: .*; add letter to evaluation.scorers",
        ),
        (
            ["trainer=deepspeed_zero3", "trainer.accelerator=cpu"],
            "trainer.strategy",
            " = deepspeed: needs .*; choose .*",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_one_mistake_has_key_value_rule_and_fix(arguments: list[str], key: str, rest: str) -> None:
    line = only(problems("scale=smoke", *arguments), key)
    assert re.fullmatch(re.escape(key) + rest, line), line


def test_a_wrong_value_of_two_types_is_one_line() -> None:
    assert len(problems("scale=smoke", "trainer.devices=0")) == 1


def test_a_rule_over_a_broken_key_is_left_out() -> None:
    """The window is unknown here, so nothing is said about the length."""
    lines = problems("scale=smoke", "model.window=big", "length=16k")
    assert [line.split(" ")[0] for line in lines] == ["model.window"]


def test_mistakes_of_all_jobs_are_reported_once_each() -> None:
    lines = problems("scale=smoke", "+experiment=mix_ablation", "length=1k,4k,8k", "training.epoch=2")
    assert [line.split(":")[0] for line in lines] == [
        "training.epoch = 2",
        "length.max_tokens = 4096",
        "length.max_tokens = 8192",
    ]


# --- what can be typed ----------------------------------------------------------------------------------------------


def test_a_number_names_a_groups_option() -> None:
    short, long = settled("scale=smoke", "length=256,512")
    assert [short.length.name, long.length.name] == ["256", "512"]
    assert [short.length.max_tokens, long.length.max_tokens] == [256, 512]


def test_corpus_in_short_is_its_source(tmp_path: Path) -> None:
    [settings] = settled("scale=smoke", f"corpus={tmp_path}")
    assert settings.corpus.source == str(tmp_path)
    assert settings.corpus.min_words == 50


@pytest.mark.parametrize("swap", [False, True])
def test_corpus_in_short_goes_with_its_other_settings(tmp_path: Path, swap: bool) -> None:
    typed = [f"corpus={tmp_path}", "corpus.min_words=3"]
    [settings] = settled("scale=smoke", *(typed[::-1] if swap else typed))
    assert (settings.corpus.source, settings.corpus.min_words) == (str(tmp_path), 3)


@pytest.mark.parametrize("name", ["two words", "Müller", "(1)", "[x]", "a=b"])
def test_any_path_can_be_typed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    [settings] = settled("scale=smoke", f"corpus={folder}")
    assert settings.corpus.source == str(folder)


def test_relative_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    [settings] = settled(
        "scale=smoke", "corpus=docs", "scenario.seeds=mine.jsonl", "paths.outputs=out", "paths.cache=kept"
    )
    assert settings.corpus.source == str(tmp_path / "docs")
    assert settings.scenario.seeds == str(tmp_path / "mine.jsonl")
    assert (settings.paths.outputs, settings.paths.cache) == (str(tmp_path / "out"), str(tmp_path / "kept"))


def test_a_users_own_folder_of_configs(tmp_path: Path) -> None:
    (tmp_path / "length").mkdir()
    (tmp_path / "length" / "mine.yaml").write_text("name: mine\nmax_tokens: 300\n", "utf-8")
    [settings] = settle(compose_jobs(["scale=smoke", "length=mine"], config_dir=str(tmp_path)))
    assert (settings.length.name, settings.length.max_tokens) == ("mine", 300)


# --- sweeps ---------------------------------------------------------------------------------------------------------


def test_an_ad_hoc_sweep_is_the_product_of_its_values() -> None:
    jobs = settled("scale=smoke", "data_mix=base,longsafety", "training.lr_peak=0.1,0.2")
    assert [job.label for job in jobs] == [
        "base training.lr_peak=0.1",
        "base training.lr_peak=0.2",
        "longsafety training.lr_peak=0.1",
        "longsafety training.lr_peak=0.2",
    ]
    assert jobs[1].varied == {"data_mix": "base", "training.lr_peak": "0.2"}
    assert [job.training.lr_peak for job in jobs] == [0.1, 0.2, 0.1, 0.2]


@pytest.mark.parametrize("typed", ["seed=range(1,4)", "seed=choice(1,2,3)", "seed=1,2,3"])
def test_hydras_ways_to_write_a_sweep(typed: str) -> None:
    assert [job.seed for job in settled("scale=smoke", typed)] == [1, 2, 3]


def test_a_list_is_no_sweep() -> None:
    [settings] = settled("scale=smoke", "evaluation.twins=[short,benign_query]")
    assert settings.evaluation.twins == ["short", "benign_query"]
    assert settings.varied == {}


def test_a_typed_sweep_replaces_the_declared_one() -> None:
    jobs = settled("scale=smoke", "+experiment=mix_ablation", "data_mix=base,long_align")
    assert [job.label for job in jobs] == ["base", "long_align"]


def test_a_typed_value_replaces_the_declared_sweep() -> None:
    [settings] = settled("scale=smoke", "+experiment=mix_ablation", "data_mix=long_align")
    assert (settings.label, settings.varied) == ("long_align", {})


def test_numbers_and_names_of_options_mix() -> None:
    assert [job.length.name for job in settled("scale=smoke", "length=256,1k")] == ["256", "1k"]


def test_one_training_serves_all_lengths() -> None:
    jobs = settled("scale=smoke", "length.max_tokens=512,256,1024")
    assert [job.length.training_tokens for job in jobs] == [256, 256, 256]
    assert [job.length.bench_tokens for job in jobs] == [512, 256, 1024]
    assert {job.label for job in jobs} == {"longsafety"}


def test_factors_lengthen_the_benchmark_only() -> None:
    jobs = settled("scale=smoke", "+experiment=length_generalization")
    assert {job.length.training_tokens for job in jobs} == {256}
    assert [job.length.bench_tokens for job in jobs if job.label == "base"] == [256, 512, 1024]


def test_a_given_training_length_is_kept() -> None:
    jobs = settled("scale=smoke", "length=256,512", "length.train_tokens=300")
    assert [job.length.training_tokens for job in jobs] == [300, 300]


def test_a_single_run_is_trained_at_its_own_length() -> None:
    [settings] = settled("scale=smoke", "length=512")
    assert (settings.length.train_tokens, settings.length.training_tokens) == (None, 512)


def test_arms_of_two_scales_do_not_share_a_training() -> None:
    """They differ in more than the length, so they are different arms."""
    jobs = settled("scale=smoke,paper")
    assert [job.length.training_tokens for job in jobs] == [256, 32512]


def test_a_sweep_over_sweep_files_is_refused() -> None:
    """Hydra drops the sweeps that such files declare (hydra#2807): each would run once, without a word."""
    with pytest.raises(ConfigError, match=r"experiment.*mix_ablation"):
        settled("scale=smoke", "+experiment=mix_ablation,length_generalization")


def test_a_baseline_that_is_no_arm_is_refused_before_the_runs() -> None:
    line = only(problems("scale=smoke", "+experiment=mix_ablation", "baseline=bsae"), "baseline")
    assert re.match(r"baseline = '?bsae'?: .*base, short_safety", line)


# --- as a command ---------------------------------------------------------------------------------------------------

PROBE = f"""
import atexit, json, os, runpy, sys
sys.argv[0] = "longsafety"
place = os.environ["PROBE"]
atexit.register(lambda: open(place, "w").write(json.dumps([name for name in {HEAVY!r} if name in sys.modules])))
runpy.run_module("longsafety", run_name="__main__")
"""


def command(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """``python -m longsafety`` in an empty folder, and the heavy modules that it imported."""
    place = tmp_path / "modules.json"
    root = str(Path(longsafety.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PROBE": str(place), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, json.loads(place.read_text("utf-8"))


def test_help_answers_without_torch(tmp_path: Path) -> None:
    done, heavy = command(tmp_path, "--help")
    assert (done.returncode, heavy) == (0, [])
    assert re.search(r"(?m)^experiment: .*mix_ablation", done.stdout)
    assert re.search(r"(?m)^  python -m longsafety ", done.stdout)


def test_cfg_job_answers_without_torch(tmp_path: Path) -> None:
    done, heavy = command(tmp_path, "+experiment=mix_ablation", "scale=paper", "length=64k", "--cfg", "job")
    assert (done.returncode, heavy) == (0, [])
    shown = yaml.safe_load(done.stdout)
    assert (shown["name"], shown["scale"], shown["length"]["max_tokens"]) == ("mix_ablation", "paper", 65536)


def test_a_wrong_config_is_refused_without_torch(tmp_path: Path) -> None:
    wrong = ("training.epoch=2", "training.lr_peak=fast", "length=128k")
    done, heavy = command(tmp_path, "+experiment=mix_ablation", "scale=smoke", *wrong)
    assert (done.returncode, heavy, done.stdout) == (2, [], "")
    assert re.match(r"longsafety: 3 settings are wrong:\n", done.stderr)
    assert len(done.stderr.splitlines()) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["modules.json"], "nothing is written"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("model=nope", r"^longsafety: .*'model/nope'"),
        ("+experiment=nope", r"^longsafety: .*'experiment/nope'"),
        ("model=null", r"^longsafety: .*\bmodel\b"),
        ("foo", r"^longsafety: .*'foo'"),
    ],
)
def test_what_hydra_refuses_has_no_traceback(tmp_path: Path, argument: str, message: str) -> None:
    done, heavy = command(tmp_path, "scale=smoke", argument)
    assert (done.returncode, heavy) == (2, [])
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr


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
        initialize_config_dir(str(tmp_path), version_base="1.3"),
        pytest.raises(ConfigCompositionException, match="Multiple values"),
    ):
        compose("config", ["+experiment=x"])


@pytest.mark.parametrize("path", EXPERIMENT_FILES + sorted(CONF.glob("scale/*.yaml")), ids=lambda path: path.stem)
def test_files_that_reach_across_groups_are_global_and_override(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.splitlines()[0] == "# @package _global_"
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
    register_plugins()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
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
    assert OmegaConf.to_container(config.scenario.tasks.KeywordRAG) == {"train": 2550, "bench": 7}
    assert len(config.scenario.tasks) == 3
    assert list(config.scenario.depths) == [0.5]


def test_no_config_names_a_python_object() -> None:
    assert not [path for path in [*GROUP_FILES, CONF / "config.yaml"] if "_target_" in path.read_text("utf-8")]


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
    assert importers == {"__main__.py", "compose.py"}
