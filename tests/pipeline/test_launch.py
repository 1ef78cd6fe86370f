"""The commands, end to end: random tiny model, a small corpus, real processes, and ``kill -9``."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import yaml

from longsafety import results
from tests.conftest import ARMS, SMALL

if TYPE_CHECKING:
    from tests.conftest import Place


SAMPLES = "data_mix.budget_unit=samples"
STEPWISE = [
    "evaluation.scorers=[likelihood,letter]",
    "data_mix.budget=16",
    SAMPLES,
    "training.batch_size=2",
    "training.micro_batch_size=1",
    "training.checkpoint_every_steps=1",
]
NUM_STEPS = 8
"""16 samples, two a step."""


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory, place_at: Callable[[Path], Place]) -> Place:
    """The main job, run to its end."""
    place = place_at(tmp_path_factory.mktemp("ablation") / "outputs")
    (place.outputs.parent / "stdout.txt").write_text(place.succeed("+experiment=mix_ablation", *SMALL), "utf-8")
    return place


@pytest.fixture
def kept(place: Place, single: Place) -> Place:
    """A place of the test's own with the stages of the single run: they can be carried anywhere."""
    shutil.copytree(single.outputs / "stages", place.outputs / "stages")
    return place


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, place_at: Callable[[Path], Place]) -> Place:
    """A single run, step by step, without interruption."""
    place = place_at(tmp_path_factory.mktemp("single") / "outputs")
    place.succeed(*STEPWISE)
    return place


# --- to the end -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_ablation_compares_its_arms(ablation: Place) -> None:
    sweep = ablation.folder("sweeps")
    table = pd.read_csv(sweep / "comparison.csv")
    assert sorted(table["arm"].unique()) == sorted(ARMS)
    per_arm = table.groupby("arm")["n"].agg(tuple)
    assert per_arm.nunique() == 1, "all arms answered the same items"
    measured = table.dropna(subset="low")  # a difference of a single seed item has no interval
    assert len(measured) > len(table) / 2
    assert measured["low"].le(measured["value"] + 1e-9).all() and measured["high"].ge(measured["value"] - 1e-9).all()
    assert table.loc[table["arm"] != "base", "against"].dropna().eq("base").all()
    page = (sweep / "report.html").read_text("utf-8")
    assert all(arm in page for arm in ARMS)
    assert not re.search(r"""(src|href)=["']https?://""", page), "the page is self-contained"


@pytest.mark.slow
def test_the_frames_have_the_numbers_of_the_report(ablation: Place) -> None:
    found = results(ablation.outputs)
    page = (ablation.folder("sweeps") / "report.html").read_text("utf-8")
    shares = found.scores.query("metric == 'safe_response' and task == 'all'")
    shares = shares.drop_duplicates("arm")  # of the first scorer
    assert sorted(shares["arm"]) == sorted(ARMS)
    for arm, value, low, high in shares[["arm", "value", "low", "high"]].itertuples(index=False):
        [row, *_] = re.findall(rf'<tr><th scope="row"><i[^>]*></i>{arm}</th>.*?</tr>', page, re.DOTALL)
        shown = re.findall(r"[01]?\.\d\d(?!\d)", row)
        assert {f"{share:.2f}".removeprefix("0") for share in (value, low, high)} <= set(shown), (arm, row)


@pytest.mark.slow
def test_the_ablation_shares_what_its_arms_have_in_common(ablation: Place) -> None:
    assert [len(ablation.stages(name)) for name in ("corpus", "samples", "benchmark")] == [1, 1, 1]
    assert [len(ablation.stages(name)) for name in ("weights", "answers")] == [5, 6]
    assert not list((ablation.outputs / "stages").rglob("*.partial"))
    runs = list((ablation.outputs / "runs" / "mix_ablation").iterdir())
    assert len(runs) == 6
    assert all((run / "done").exists() and (run / "scores.parquet").exists() for run in runs)
    facts = [json.loads((folder / "training.json").read_text("utf-8")) for folder in ablation.stages("weights")]
    assert {fact["samples"] for fact in facts} == {6}


