"""What can be typed on the command line, and the jobs of a sweep."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError
from longsafety.settings import Settings


def settled(*arguments: str) -> list[Settings]:
    return settle(compose_jobs(arguments))


def problem(*arguments: str) -> str:
    """The only thing that is wrong."""
    with pytest.raises(ConfigError) as caught:
        settled(*arguments)
    [line] = caught.value.problems
    return line


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


def test_read_and_written_files_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    typed = ["read.path=rows.jsonl", "read.documents=owner/contexts", "export.path=out put", "export.format=messages"]
    [settings] = settled("scale=smoke", "stages=[build,export]", *typed)
    assert settings.read.path == str(tmp_path / "rows.jsonl")
    assert settings.read.documents == "owner/contexts", "no file of this name is here: it is a name on the hub"
    assert settings.export.path == str(tmp_path / "out put")


def test_the_scales_limits_are_for_models_alone() -> None:
    [trained], [built] = settled("scale=nano"), settled("scale=nano", "stages=[build]")
    assert (trained.scenario.train_samples, trained.scenario.bench_items) == (64, 54)
    assert (built.scenario.train_samples, built.scenario.bench_items) == (None, None)
    [small] = settled("scale=smoke", "stages=[build]")
    assert (small.scenario.train_samples, small.scenario.bench_items) == (24, 18), "smoke limits builds too"
    [typed] = settled("scale=smoke", "scenario.train_samples=20")
    assert (typed.scenario.train_samples, typed.scenario.bench_items) == (20, 18), "what is typed has priority"


def test_a_typed_scenario_goes_before_the_scales() -> None:
    [own], [typed] = (settled("scale=smoke", "length=512", *more) for more in ([], ["scenario=longsafety"]))
    assert {name: counts for name, counts in typed.scenario.tasks.items() if name != "CountingCrimes"} == {
        name: counts for name, counts in own.scenario.tasks.items() if name != "CountingCrimes"
    }
    assert (own.scenario.tasks["CountingCrimes"].train, typed.scenario.tasks["CountingCrimes"].train) == (0, 2200)


def test_a_users_own_folder_of_configs(tmp_path: Path) -> None:
    (tmp_path / "length").mkdir()
    (tmp_path / "length" / "mine.yaml").write_text("name: mine\nmax_tokens: 300\n", "utf-8")
    [settings] = settle(compose_jobs(["scale=smoke", "length=mine"], config_dir=str(tmp_path)))
    assert (settings.length.name, settings.length.max_tokens) == ("mine", 300)


# --- sweeps ---------------------------------------------------------------------------------------------------------


def test_an_ad_hoc_sweep_is_the_product_of_its_values() -> None:
    jobs = settled("scale=smoke", "data_mix=base,longsafety", "training.lr_peak=0.1,0.2")
    assert [job.label for job in jobs] == [
        "base",  # untrained: one run, whatever its training varies
        "longsafety training.lr_peak=0.1",
        "longsafety training.lr_peak=0.2",
    ]
    assert jobs[2].varied == {"data_mix": "longsafety", "training.lr_peak": "0.2"}
    assert [job.training.lr_peak for job in jobs[1:]] == [0.1, 0.2]


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


@pytest.mark.slow
def test_numbers_and_names_of_options_mix() -> None:
    assert [job.length.name for job in settled("scale=smoke", "length=256,1k")] == ["256", "1k"]


def test_one_training_serves_all_lengths() -> None:
    jobs = settled("scale=smoke", "length.max_tokens=512,256,1024")
    assert [job.length.training_tokens for job in jobs] == [256, 256, 256]
    assert [job.length.bench_tokens for job in jobs] == [512, 256, 1024]
    assert {job.label for job in jobs} == {"longsafety"}


@pytest.mark.slow
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


def test_data_that_is_only_built_has_each_lengths_own_training_samples() -> None:
    """No training is there to be shared."""
    jobs = settled("scale=smoke", "length=256,512", "stages=[build]")
    assert [job.length.training_tokens for job in jobs] == [256, 512]


def test_each_export_of_a_sweep_has_its_own_folder(tmp_path: Path) -> None:
    exporting = ("scale=smoke", "length=256,512", "stages=[build,export]", "export.format=messages")
    jobs = settled(*exporting, f"export.path={tmp_path}/${{length.name}}")
    assert [job.export.path for job in jobs] == [str(tmp_path / "256"), str(tmp_path / "512")]
    line = problem(*exporting, f"export.path={tmp_path}/one")
    assert re.search(r"/one: 2 runs of this command would write into it; give each its own, .*length\.name", line)


def test_each_model_of_a_sweep_is_written_into_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "longsafety").mkdir()
    (tmp_path / "longsafety" / "model.safetensors").touch()  # an earlier attempt's: launch knows whether it is this one
    exporting = ("scale=smoke", "stages=[train,export]", "export.format=weights", f"export.path={tmp_path}")
    arms = settled(*exporting, "data_mix=base,longsafety,longsafety_twins", "seed=0,1")
    assert [str(job.export.path).removeprefix(f"{tmp_path}/") for job in arms if job.data_mix.sources] == [
        "longsafety-seed=0", "longsafety-seed=1", "longsafety_twins-seed=0", "longsafety_twins-seed=1",
    ]  # fmt: skip
    lengths = settled(*exporting, "length=256,512")
    assert [Path(str(job.export.path)).name for job in lengths] == ["longsafety-256", "longsafety-512"]
    jobs = settled(*exporting[:-1], f"export.path={tmp_path}/${{length.name}}", "length=256,512")
    assert [job.export.path for job in jobs] == [str(tmp_path / "256"), str(tmp_path / "512")]


def test_a_sweep_that_trains_nothing_exports_nothing(tmp_path: Path) -> None:
    exporting = ("scale=smoke", "stages=[train,export]", "export.format=weights", f"export.path={tmp_path}/new")
    line = problem(*exporting, "data_mix=base", "seed=0,1")
    assert re.match(r"export\.format = weights: no arm of base seed=0, base seed=1 is trained; choose another", line)


def test_a_sweep_over_sweep_files_is_refused() -> None:
    """Hydra drops the sweeps that such files declare (hydra#2807): each would run once, without a word."""
    with pytest.raises(ConfigError, match=r"experiment.*mix_ablation"):
        settled("scale=smoke", "+experiment=mix_ablation,length_generalization")


def test_a_baseline_that_is_no_arm_is_refused_before_the_runs() -> None:
    line = problem("scale=smoke", "+experiment=mix_ablation", "baseline=bsae")
    assert re.match(r"baseline = '?bsae'?: no arm of this command; choose one of base, .*longsafety_twins", line)


def test_a_baseline_is_an_arm_however_many_its_trainings() -> None:
    swept = ("scale=smoke", "data_mix=base,longsafety", "seed=0,1")
    assert {job.baseline for job in settled(*swept, "baseline=base")} == {"base"}
    assert problem(*swept, "baseline=base seed=0").endswith("choose one of base, longsafety")


@pytest.mark.slow
def test_contrasts_without_their_arms_are_told_before_the_runs() -> None:
    def told(*arguments: str) -> list[str]:
        notes: list[str] = []
        settle(compose_jobs(["scale=smoke", *arguments]), notes.append)
        return [note for note in notes if note.startswith("contrasts")]

    assert told("+experiment=mix_ablation") == []
    assert told("+experiment=controls", "seed=0,1") == []
    arms = "data_mix=base,longsafety,longsafety_twins"
    assert told("+experiment=mix_ablation", arms) == [
        "contrasts: longsafety_twins against longsafety_short_twins is left out, because this command has no arm "
        "longsafety_short_twins; its arms are base, longsafety, longsafety_twins",
        "contrasts: longsafety against short_safety_long_align is left out, because this command has no arm "
        "short_safety_long_align; its arms are base, longsafety, longsafety_twins",
    ]
    [both] = told("data_mix=base,longsafety", "contrasts=[[one,other]]")
    assert "has no arm one and no arm other; its" in both


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("stages=plan", "stages = 'plan': should be a list; write [plan]: stages=[plan]"),
        ("evaluation.scorers=letter", "evaluation.scorers = 'letter': should be a list; write [letter]:"),
        ("length.lengths=256", "length.lengths = 256: should be a list; write [256]: length.lengths=[256]"),
        ("contrasts=base", "contrasts = 'base': should be a valid list; change the value"),
        ('hydra.sweeper.params={seed: "0,1"}', "cannot be typed as a whole; give each key with its values, KEY=A,B"),
        ("scenario={a.b: 3}", "scenario = {a.b: 3}: names a file of conf/scenario"),
        ("corpus={a.b: 3}", "a.b is one key to YAML; in a file write a: and below it, indented, b:"),
        ("name=\udce9", "name=\\udce9: is not valid UTF-8; give names in UTF-8"),
        (os.fsencode("name=数据").decode("ascii", "surrogateescape"), "set PYTHONUTF8=1 before the command"),
    ],
)
def test_a_value_of_another_form_is_told_with_the_right_one(typed: str, told: str) -> None:
    assert told in problem("scale=smoke", typed)
