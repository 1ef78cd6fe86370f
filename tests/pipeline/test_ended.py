"""What the launcher says of a worker that ended, and what a finished run needs to stay finished."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longsafety.code import CODE
from longsafety.errors import ConfigError
from longsafety.host.locks import locked
from longsafety.pipeline.ended import exit_status, told
from longsafety.pipeline.reuse import differing
from longsafety.pipeline.run import SCORED, Run
from longsafety.pipeline.unfinished import BEGUN, tell_unfinished

if TYPE_CHECKING:
    from tests.conftest import Place


@pytest.fixture
def run(place: Place) -> Run:
    return Run.load(Run.freeze(place.settings("data_mix=longsafety")).folder)


@pytest.fixture
def checkpoints(run: Run) -> Path:
    folder = run.store.partial("weights", run.addresses.weights) / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("code", "stopped", "status"),
    [(0, None, 0), (2, None, 2), (130, None, 130), (-9, None, 137), (-11, None, 139), (130, 15, 143), (0, 10, 138)],
)
def test_the_commands_status(code: int, stopped: int | None, status: int) -> None:
    assert exit_status(code, stopped) == status


def test_a_killed_worker_is_told_with_what_frees_memory(run: Run) -> None:
    said = told(-9, None, "run 2 of 6 (base)", run)
    assert re.match(
        r"run 2 of 6 \(base\) was killed \(SIGKILL\), most likely by the kernel because memory ran out", said
    )
    assert "lower training.micro_batch_size" in said and said.endswith("the same command goes on from there")


def test_a_signal_is_named_and_a_crash_is_not_taken_for_one(run: Run) -> None:
    assert told(130, signal.SIGUSR1, "run 1 of 1 (a)", run).startswith("stopped by SIGUSR1 in run 1 of 1 (a); ")
    assert told(130, None, "run 1 of 1 (a)", run).startswith("stopped in run 1 of 1 (a); ")
    assert told(-15, None, "run 1 of 1 (a)", run).startswith("stopped by SIGTERM in run 1 of 1 (a); ")
    assert told(-11, None, "run 1 of 1 (a)", run).startswith("run 1 of 1 (a) was ended by SIGSEGV")
    assert told(-35, None, "run 1 of 1 (a)", run).startswith("run 1 of 1 (a) was ended by signal 35")
    assert told(2, None, "the comparison") == (
        "the comparison failed; what is complete is kept, and the same command goes on from there"
    )


def test_it_is_said_from_which_step_the_training_goes_on(run: Run, checkpoints: Path) -> None:
    (checkpoints.parent / "history.jsonl").write_text("")
    anew = (
        r"begins the training anew, because no checkpoint was written yet \(training\.checkpoint_every_steps = \d+\)$"
    )
    assert re.search(anew, told(130, signal.SIGINT, "run 1 of 1 (a)", run))
    for step in (50, 100, 57):
        (checkpoints / f"step-{step:08}.ckpt").touch()
    (checkpoints / "step-00000150.partial").touch()
    for put_aside in ("step-00000200 (copy).ckpt", "step-final.ckpt", "step-200.ckpt"):
        (checkpoints / put_aside).touch()
    assert told(130, signal.SIGINT, "run 1 of 1 (a)", run).endswith("goes on with the training after step 100")


# --- a finished run whose results are deleted ------------------------------------------------------------------------


@pytest.fixture
def finished(run: Run) -> Run:
    """A run of all stages, as far as its folders show."""
    for stage in ("weights", "answers"):
        run.store.folder(stage, run.address(stage)).mkdir(parents=True)
    for name in SCORED:
        (run.folder / name).touch()
    run.finish()
    assert run.done
    return run


@pytest.mark.parametrize("gone", [*SCORED, "answers", "done"])
def test_what_a_comparison_reads_is_made_again_where_it_was_deleted(finished: Run, gone: str) -> None:
    if gone == "answers":
        shutil.rmtree(finished.store.folder("answers", finished.addresses.answers))
    else:
        (finished.folder / gone).unlink()
    assert not finished.done


def test_scores_that_were_cut_off_are_made_again(finished: Run) -> None:
    (finished.folder / "scores.parquet").write_bytes(b"PAR1 and more")
    finished.finish()
    assert finished.done
    (finished.folder / "scores.parquet").write_bytes(b"PAR1")
    assert not finished.done


def test_weights_that_nothing_reads_any_more_may_go(finished: Run) -> None:
    shutil.rmtree(finished.store.folder("weights", finished.addresses.weights))
    assert finished.done


@pytest.mark.parametrize(("stages", "made"), [("build,train", "weights"), ("build,train,evaluate", "answers")])
def test_of_a_shorter_list_the_last_stage_is_the_result(place: Place, stages: str, made: str) -> None:
    run = Run.freeze(place.settings("data_mix=longsafety", f"stages=[{stages}]"))
    run.store.folder(made, run.address(made)).mkdir(parents=True)
    run.finish()
    assert run.done
    shutil.rmtree(run.store.folder(made, run.address(made)))
    assert not run.done


def test_of_a_build_all_that_was_asked_for_is(place: Place) -> None:
    run = Run.freeze(place.settings("stages=[build]"))
    run.stage("samples", lambda folder: None)
    run.finish()
    assert run.done
    shutil.rmtree(run.store.folder("samples", run.addresses.samples))
    assert not run.done


# --- the source code, and settings that change no result --------------------------------------------------------------


def test_no_stage_is_made_by_other_code_than_its_address_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    monkeypatch.setattr(type(CODE), "digest", lambda self: "other")
    with pytest.raises(ConfigError, match=r"source code = changed since .* start it again"):
        run.stage("samples", made.append)
    assert not made


def origin(place: Place, *typed: str) -> Run:
    return Run.freeze(place.settings("data_mix=longsafety", *typed))


@pytest.mark.parametrize(
    "typed",
    [
        "training.checkpoint_every_steps=3",
        "trainer.num_threads=2",
        "model.gradient_checkpointing=full",
        "trainer.offload_activations=true",
        "model.licence=mit",
    ],
)
def test_what_changes_no_result_leaves_the_training_where_it_is(place: Place, typed: str) -> None:
    assert origin(place, typed).addresses.weights == origin(place).addresses.weights


def test_what_keeps_a_stopped_training_from_going_on_is_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    stopped, other = origin(place), origin(place, "training.lr_peak=0.5", "training.epochs=3")
    folders = [run.store.partial("weights", run.addresses.weights) for run in (stopped, other)]
    for folder in folders:
        folder.mkdir(parents=True)
    tell_unfinished(stopped.settings, "c0de", folders[0])
    tell_unfinished(other.settings, "c0de", folders[1])
    assert capsys.readouterr().err == "", "nothing is lost before the first checkpoint"
    (folders[0] / "checkpoints").mkdir()
    (folders[0] / "checkpoints" / "step-00000020.ckpt").touch()
    tell_unfinished(other.settings, "c0de", folders[1])
    assert capsys.readouterr().err == "", "it has begun already"
    (folders[1] / BEGUN).unlink()
    with locked(folders[0].with_suffix(".lock"), "weights"):
        tell_unfinished(other.settings, "c0de", folders[1])
    assert capsys.readouterr().err == "", "another process goes on with it now"
    (folders[1] / BEGUN).unlink()
    tell_unfinished(other.settings, "c0de", folders[1])
    said = capsys.readouterr().err
    assert re.search(r"begins anew: the one that was stopped at step 20 \(\S+\.partial\) came from other ", said)
    before = stopped.settings.training
    assert f"training.lr_peak ({before.lr_peak}, not 0.5)" in said
    assert f"training.epochs ({before.epochs}, not 3)" in said


def test_another_version_of_the_code_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    run = origin(place)
    old, new = (run.store.root / "weights" / f"{name}.partial" for name in ("a", "b"))
    (old / "checkpoints").mkdir(parents=True)
    (old / "checkpoints" / "step-00000004.ckpt").touch()
    new.mkdir()
    tell_unfinished(run.settings, "old", old)
    tell_unfinished(run.settings, "new", new)
    assert "came from other code or libraries (old, not new); " in capsys.readouterr().err
    assert not differing(json.loads((old / BEGUN).read_text()), json.loads((old / BEGUN).read_text()))
