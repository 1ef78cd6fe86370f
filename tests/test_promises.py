"""The main job in real processes, with marked secrets, another hash seed, and every connection but loopback refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SMALL

if TYPE_CHECKING:
    from tests.conftest import Place

TYPED = ["data_mix=base,longsafety", "name=kept", *SMALL]
MARK = "sEcReT-8d1f"
SECRETS = {
    name: f"{MARK}-{name.lower()}"
    for name in (
        "OPENAI_API_KEY",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
    )
}
GUARD = """
import json, os, socket

PLACE = os.environ["GUARD_FILE"]

def outside(address):
    if not isinstance(address, tuple):
        return False  # a socket of this machine's file system, or of its kernel
    return address[0] not in ("127.0.0.1", "::1", "localhost")

class Guarded(socket.socket):
    def _look(self, how, address):
        if outside(address):
            with open(PLACE, "a") as file:
                file.write(json.dumps([how, repr(address)]) + "\\n")
            raise OSError(f"{how} {address}: only loopback is open in this test")

    def connect(self, address):
        self._look("connect", address)
        return super().connect(address)

    def connect_ex(self, address):
        self._look("connect", address)
        return super().connect_ex(address)

    def bind(self, address):
        self._look("bind", address)
        return super().bind(address)

    def sendto(self, data, *rest):
        self._look("sendto", rest[-1])
        return super().sendto(data, *rest)

socket.socket = socket.SocketType = Guarded
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, place_at: Callable[[Path], Place], small: Place) -> Place:
    """The job as ever, in forks of one process; its stages were made under another folder."""
    place = place_at(tmp_path_factory.mktemp("plain") / "outputs")
    shutil.copytree(small.outputs / "stages", place.outputs / "stages")
    place.succeed(*TYPED, "tracking=mlflow")
    return place


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, place_at: Callable[[Path], Place]
) -> tuple[Place, subprocess.CompletedProcess[str]]:
    """The same job in processes of its own, from interpreter to interpreter under guard."""
    from tests.conftest import ENVIRONMENT

    root = tmp_path_factory.mktemp("guarded")
    (root / "guard").mkdir()
    (root / "guard" / "sitecustomize.py").write_text(GUARD, "utf-8")
    place = place_at(root / "outputs")
    environment = {
        **ENVIRONMENT,
        **SECRETS,
        "GUARD_FILE": str(root / "attempts"),
        "PYTHONHASHSEED": "12345",
        "PYTHONPATH": os.pathsep.join([str(root / "guard"), ENVIRONMENT["PYTHONPATH"]]),
    }
    before = os.umask(0o027)
    try:
        done = subprocess.run(
            place.arguments(*TYPED, "tracking=mlflow"),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr[-3000:]
    return place, done


Guarded = tuple["Place", "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_the_guard_sees_what_it_must(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(GUARD, "utf-8")
    code = (
        "import socket\nfor address in (('192.0.2.1', 80), ('127.0.0.1', 9)):\n"
        "    try:\n        socket.create_connection(address, timeout=1)\n    except OSError:\n        pass\n"
        "try:\n    socket.create_server(('0.0.0.0', 0))\nexcept OSError:\n    pass\n"
    )
    environment = {**os.environ, "GUARD_FILE": str(tmp_path / "seen"), "PYTHONPATH": str(tmp_path)}
    subprocess.run(["python3", "-c", code], env=environment, check=True)
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    assert seen == [["connect", "('192.0.2.1', 80)"], ["bind", "('0.0.0.0', 0)"]]


@pytest.mark.slow
def test_nothing_is_sent_and_nobody_can_connect_but_over_loopback(guarded: Guarded) -> None:
    place, _ = guarded
    attempts = place.outputs.parent / "attempts"
    assert not attempts.exists(), attempts.read_text("utf-8")


@pytest.mark.slow
def test_the_same_inputs_give_the_same_outputs(guarded: Guarded, plain: Place) -> None:
    place, _ = guarded
    for pattern, count in (
        ("stages/corpus/*/*", None),
        ("stages/samples/*/*", None),
        ("stages/benchmark/*/*", None),
        ("stages/weights/*/weights/model.safetensors", 1),
        ("stages/answers/*/answers.jsonl", 2),
        ("stages/answers/*/answers.parquet", 2),
        ("runs/kept/*/scores.csv", 2),
        ("sweeps/*/comparison.csv", 1),
    ):
        mine, theirs = (
            {path.relative_to(one.outputs): path.read_bytes() for path in one.outputs.glob(pattern) if path.is_file()}
            for one in (place, plain)
        )
        assert mine.keys() == theirs.keys()
        assert len(mine) == count if count is not None else mine
        different = [str(path) for path in mine if mine[path] != theirs[path]]
        assert not different


@pytest.mark.slow
def test_no_file_and_no_line_holds_a_secret(guarded: Guarded) -> None:
    place, done = guarded
    files = [path for root in (place.outputs, place.cache) for path in root.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert not [path for path in files if MARK.encode() in path.read_bytes()]
    assert MARK not in done.stdout + done.stderr


@pytest.mark.slow
def test_files_follow_the_umask(guarded: Guarded) -> None:
    """Under 027 the group reads and others do not: nothing is made private, or open, on its own."""
    place, _ = guarded
    modes = {path: path.stat().st_mode & 0o777 for path in place.outputs.rglob("*")}
    wrong = [f"{path} {mode:o}" for path, mode in modes.items() if mode not in (0o750, 0o640)]
    assert not wrong


@pytest.mark.slow
def test_what_was_printed_tells_no_warning_that_a_user_cannot_act_on(guarded: Guarded) -> None:
    _, done = guarded
    assert not re.search(r"Warning|Traceback|deprecat", done.stderr), done.stderr[-3000:]
