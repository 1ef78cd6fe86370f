"""A command that is ended anywhere, again and again, ends as one that was left alone; no process outlives it."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import forked

if TYPE_CHECKING:
    from tests.conftest import Place

TYPED = [
    *("tracking=mlflow", "data_mix=base,longsafety", "name=ended", "scenario.train_samples=12"),
    *("scenario.bench_items=3", "data_mix.budget=12", "data_mix.budget_unit=samples", "training.batch_size=2"),
    *("training.micro_batch_size=1", "training.checkpoint_every_steps=2", "evaluation.scorers=[likelihood]"),
]
GRACE_SECONDS = 60
"""A signal may take until the end of a step, and of an import, on a machine that is busy."""


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, place_at: Callable[[Path], Place]) -> tuple[Place, float]:
    """The job, to its end, and the seconds that it took."""
    place = place_at(tmp_path_factory.mktemp("untouched") / "outputs")
    place.succeed(*TYPED, "stages=[plan]")  # the server has then imported what it forks
    began = time.monotonic()
    place.succeed(*TYPED)
    return place, time.monotonic() - began


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def start(place: Place, log: Path) -> Any:
    from tests.conftest import ENVIRONMENT

    process = forked.server().Process(target=forked.command, args=(place.arguments(*TYPED)[3:], ENVIRONMENT, str(log)))
    process.start()
    return process


def group(leader: int) -> list[int]:
    """The processes of a group that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, number = entry.read_text("utf-8").rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(number) == leader and state != "Z":
            found.append(int(entry.parent.name))
    return found


def at_work(place: Place) -> str:
    """What is being made: the newest unfinished stage, or what follows the stages."""
    partial = sorted(place.outputs.glob("stages/*/*.partial"), key=lambda path: path.stat().st_mtime)
    if partial:
        return partial[-1].parent.name
    if list(place.outputs.glob(".mlflow.db.*.partial")):
        return "mlflow's creation"
    return "comparison" if list(place.outputs.glob("sweeps/*/comparison.csv")) else "between stages"


def same(one: Place, other: Place) -> None:
    """All results that two places have: weights, answers, scores, comparison, and what MLflow was told."""
    for pattern, count in (
        ("stages/weights/*/weights/model.safetensors", 1),
        ("stages/answers/*/answers.jsonl", 2),
        ("runs/ended/*/scores.csv", 2),
        ("sweeps/*/comparison.csv", 1),
    ):
        first, second = (sorted(place.outputs.glob(pattern)) for place in (one, other))
        assert len(first) == len(second) == count, pattern
        for mine, theirs in zip(first, second, strict=True):
            assert mine.relative_to(one.outputs) == theirs.relative_to(other.outputs)
            assert mine.read_bytes() == theirs.read_bytes(), pattern
    assert logged(one) == logged(other)
    assert not list(one.outputs.glob("stages/*/*.partial"))


def logged(place: Place) -> Counter[tuple[Any, ...]]:
    with closing(sqlite3.connect(place.outputs / "mlflow.db")) as store:
        runs = store.execute("select name, status, lifecycle_stage from runs").fetchall()
        metrics = store.execute(
            "select key, step, value from metrics where key not like '%seconds%' and key not like '%per_second%'"
        )
        return Counter([*runs, *metrics.fetchall()])


def steps(place: Place) -> list[int]:
    [history] = place.outputs.glob("stages/weights/*/history.jsonl")
    return [json.loads(line)["step"] for line in history.read_text("utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_anywhere_it_loses_nothing_that_was_complete(
    number: int, untouched: tuple[Place, float], place_at: Callable[[Path], Place], tmp_path: Path, log: Path
) -> None:
    whole, seconds = untouched
    rng, where = random.Random(19), Counter[str]()
    life, left = 0, number
    while left:
        place = place_at(tmp_path / f"life-{life}")
        for attempt in range(rng.randint(4, 8)):
            process = start(place, log)
            process.join(rng.uniform(0.05, 0.6) * seconds / (1 + attempt / 2))  # ever less is left to do
            if process.exitcode is not None:
                assert process.exitcode == 0, (log / "stderr").read_text("utf-8")[-3000:]
                break
            before = complete(place)
            where[at_work(place)] += 1
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            assert before <= complete(place), "what was complete stays"
            left -= 1
            if not left:
                break
        life += 1
        last = place.run(*TYPED)
        assert last.returncode == 0, last.stderr[-3000:]
        assert steps(place) == steps(whole), "every step once"
        same(place, whole)
    print(f"killed {sum(where.values())} times in {life} lives: {dict(where)}")


def complete(place: Place) -> set[str]:
    """Complete stages, with the time at which they were made."""
    found = (path for path in place.outputs.glob("stages/*/*") if path.is_dir() and path.suffix != ".partial")
    return {f"{path.parent.name}/{path.name} {path.stat().st_ino}" for path in found}


SENT = [
    (number, whom) for number in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") for whom in ("launcher", "worker", "group")
]


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, pytest.param(36, marks=pytest.mark.soak)])
def test_a_signal_ends_every_process_and_the_command_goes_on(
    number: int, untouched: tuple[Place, float], place_at: Callable[[Path], Place], tmp_path: Path, log: Path
) -> None:
    whole, seconds = untouched
    rng, where = random.Random(30), Counter[str]()
    order = [SENT[index % len(SENT)] for index in range(max(number, len(SENT)))]
    rng.shuffle(order)
    place, life = place_at(tmp_path / "life-0"), 0
    while sum(where.values()) < number:
        name, whom = order[sum(where.values())]
        process = start(place, log)
        process.join(rng.uniform(0.1, 0.6) * seconds)
        workers = [pid for pid in group(process.pid) if pid != process.pid]
        if process.exitcode is None and (whom != "worker" or workers):
            where[f"{name} to the {whom}, {at_work(place)}"] += 1
            sent = signal.Signals[name]
            if whom == "group":
                os.killpg(process.pid, sent)
            else:
                os.kill(process.pid if whom == "launcher" else workers[0], sent)
        process.join(GRACE_SECONDS + seconds)
        assert process.exitcode is not None, f"{name} to the {whom}: still there"
        assert group(process.pid) == [], f"{name} to the {whom}: left behind"
        text = (log / "stderr").read_text("utf-8")
        assert "Traceback" not in text, text[-3000:]
        if process.exitcode == 0:
            same(place, whole)
            life += 1
            place = place_at(tmp_path / f"life-{life}")
    last = place.run(*TYPED)
    assert last.returncode == 0, last.stderr[-3000:]
    assert steps(place) == steps(whole), "every step once"
    same(place, whole)
    print(f"sent: {dict(where)}")
