"""Several processes answer as one does, whatever ends them, and the first that fails is the one that is told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from longsafety.errors import ConfigError, LongSafetyError
from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.asking.journal import JOURNAL, read_journals
from longsafety.evaluation.asking.trials import Trial, pair_batches
from longsafety.evaluation.backends import processes
from longsafety.evaluation.backends.processes import Processes, devices, shares
from longsafety.pipeline.addresses import addresses
from longsafety.pipeline.run import Run
from longsafety.settings import Evaluation

ASKED = ["data_mix=base", "stages=[build,evaluate]", "evaluation.batch_tokens=1", "scenario.bench_items=4"]


def some(pair: int, size: int) -> list[Trial]:
    """All that is asked of an item and its twin."""
    items = [SimpleNamespace(id=f"{pair}-{n}", pair_id=f"{pair}", num_tokens=size // 2) for n in range(2)]
    return [Trial(item, scorer, 0, None) for item in items for scorer in ("likelihood", "letter")]  # type: ignore[arg-type]


def test_shares_are_whole_batches_the_longest_first_and_of_similar_size() -> None:
    passes = [some(pair, size) for pair, size in enumerate([10, 40, 20, 30, 90, 10, 20])]
    found = shares(passes, 3)
    sizes = [[sum({one.item.id: one.item.num_tokens for one in batch}.values()) for batch in share] for share in found]
    assert sizes == [[90], [40, 20, 10], [30, 20, 10]]
    assert sorted(batch[0].key for share in found for batch in share) == sorted(batch[0].key for batch in passes)
    assert len(shares(passes[:2], 3)) == 2
    assert shares([], 3) == []


def test_each_process_has_a_visible_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices(Evaluation(processes="auto"), "auto") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8")
    assert devices(Evaluation(processes="auto"), "gpu") == ["5", "GPU-8"]
    assert devices(Evaluation(processes=1), "gpu") == ["5"]
    with pytest.raises(ConfigError, match=r"evaluation.processes = 3: each has a GPU, and 2 are visible; give auto"):
        devices(Evaluation(processes=3), "gpu")
    assert devices(Evaluation(processes=3), "cpu") == [None] * 3
    assert devices(Evaluation(processes="auto"), "cpu") == [None]


# --- stand-ins for the worker ---------------------------------------------------------------------------------------

ANSWERING = """
    for key in [key for batch in share["batches"] for key in batch]:
        about = {"item_id": key[0], "scorer": key[1], "order_index": key[2]}
        answer = {"scores": [], "wording_scores": None, "margin": None, "chosen": -1, "status": "ok"}
        print(json.dumps({**about, **answer, "reply": visible}), file=journal)
    facts.write_text(json.dumps({"prefilled_tokens": 3, "reused_tokens": 4}))
"""
WAITING = "    time.sleep(60)\n"


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, first: str, others: str) -> None:
    script = folder / "worker.py"
    head = (
        "import json, os, sys, time\nfrom pathlib import Path\nfolder = Path(sys.argv[2])\n"
        "share, facts = json.loads((folder / 'share.json').read_text()), folder / 'facts.json'\n"
        "visible = os.environ.get('CUDA_VISIBLE_DEVICES')\njournal = (folder / 'answers.jsonl').open('w')\n"
    )
    script.write_text(f"{head}if folder.name == 'process-0':\n{first}\nelse:\n{others}\n", "utf-8")
    monkeypatch.setattr(processes, "_WORKER", (sys.executable, str(script)))


def put(folder: Path, names: list[str | None]) -> tuple[Processes, list[tuple[str, str | None]]]:
    """Each trial's pair, and the device of the process that answered it."""
    backend = Processes(folder, folder, names, threads=5, precision="32-true", accelerator="cpu")
    trials = [trial for pair in range(9) for trial in some(pair, 10)]
    encoder: Any = None
    groups = backend.answers(pair_batches(trials, 1), encoder, Evaluation())
    found = [answered for group in groups for answered in group]
    assert sorted(trial.key for trial, _ in found) == sorted(trial.key for trial in trials)
    return backend, [(trial.item.pair_id, answer["reply"]) for trial, answer in found]


@pytest.mark.slow
def test_every_trial_is_answered_once_and_each_process_has_its_own_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, tmp_path, ANSWERING + "    print('a warning')", ANSWERING + "    print('a warning')")
    backend, rows = put(tmp_path, ["3", "7"])
    assert {device for _, device in rows} == {"3", "7"}
    assert len(set(rows)) == 9, "pairs are not divided"
    facts = backend.facts()
    assert (facts["prefilled_tokens"], facts["reused_tokens"], facts["processes"], backend.threads) == (6, 8, 2, 2)
    assert capsys.readouterr().err == "a warning\n", "what they say is told, and once"
    assert not list(tmp_path.glob("process-*"))


