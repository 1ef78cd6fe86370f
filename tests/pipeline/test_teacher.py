"""Cache, budget, retries and errors of the teachers, with a small OpenAI-compatible server on loopback."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from longsafety.chat.cached import OpenAITeacher, Prompt
from longsafety.chat.replies import Reply, ReplyCache
from longsafety.errors import ConfigError, DataError
from longsafety.model import teacher as teacher_kinds
from longsafety.pipeline.teacher import open_teacher
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.teacher.complete import complete
from longsafety.scenarios.teacher.teacher import Teacher, teacher_problems
from longsafety.settings import Teacher as Section
from tests.fake_server import FakeServer, serving

PROMPTS = [Prompt("topic", f"prompt number {number}") for number in range(8)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr("longsafety.chat.patience.FIRST_PAUSE", 0.01)  # for speed only
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    fake = FakeServer()
    with serving(fake):
        yield fake


def opened(server: FakeServer, cache: Path, **changes: Any) -> Teacher:
    section = Section(kind="openai", model="small", base_url=server.url, **{"concurrency": 2, "retries": 1} | changes)
    teacher = open_teacher(section, cache)
    assert teacher is not None
    return teacher


def test_replies_come_in_order_with_their_writer(server: FakeServer, tmp_path: Path) -> None:
    written = opened(server, tmp_path).write(PROMPTS)
    assert [item.text for item in written] == [f"reply to {prompt.text}" for prompt in PROMPTS]
    assert {item.writer for item in written} == {"openai:small"}
    assert server.keys == {"Bearer none"}


def test_the_key_comes_from_the_environment(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "abc")
    opened(server, tmp_path, api_key_env="MY_KEY").write(PROMPTS[:1])
    assert server.keys == {"Bearer abc"}


def test_a_cached_prompt_is_never_asked_again(server: FakeServer, tmp_path: Path) -> None:
    first = opened(server, tmp_path).write(PROMPTS + PROMPTS)
    with serving(server):  # another address
        assert opened(server, tmp_path).write(PROMPTS + PROMPTS) == first
    assert set(server.asked.values()) == {1}


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"max_reply_tokens": 50}, {"model": "other"}])
def test_another_way_of_asking_is_another_reply(server: FakeServer, tmp_path: Path, change: dict[str, Any]) -> None:
    opened(server, tmp_path).write(PROMPTS[:1])
    section = Section(kind="openai", base_url=server.url, **{"model": "small"} | change)
    teacher = open_teacher(section, tmp_path)
    assert teacher is not None
    teacher.write(PROMPTS[:1])
    assert server.asked.total() == 2


def test_the_next_attempt_is_sampled_and_asked_anew(server: FakeServer, tmp_path: Path) -> None:
    teacher = opened(server, tmp_path)
    for attempt in (0, 1, 1, 2):
        teacher.write([Prompt("topic", "the same", attempt)])
    assert [body["temperature"] for body in server.bodies] == [0, 0.7, 0.7]
    assert "seed" not in server.bodies[0]
    assert server.bodies[1]["seed"] != server.bodies[2]["seed"]


def test_a_failing_server_is_asked_again(server: FakeServer, tmp_path: Path) -> None:
    server.failures = 2
    assert len(opened(server, tmp_path, retries=2).write(PROMPTS[:1])) == 1
    assert server.asked.total() == 3


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (401, r"environment variable OPENAI_API_KEY \(teacher\.api_key_env\)"),
        (404, r"set teacher\.model"),
        (429, r"lower teacher\.concurrency"),
        (500, r"see the server's log"),
    ],
)
def test_a_refusal_names_the_setting(server: FakeServer, tmp_path: Path, status: int, fix: str) -> None:
    server.failures, server.status = 99, status
    with pytest.raises(DataError, match=rf"^teacher\.base_url = .*teacher\.model = small: .*broken today.*{fix}"):
        opened(server, tmp_path).write(PROMPTS)


def test_a_server_that_is_not_there_is_named(server: FakeServer, tmp_path: Path) -> None:
    server.url = "http://127.0.0.1:9/v1"
    with pytest.raises(
        DataError,
        match=r"teacher\.base_url = http://127\.0\.0\.1:9/v1, teacher\.model = small: the server cannot be reached in "
        r"2 tries \(.+\); start it, or fix the address; 8 prompts are left",
    ):
        opened(server, tmp_path).write(PROMPTS)


def test_a_page_that_is_no_completion_is_named(server: FakeServer, tmp_path: Path) -> None:
    answer = server.answer

    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        handler.wfile.write(b"<html>Hello</html>")

    server.answer = page  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"is a web page; give the address of an OpenAI-compatible server"):
        opened(server, tmp_path).write(PROMPTS[:1])
    server.answer = answer  # type: ignore[method-assign]


def test_a_server_that_dies_half_way_loses_nothing(server: FakeServer, tmp_path: Path) -> None:
    replies = {
        "safe_answer": "I can't help with this request, because it would harm somebody.",
        "topic": "breaking into server",
    }

    def reply(prompt: str) -> str:
        return replies["topic" if "phrase" in prompt else "safe_answer"]

    server.reply, server.dies_after = reply, 7
    whole = Seed(id="", category="c", benign_request="r", benign_answer="a")
    rows = [replace(whole, id=str(n), request=f"Break into server {n}.") for n in range(6)]
    with pytest.raises(DataError, match=r"the connection broke in 2 tries .*; \d+ prompts are left; the 7 replies in"):
        complete(rows, opened(server, tmp_path), "en")
    server.dies_after = None
    done = complete(rows, opened(server, tmp_path), "en")
    assert all(seed.safe_answer == replies["safe_answer"] for seed in done.seeds)
    assert set(server.answered.values()) == {1}
    assert complete(rows, opened(server, tmp_path), "en") == done
    assert set(server.answered.values()) == {1}


def test_a_spent_budget_says_what_was_spent_and_what_is_left(server: FakeServer, tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"^teacher\.budget_tokens = 100: 120 tokens are spent; raise it, .*; 5 prompts are left; "
        r"the 3 replies in .*replies\.jsonl are kept",
    ):
        opened(server, tmp_path, budget_tokens=100, concurrency=1).write(PROMPTS)
    assert len(opened(server, tmp_path, budget_tokens=161, concurrency=1).write(PROMPTS)) == 8  # cached ones are free
    assert server.asked.total() == 8


def test_without_usage_the_bytes_are_charged(server: FakeServer, tmp_path: Path) -> None:
    server.usage = None
    teacher = opened(server, tmp_path)
    teacher.write(PROMPTS[:1])
    assert isinstance(teacher, OpenAITeacher)
    assert teacher.spent.tokens == len(PROMPTS[0].text) + len(f"reply to {PROMPTS[0].text}")


def test_the_settings_are_checked_before_anything_is_asked(tmp_path: Path) -> None:
    assert teacher_problems(Section()) == []
    assert open_teacher(Section(), tmp_path) is None
    assert [text.split(":")[0] for text in teacher_problems(Section(kind="openai"))] == [
        "teacher.model = None",
        "teacher.base_url = None",
    ]
    with pytest.raises(ConfigError, match=r"teacher\.model = None: .*set a folder or hub name"):
        open_teacher(Section(kind="transformers"), tmp_path)


# --- the journal


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    ReplyCache(tmp_path).put("a", Reply("one", 1, 2))
    path = tmp_path / "replies.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "b", "text": "' + b"x" * 500)
    cache = ReplyCache(tmp_path)
    assert cache.get("a") == Reply("one", 1, 2) and cache.get("b") is None
    cache.put("c", Reply("三\nlines\ud800", 3, 4))
    assert path.read_bytes().startswith(whole + b'{"key": "c"') and path.read_bytes().endswith(b"}\n")
    assert ReplyCache(tmp_path).get("c") == Reply("三\nlines?", 3, 4)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    ReplyCache(tmp_path).put("a", Reply("one", 1, 2))
    with (tmp_path / "replies.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match=r"replies\.jsonl:2: not a teacher's reply \(KeyError: 'text'\); delete"):
        ReplyCache(tmp_path).get("a")


def _append(folder: Path, name: str, count: int) -> None:
    cache = ReplyCache(folder)
    for number in range(count):
        cache.put(f"{name}{number}", Reply(name * 500, 1, 1))


def test_processes_append_to_one_journal_and_see_each_other(tmp_path: Path) -> None:
    early = ReplyCache(tmp_path)
    assert early.get("a0") is None
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append, args=(tmp_path, name, 400)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert early.get("b399") == Reply("b" * 500, 1, 1)
    assert len(early) == 800


# --- the local model


def test_a_local_model_writes_the_same_again_and_is_loaded_only_when_asked(
    tiny_cache: Path, tiny_one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = Section(kind="transformers", model="tiny", max_reply_tokens=5, temperature=1.0)
    teacher = open_teacher(section, tiny_cache)
    assert isinstance(teacher, teacher_kinds.TransformersTeacher)
    written = teacher.write([*PROMPTS[:2], PROMPTS[0]])
    assert written[0] == written[2] != written[1]
    assert written[0].writer == "transformers:tiny"
    num_prompt_tokens = teacher.spent.tokens - 2 * 5
    assert num_prompt_tokens > 2 * 5

    monkeypatch.setattr(teacher_kinds.TransformersTeacher, "_prepare", lambda self: pytest.fail("loaded"))
    again = open_teacher(section, tiny_cache)
    assert again is not None and again.write(PROMPTS[:2]) == written[:2]
    monkeypatch.undo()
    (tiny_cache / "teacher" / "replies.jsonl").unlink()
    fresh = open_teacher(section, tiny_cache)
    assert fresh is not None and fresh.write(PROMPTS[:2]) == written[:2]  # the seed is the prompt's


def test_a_local_model_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    teacher = open_teacher(Section(kind="transformers", model=str(tmp_path / "none")), tmp_path)
    assert teacher is not None
    with pytest.raises(DataError, match=r"^teacher\.model = '.*none': cannot be had \(.*no such folder"):
        teacher.write(PROMPTS[:1])


def test_a_prompt_longer_than_the_window_is_named(tiny_cache: Path, tiny_one_thread: None) -> None:
    teacher = open_teacher(Section(kind="transformers", model="tiny"), tiny_cache)
    assert teacher is not None
    with pytest.raises(DataError, match=r"teacher\.model = 'tiny': a prompt \(topic\) of \d+ tokens .* window of 8192"):
        teacher.write([Prompt("topic", "word and " * 6000)])