@pytest.mark.slow
def test_the_terminal_shows_every_arm_and_the_place_of_the_report(ablation: Place) -> None:
    shown = (ablation.outputs.parent / "stdout.txt").read_text("utf-8")
    assert all(re.search(rf"(?m)^{arm} .*\.\d\d", shown) for arm in ARMS)
    assert f"report   {ablation.folder('sweeps') / 'report.html'}" in shown


@pytest.mark.slow
def test_the_same_command_again_makes_nothing(ablation: Place) -> None:
    before, report = ablation.made(), (ablation.folder("sweeps") / "report.html").stat()
    shown = ablation.succeed("+experiment=mix_ablation", *SMALL)
    assert ablation.made() == before
    assert (ablation.folder("sweeps") / "report.html").stat().st_mtime_ns == report.st_mtime_ns
    assert "[1/6]" not in shown, "no run was started"
    assert all(re.search(rf"(?m)^{arm} ", shown) for arm in ARMS), "the table is shown again"


@pytest.mark.slow
def test_every_trained_model_of_a_sweep_is_exported_once(place: Place, small: Place, tmp_path: Path) -> None:
    typed = ["data_mix=base,longsafety,short_safety", "stages=[build,train,export]", "export.format=weights", *SMALL]
    folder = tmp_path / "models"
    (folder / "short_safety").mkdir(parents=True)
    (folder / "short_safety" / "notes.txt").write_text("mine")
    refused = place.run(*typed, f"export.path={folder}")
    assert refused.returncode == 2
    assert re.search(
        r"export\.path = \S+/models/short_safety: is not empty; give a new or empty folder", refused.stderr
    )
    assert not (place.outputs / "stages").exists(), "nothing was made before"
    shutil.rmtree(folder / "short_safety")
    shutil.copytree(small.outputs / "stages", place.outputs / "stages")
    place.succeed(*typed, f"export.path={folder}")
    assert sorted(path.name for path in folder.iterdir()) == ["longsafety", "short_safety"]
    shutil.rmtree(folder / "short_safety")
    shown = place.succeed(*typed, f"export.path={folder}")
    assert "[3/3]" in shown and "[2/3]" not in shown, "what is there is not written again, what is not is"
    assert (folder / "short_safety" / "model.safetensors").exists()


# --- killed ---------------------------------------------------------------------------------------------------------


def lines(path: Path) -> list[str]:
    """The complete lines of a file that another process may be writing."""
    return path.read_text("utf-8").split("\n")[:-1] if path.exists() else []


@pytest.mark.soak  # tests/test_kills.py ends commands anywhere
@pytest.mark.slow
def test_killed_in_training_and_in_asking_it_ends_as_if_it_had_not_been(place: Place, single: Place) -> None:
    stages = place.outputs / "stages"

    def in_training() -> bool:
        started = list(stages.glob("weights/*.partial/checkpoints/*.ckpt"))
        return any(len(lines(path.parents[1] / "history.jsonl")) >= 3 for path in started)

    def in_asking() -> bool:
        return any(len(lines(path)) >= 5 for path in stages.glob("answers/*.partial/answers.jsonl"))

    place.kill_when(in_training, *STEPWISE)
    assert not place.stages("weights")
    [partial] = stages.glob("weights/*.partial")
    assert 3 <= len(lines(partial / "history.jsonl")) < NUM_STEPS, "killed in the middle"
    first_made = place.made()
    assert {name.split("/")[0] for name in first_made} == {"seeds", "corpus", "samples", "benchmark"}

    place.kill_when(in_asking, *STEPWISE)
    steps = [json.loads(line)["step"] for line in lines(place.stage("weights") / "history.jsonl")]
    assert steps == list(range(1, NUM_STEPS + 1)), "every step once"
    assert not place.stages("answers")
    [partial] = stages.glob("answers/*.partial")
    journal = lines(partial / "answers.jsonl")
    second_made = place.made()

    place.succeed(*STEPWISE)
    last_made = place.made()
    assert {name: last_made[name] for name in first_made} == first_made
    assert {name: last_made[name] for name in second_made} == second_made
    answered = lines(place.stage("answers") / "answers.jsonl")
    assert answered[: len(journal)] == journal
    asked = [(row["item_id"], row["scorer"]) for row in map(json.loads, answered)]
    assert len(asked) == len(set(asked)), "nothing is asked twice"

    assert same_files(place, single, "stages/weights/*/weights/model.safetensors")
    assert same_files(place, single, "runs/run/*/scores.csv")
    assert same_files(place, single, "sweeps/*/comparison.csv")
    assert answered == lines(single.stage("answers") / "answers.jsonl")