@pytest.mark.slow
def test_the_first_failure_is_reported_and_the_other_processes_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, tmp_path, WAITING, "    print('longsafety: here', file=sys.stderr)\n    sys.exit(2)")
    began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        put(tmp_path, [None, None])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "longsafety: here\n"
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_killed_process_is_reported_with_the_key_and_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, tmp_path, "    os.kill(os.getpid(), 9)", WAITING)
    with pytest.raises(LongSafetyError, match=r"^evaluation.processes = 2: process-0 ended with status -9 \(killed,"):
        put(tmp_path, [None, None])


def test_journals_that_processes_left_are_taken_over(tmp_path: Path) -> None:
    rows = [{"item_id": f"{n}", "scorer": "letter", "order_index": 0} for n in range(4)]
    lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / JOURNAL).write_text(lines[0] + lines[1], "utf-8")
    for number, text in enumerate((lines[1] + lines[2] + lines[3][:9], lines[3])):
        (tmp_path / f"process-{number}").mkdir()
        (tmp_path / f"process-{number}" / JOURNAL).write_text(text, "utf-8")
    for _ in range(2):
        assert list(read_journals(tmp_path).values()) == rows
        assert (tmp_path / JOURNAL).read_text("utf-8") == "".join(lines)
        assert not list(tmp_path.glob("process-*"))


# --- the worker -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(place_at: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Asked by one process, without an interruption."""
    place = place_at(tmp_path_factory.mktemp("whole") / "outputs")
    place.succeed(*ASKED)
    return place


@pytest.fixture
def built(place: Any, whole: Any) -> Any:
    """The same, before anything is asked."""
    shutil.copytree(whole.outputs, place.outputs, ignore=shutil.ignore_patterns("answers", "runs", "sweeps"))
    return place


def num_answered(place: Any) -> int:
    """Lines of all journals of an evaluation that is under way; some may stand in two."""
    found = set()
    for path in place.outputs.glob(f"stages/answers/*.partial/**/{JOURNAL}"):
        try:
            found |= set(path.read_text("utf-8").split("\n")[:-1])
        except FileNotFoundError:  # taken over just now
            continue
    return len(found)


def assert_same(place: Any, whole: Any) -> dict[str, Any]:
    folder, other = place.stage("answers"), whole.stage("answers")
    assert read_answers(folder / ANSWERS).equals(read_answers(other / ANSWERS))
    lines = [(folder / JOURNAL).read_text("utf-8").split("\n") for folder in (folder, other)]
    assert sorted(lines[0]) == sorted(lines[1]), "every answer once"
    assert not list(folder.glob("process-*"))
    facts: dict[str, Any] = json.loads((folder / "evaluation.json").read_text("utf-8"))
    return facts


@pytest.mark.slow
def test_two_processes_answer_as_one(built: Any, whole: Any) -> None:
    built.succeed(*ASKED, "evaluation.processes=2")
    told = assert_same(built, whole)
    alone = json.loads((whole.stage("answers") / "evaluation.json").read_text("utf-8"))
    assert (told.pop("processes"), alone.pop("processes")) == (2, 1)
    assert {**told, "seconds": 0} == {**alone, "seconds": 0}


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("counts", [(1, 1), (2, 3, 1)], ids=str)
def test_killed_every_answer_is_kept_once(built: Any, whole: Any, counts: tuple[int, ...]) -> None:
    total = num = len(read_answers(whole.stage("answers") / ANSWERS))
    for part, count in zip((0.3, 0.6), counts[:-1], strict=False):
        built.kill_when(lambda part=part: num_answered(built) >= part * total, *ASKED, f"evaluation.processes={count}")
        num = num_answered(built)
        assert part * total <= num < total, "killed in the middle"
    kept = {line for path in built.outputs.rglob(JOURNAL) for line in path.read_text("utf-8").split("\n")[:-1]}
    built.succeed(*ASKED, f"evaluation.processes={counts[-1]}")
    assert_same(built, whole)
    assert kept <= set((built.stage("answers") / JOURNAL).read_text("utf-8").split("\n")), "nothing is asked again"


@pytest.mark.slow
@pytest.mark.soak  # `test_kills` shows the same of a whole command
def test_processes_end_with_their_parent(built: Any) -> None:
    run = Run.freeze(built.settings(*ASKED, "evaluation.processes=2"))
    with (built.outputs.parent / "killed.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "longsafety.pipeline.worker", "run", str(run.folder)], stdout=log, stderr=log
        )
    try:
        while not num_answered(built):
            assert worker.poll() is None
            time.sleep(0.01)
        children = [int(child) for child in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()]
        assert len(children) == 2
    finally:
        worker.kill()
        worker.wait()
    deadline = time.monotonic() + 10
    while any(_lives(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        os.kill(process, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()


@pytest.mark.slow
def test_the_number_of_processes_has_no_address(place: Any) -> None:
    one, other = (addresses(place.settings(*ASKED, f"evaluation.processes={count}")) for count in (1, "auto"))
    assert one == other
