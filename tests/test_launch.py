"""The commands, end to end: random tiny model, a small corpus, real processes, and ``kill -9``."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

import longsafety
from longsafety.model import tiny

ARMS = [
    "base",
    "short_safety",
    "long_align",
    "short_safety_long_align",
    "longsafety_short",
    "longsafety",
    "longsafety_twins",
]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(Path(longsafety.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    ),
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "200",
    "NO_COLOR": "1",
}
BASICS = [
    "scale=smoke",
    "trainer=cpu",
    "trainer.precision=32-true",
    "evaluation.precision=32-true",
    "evaluation.bootstrap_samples=50",
]
SMALL = ["scenario.train_samples=6", "data_mix.budget=6", "scenario.bench_items=3", "training.batch_size=4"]
STEPWISE = ["training.batch_size=2", "training.micro_batch_size=1", "training.checkpoint_every_steps=1"]
NUM_STEPS = 8
"""16 samples at scale smoke, two a step."""


@dataclass(frozen=True)
class Place:
    """Where the commands of one test write; they share corpus and converted models with the others."""

    outputs: Path
    corpus: Path
    cache: Path

    def arguments(self, *arguments: str) -> list[str]:
        given = {argument.split("=")[0].removesuffix(".source") for argument in arguments}
        paths = [f"corpus={self.corpus}", f"paths.outputs={self.outputs}", f"paths.cache={self.cache}"]
        common = [*BASICS, "tracking=none", *paths]
        kept = [argument for argument in common if argument.split("=")[0] not in given]
        return [sys.executable, "-m", "longsafety", *kept, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.arguments(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
        )

    def succeed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def kill_when(self, reached: Callable[[], bool], *arguments: str) -> None:
        """Starts the command and ends it and all its processes with SIGKILL once ``reached`` holds."""
        with (self.outputs.parent / "killed.log").open("ab") as log:
            process = subprocess.Popen(
                self.arguments(*arguments), env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
            )
            try:
                while not reached():
                    assert process.poll() is None, "the command ended before it could be killed"
                    time.sleep(0.005)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def stage(self, name: str) -> Path:
        """The only complete folder of a stage."""
        [folder] = self.stages(name)
        return folder

    def stages(self, name: str) -> list[Path]:
        found = (self.outputs / "stages" / name).glob("*")
        return sorted(path for path in found if path.is_dir() and path.suffix != ".partial")

    def made(self) -> dict[str, tuple[int, int]]:
        """The files of all complete stages, with inode and time of change."""
        root = self.outputs / "stages"
        files = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]
        kept = [path for path in files if not path.relative_to(root).parts[1].endswith(".partial")]
        return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept}

    def folder(self, kind: str, pattern: str = "*") -> Path:
        """The only folder of a run or a sweep."""
        [folder] = (self.outputs / kind).glob(pattern)
        return folder


NOUNS = ["river", "stone", "market", "winter", "letter", "garden", "engine", "harbour", "teacher", "bridge", "paper"]
NOUNS += ["music", "window", "forest", "bread", "signal", "captain", "mirror", "ladder", "valley", "copper", "village"]
VERBS = ["carries", "finds", "keeps", "follows", "crosses", "answers", "repairs", "measures", "describes", "remembers"]


def prose(number: int, paragraphs: int = 6) -> str:
    """A few hundred words of sentences, the same for the same number."""
    rng = random.Random(number)

    def sentence() -> str:
        one, two, three, four, five = rng.sample(NOUNS, 5)
        return (
            f"The {one} near the {two} {rng.choice(VERBS)} the old {three} of {four}, "
            f"and in the evening the {five} {rng.choice(VERBS)} it again."
        )

    return "\n\n".join(" ".join(sentence() for _ in range(8)) for _ in range(paragraphs)) + "\n"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny model lies, made once for all tests."""
    folder = tmp_path_factory.mktemp("cache")
    tiny.model_folder(folder, 2048, 0)
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(14):
        (folder / f"{number:02}.txt").write_text(prose(number), "utf-8")
    return folder


@pytest.fixture
def place(tmp_path: Path, corpus: Path, cache: Path) -> Place:
    return Place(tmp_path / "outputs", corpus, cache)


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory, corpus: Path, cache: Path) -> Place:
    """The main job, run to its end."""
    place = Place(tmp_path_factory.mktemp("ablation") / "outputs", corpus, cache)
    (place.outputs.parent / "stdout.txt").write_text(place.succeed("+experiment=mix_ablation", *SMALL), "utf-8")
    return place