@pytest.mark.soak
@pytest.mark.slow
def test_killed_five_times_in_training_the_weights_are_those_of_a_training_that_was_not(
    place: Place, single: Place
) -> None:
    """At steps drawn at random, one of them before the first checkpoint."""
    for step in (0, *sorted(random.Random(7).sample(range(1, NUM_STEPS), 4))):

        def reached(step: int = step) -> bool:
            partial = list(place.outputs.glob("stages/weights/*.partial/history.jsonl"))
            return any(len(lines(path)) >= step for path in partial)

        place.kill_when(reached, *STEPWISE, "stages=[build,train]")
        assert not place.stages("weights")
    place.succeed(*STEPWISE, "stages=[build,train]")
    assert same_files(place, single, "stages/weights/*/weights/model.safetensors")


def same_files(one: Place, other: Place, pattern: str) -> bool:
    """Whether the only file of a pattern has the same bytes in both places."""
    [first], [second] = one.outputs.glob(pattern), other.outputs.glob(pattern)
    return first.read_bytes() == second.read_bytes()


# --- parts of a run -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_kept_answers_are_scored_anew_without_a_model(kept: Place, single: Place) -> None:
    before = kept.made()
    kept.succeed(*STEPWISE, "stages=[score]", "scoring=official")
    assert kept.made() == before
    settings = yaml.safe_load((kept.folder("runs", "run/*") / "settings.yaml").read_text("utf-8"))
    assert (settings["stages"], settings["scoring"]) == (["score"], "official")
    official, fixed = (pd.read_csv(place.folder("runs", "run/*") / "scores.csv") for place in (kept, single))
    assert len(official)
    assert not official.equals(fixed)


@pytest.mark.slow
def test_one_training_serves_two_lengths(kept: Place) -> None:
    weights = kept.stage("weights")
    kept.succeed(*STEPWISE, "--multirun", "length=256,512")
    assert kept.stages("weights") == [weights]
    assert [len(kept.stages(name)) for name in ("corpus", "samples", "benchmark", "answers")] == [1, 1, 2, 2]
    sweep = kept.folder("sweeps")
    by_length = pd.read_parquet(sweep / "by_length.parquet")
    assert set(by_length["arm"]) == {"longsafety"}
    assert set(by_length["max_tokens"]) | set(by_length["against_max_tokens"]) == {256, 512}
    assert by_length.loc[by_length["max_tokens"] == 512, "n"].gt(0).any(), "paired on the same items"
    assert set(pd.read_csv(sweep / "comparison.csv")["max_tokens"]) == {256, 512}


@pytest.mark.slow
def test_a_sweep_that_is_started_twice_is_told_to_mlflow_once(warm: Place) -> None:
    """Both find the models trained, and have them to ask."""
    place = warm
    shutil.rmtree(place.outputs / "stages" / "answers")
    tracked = [*SMALL, "tracking=mlflow", "data_mix=base,longsafety", "name=told"]
    with ThreadPoolExecutor() as at_once:
        shown, other = at_once.map(lambda _: place.succeed(*tracked), range(2))
    assert shown.splitlines()[-3:] == other.splitlines()[-3:]
    assert f"mlflow ui --backend-store-uri sqlite:///{place.outputs / 'mlflow.db'}" in shown
    place.succeed(*tracked)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{place.outputs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("told")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.info.run_name for run in children} == {"base at 256", "longsafety at 256"}
    assert {run.data.params["data_mix"] for run in children} == {"base", "longsafety"}
    assert {"report.html", "comparison.json"} <= {item.path for item in client.list_artifacts(parents[0].info.run_id)}


@pytest.mark.slow
def test_a_finished_sweep_can_be_told_to_mlflow_later(single: Place) -> None:
    before = single.made()
    single.succeed(*STEPWISE, "tracking=mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{single.outputs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("run")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 2
    assert single.made() == before
