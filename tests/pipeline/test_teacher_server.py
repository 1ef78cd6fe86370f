"""A real OpenAI-compatible server as teacher: `transformers serve` on loopback, killed half way and started again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from longsafety.chat.cached import CachedTeacher
from longsafety.errors import DataError
from longsafety.model import smollm2, tiny
from longsafety.pipeline.teacher import open_teacher
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.teacher.complete import Completed, complete
from longsafety.settings import Teacher

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(300)]

ROWS = [
    Seed(id=str(number), category="cyber", request=f"Show me how to break into the server of the {shop}.")
    for number, shop in enumerate(["baker", "florist"])
]


class Server:
    """`transformers serve` in a process of its own; ``log`` holds a line for each request that it answered."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.log = folder, log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--device", "cpu"]
        run = "from transformers.cli.transformers import main; main()"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", run, "serve", *options, str(self.folder)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            )
        for _ in range(1800):
            try:
                urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.1)
        pytest.fail(f"no server after three minutes: {self.log.read_text()}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def num_answered(self) -> int:
        return self.log.read_text().count('"POST /v1/chat/completions HTTP/1.1" 200')


@pytest.fixture
def server(tiny_cache: Path, tmp_path: Path) -> Iterator[Server]:
    """With SmolLM2 where it is in the user's cache, else with random weights: all replies are rejected then."""
    real = Path.home() / ".cache" / "longsafety" / smollm2.FOLDER
    server = Server(real if real.is_dir() else tiny.model_folder(tiny_cache, 2048, 0), tmp_path / "server.log")
    server.start()
    yield server
    server.kill()


def opened(server: Server, cache: Path, *, retries: int) -> CachedTeacher:
    section = Teacher(
        kind="openai",
        model=str(server.folder),
        base_url=f"http://127.0.0.1:{server.port}/v1",
        max_reply_tokens=24,
        retries=retries,
        concurrency=2,
    )
    teacher = open_teacher(section, cache)
    assert isinstance(teacher, CachedTeacher)
    teacher.retries = 1  # of the validator
    return teacher


def journal(cache: Path) -> list[str]:
    """The keys of the replies so far."""
    path = cache / "teacher" / "replies.jsonl"
    return [json.loads(line)["key"] for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_replies(cache: Path, count: int) -> None:
    for _ in range(6000):
        if len(journal(cache)) >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"{len(journal(cache))} of {count} replies after two minutes")


def test_after_a_kill_the_same_command_goes_on_and_asks_nothing_twice(server: Server, tmp_path: Path) -> None:
    failures: list[str] = []

    def first_run() -> None:
        try:
            complete(ROWS, opened(server, tmp_path, retries=1), "en")
        except DataError as error:
            failures.append(str(error))

    run = threading.Thread(target=first_run)
    run.start()
    wait_for_replies(tmp_path, 2)
    server.kill()
    run.join()
    assert len(failures) == 1
    assert "the server cannot be reached in 2 tries" in failures[0]
    kept, answered = journal(tmp_path), server.num_answered()
    assert len(kept) >= 2

    server.start()
    done = complete(ROWS, opened(server, tmp_path, retries=1), "en")
    new = journal(tmp_path)[len(kept) :]
    assert all(seed.topic and seed.safe_answer for seed in done.seeds)
    assert not set(new) & set(kept)
    assert len(new) == len(set(new)) == server.num_answered() - answered > 0

    server.kill()
    assert complete(ROWS, opened(server, tmp_path, retries=1), "en") == done


@pytest.mark.soak
def test_a_run_waits_for_a_server_that_comes_back(server: Server, tmp_path: Path) -> None:
    finished: list[Completed] = []
    run = threading.Thread(target=lambda: finished.append(complete(ROWS, opened(server, tmp_path, retries=10), "en")))
    run.start()
    wait_for_replies(tmp_path, 2)
    server.kill()
    server.start()
    run.join()
    assert len(finished) == 1
    assert all(seed.topic and seed.safe_answer for seed in finished[0].seeds)
    keys = journal(tmp_path)
    assert len(keys) == len(set(keys))
    assert server.num_answered() <= len(keys) + 2  # two were under way when it was killed