@pytest.fixture
def kept(place: Place, single: Place) -> Place:
    """A place of the test's own with the stages of the single run: they can be carried anywhere."""
    shutil.copytree(single.outputs / "stages", place.outputs / "stages")
    return place


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, corpus: Path, cache: Path) -> Place:
    """A single run, step by step, without interruption."""
    place = Place(tmp_path_factory.mktemp("single") / "outputs", corpus, cache)
    place.succeed(*STEPWISE)
    return place


# --- to the end -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_ablation_compares_seven_arms(ablation: Place) -> None:
    sweep = ablation.folder("sweeps")
    table = pd.read_csv(sweep / "comparison.csv")
    assert sorted(table["arm"].unique()) == sorted(ARMS)
    per_arm = table.groupby("arm")["n"].agg(tuple)
    assert per_arm.nunique() == 1, "all arms answered the same items"
    assert table["low"].le(table["value"] + 1e-9).all() and table["high"].ge(table["value"] - 1e-9).all()
    assert table.loc[table["arm"] != "base", "against"].dropna().eq("base").all()
    page = (sweep / "report.html").read_text("utf-8")
    assert all(arm in page for arm in ARMS)
    assert not re.search(r"""(src|href)=["']https?://""", page), "the page is self-contained"


@pytest.mark.slow
def test_the_ablation_shares_what_its_arms_have_in_common(ablation: Place) -> None:
    assert [len(ablation.stages(name)) for name in ("corpus", "samples", "benchmark")] == [1, 1, 1]
    assert [len(ablation.stages(name)) for name in ("weights", "answers")] == [6, 7]
    assert not list((ablation.outputs / "stages").rglob("*.partial"))
    runs = list((ablation.outputs / "runs" / "mix_ablation").iterdir())
    assert len(runs) == 7
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
    assert "[1/7]" not in shown, "no run was started"
    assert all(re.search(rf"(?m)^{arm} ", shown) for arm in ARMS), "the table is shown again"


# --- killed ---------------------------------------------------------------------------------------------------------


def lines(path: Path) -> list[str]:
    """The complete lines of a file that another process may be writing."""
    return path.read_text("utf-8").split("\n")[:-1] if path.exists() else []


@pytest.mark.slow
def test_killed_in_training_and_in_asking_it_ends_as_if_it_had_not_been(place: Place, single: Place) -> None:
    stages = place.outputs / "stages"

    def in_training() -> bool:
        started = list(stages.glob("weights/*.partial/checkpoints/last.ckpt"))
        return any(len(lines(path.parents[1] / "history.jsonl")) >= 3 for path in started)

    def in_asking() -> bool:
        return any(len(lines(path)) >= 5 for path in stages.glob("answers/*.partial/answers.jsonl"))

    place.kill_when(in_training, *STEPWISE)
    assert not place.stages("weights")
    [partial] = stages.glob("weights/*.partial")
    assert 3 <= len(lines(partial / "history.jsonl")) < NUM_STEPS, "killed in the middle"
    first_made = place.made()
    assert {name.split("/")[0] for name in first_made} == {"corpus", "samples", "benchmark"}

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
def test_a_sweep_is_told_to_mlflow_once(place: Place) -> None:
    tracked = [*SMALL, "tracking=mlflow", "data_mix=base,longsafety", "name=told"]
    shown = place.succeed(*tracked)
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
    assert {run.info.run_name for run in children} == {"base", "longsafety"}
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


# --- bad input ------------------------------------------------------------------------------------------------------


def refused(place: Place, *arguments: str) -> str:
    """The one line that the command writes; nothing was trained."""
    done = place.run(*arguments)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("longsafety: ")]
    # Behind it, a run that had begun says which one of the sweep it was and what is kept.
    message, *behind = ours
    assert all(
        re.match(r"longsafety: run 1 of \d+ \(.*\) failed; 0 finished runs are kept, .*", line) for line in behind
    )
    assert len(behind) <= 1
    others = [line for line in done.stderr.splitlines() if line not in ours and "Loading" not in line]
    assert not others, others
    assert not place.outputs.is_dir() or not place.stages("weights")
    return message.removeprefix("longsafety: ")


def test_an_empty_corpus(place: Place, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    line = refused(place, f"corpus={empty}")
    assert re.match(rf"corpus\.source = {re.escape(str(empty))}: no \.txt.* file among its 0 file\(s\); give ", line)


def test_a_corpus_that_is_not_there(place: Place, tmp_path: Path) -> None:
    line = refused(place, f"corpus={tmp_path}/nothing.txt")
    assert re.match(rf"corpus\.source = {re.escape(str(tmp_path))}/nothing\.txt: no such file or folder; give ", line)


def test_a_corpus_shorter_than_the_context(place: Place, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.mkdir()
    for number in range(3):
        (short / f"{number}.txt").write_text(prose(number, paragraphs=1), "utf-8")
    line = refused(place, f"corpus={short}", "length=1k")
    assert re.search(r"documents left for this split give \d+ tokens, \d+ are needed; give a larger corpus or a ", line)


def test_text_that_is_not_utf8(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "latin1"
    folder.mkdir()
    (folder / "a.txt").write_text(prose(1), "utf-8")
    (folder / "b.txt").write_bytes(b"Stra\xdfe " + prose(2).encode())
    line = refused(place, f"corpus={folder}")
    assert re.match(rf"{re.escape(str(folder))}/b\.txt: byte 4 \(0xdf\) is not valid UTF-8; convert ", line)


def rows(folder: Path, *documents: dict[str, str]) -> Path:
    folder.mkdir()
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents), "utf-8")
    return folder / "docs.jsonl"


def test_a_row_without_its_key(place: Place, tmp_path: Path) -> None:
    path = rows(tmp_path / "rows", {"text": prose(1)}, {"body": prose(2)})
    line = refused(place, f"corpus={path}")
    assert re.match(rf"{re.escape(str(path))}:2: no 'text'; there are: body; set corpus\.text_key ", line)


def test_two_documents_of_one_id(place: Place, tmp_path: Path) -> None:
    path = rows(
        tmp_path / "rows", {"id": "a", "text": prose(1)}, {"id": "b", "text": prose(2)}, {"id": "a", "text": "x"}
    )
    line = refused(place, f"corpus.source={path}", "corpus.id_key=id")
    assert re.match(rf"{re.escape(str(path))}:3: id 'a' is taken by {re.escape(str(path))}:1; make ids unique", line)


def test_a_length_smaller_than_the_question(place: Place) -> None:
    line = refused(place, "length.max_tokens=40")
    assert re.search(r"take \d+ tokens, more than the length 40; give a larger length\.max_tokens", line)


def test_outputs_that_cannot_be_written(place: Place) -> None:
    place.outputs.write_text("a file in the way", "utf-8")
    line = refused(place)
    assert re.match(rf"paths\.outputs = {re.escape(str(place.outputs))}: cannot be written \(.+\); make it ", line)


def test_an_mlflow_that_does_not_answer(place: Place) -> None:
    line = refused(place, "tracking=mlflow", "tracking.uri=http://127.0.0.1:9", "tracking.timeout_seconds=1")
    assert re.match(r"tracking\.uri = http://127\.0\.0\.1:9: .*; ", line)
    assert "tracking=none" in line
    assert not (place.outputs / "stages").exists()


def test_a_model_without_a_chat_template(place: Place, cache: Path, tmp_path: Path) -> None:
    [source] = cache.glob("tiny-*-window2048-seed0")
    model = tmp_path / "model"
    shutil.copytree(source, model)
    (model / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    config.pop("chat_template", None)
    (model / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    line = refused(place, f"model.source={model}")
    assert re.match(rf"{re.escape(str(model))}: model path without a chat template; .*add a chat_template\.jinja", line)


def test_scoring_without_kept_answers(place: Place) -> None:
    line = refused(place, "stages=[score]")
    assert re.match(r"stages = \[score\]: no answers are kept for longsafety \(.+\); add evaluate to stages", line)


def test_a_later_command_mends_it(place: Place) -> None:
    """What the refused command had made whole is kept."""
    refused(place, "length.max_tokens=40")
    corpus = place.stage("corpus")
    before = place.made()
    place.succeed("stages=[build]", *SMALL)
    assert place.stage("corpus") == corpus
    assert {name: place.made()[name] for name in before} == before
